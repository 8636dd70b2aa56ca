import { CopyButton } from "./copy";

/** Several lines to type or paste, with a button that copies them. */
export function Script({ children, label = "copy the commands" }: { children: string; label?: string }) {
  return (
    <div className="relative min-w-0 rounded-md border border-line bg-sunken">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <pre tabIndex={0} className="overflow-x-auto p-3 pr-11 text-[13px] leading-relaxed">
        {children}
      </pre>
      <span className="absolute top-1 right-1 rounded bg-sunken">
        <CopyButton text={children} label={label} />
      </span>
    </div>
  );
}
