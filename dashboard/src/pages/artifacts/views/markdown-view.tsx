import type { ComponentProps } from "react";
import Markdown from "react-markdown";
import remarkGfm from "remark-gfm";
import { Card } from "@/ui/card";
import type { Shown } from "../contents";
import { Beginning, FIRST } from "./beginning";

/** Markdown. HTML in it is text; pictures, which would tell another server who looks at them, are links. */
export default function MarkdownView(shown: Shown) {
  return (
    <Card title={shown.view.label} flush>
      <Beginning {...shown} most={FIRST}>
        {(text) => (
          <div className="max-w-prose space-y-3 p-4 break-words [&_blockquote]:border-l-2 [&_blockquote]:border-line-strong [&_blockquote]:pl-3 [&_blockquote]:text-muted [&_h3]:text-xl [&_h3]:font-semibold [&_h4]:text-lg [&_h4]:font-semibold [&_h5]:font-semibold [&_hr]:border-line [&_li]:ml-5 [&_ol]:list-decimal [&_pre]:overflow-x-auto [&_pre]:rounded-md [&_pre]:bg-sunken [&_pre]:p-3 [&_table]:block [&_table]:overflow-x-auto [&_td]:border [&_td]:border-line [&_td]:px-2 [&_td]:py-1 [&_th]:border [&_th]:border-line [&_th]:px-2 [&_th]:py-1 [&_th]:text-left [&_ul]:list-disc">
            <Markdown remarkPlugins={[remarkGfm]} components={COMPONENTS}>
              {text}
            </Markdown>
          </div>
        )}
      </Beginning>
    </Card>
  );
}

/** Only whole addresses of the web are links: what is relative would lead to pages of the dashboard. */
export function Away({ href, children }: ComponentProps<"a">) {
  if (!href || !/^(https?:|mailto:)/i.test(href)) return <span>{children}</span>;
  return (
    <a
      href={href}
      target="_blank"
      rel="noopener noreferrer nofollow"
      title={href}
      className="text-accent underline"
    >
      {children}
    </a>
  );
}

const COMPONENTS: ComponentProps<typeof Markdown>["components"] = {
  a: Away,
  img: ({ src, alt }) => (
    <Away href={typeof src === "string" ? src : ""}>{`picture: ${alt || "without a title"}`}</Away>
  ),
  // Below the headings of the page.
  h1: "h3",
  h2: "h4",
  h3: "h5",
  h4: "h6",
  h5: "h6",
  input: (given) => <input {...given} aria-label="done" />,
  pre: ({ children }) => (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <pre tabIndex={0}>{children}</pre>
  ),
};
