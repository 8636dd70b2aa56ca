import { Link } from "@tanstack/react-router";
import { ChevronRight } from "lucide-react";
import { type ReactNode, useEffect } from "react";

export type Crumb = { label: string; to: string };

/** A page: its title, where it stands, what can be done with it, and its content. */
export function Page({
  title,
  crumbs = [],
  note,
  actions,
  children,
  wide = true,
}: {
  title: string;
  crumbs?: Crumb[];
  note?: ReactNode; // beside the title: a state, a count
  actions?: ReactNode;
  children: ReactNode;
  wide?: boolean; // else as wide as text is read
}) {
  useEffect(() => {
    document.title = `${title} · tilth`;
  }, [title]);
  return (
    <div className={`mx-auto flex w-full flex-col gap-4 p-4 md:p-6 ${wide ? "max-w-[1600px]" : "max-w-3xl"}`}>
      <header className="flex flex-wrap items-end justify-between gap-x-4 gap-y-2">
        <div className="min-w-0">
          {crumbs.length > 0 && (
            <nav aria-label="breadcrumb">
              <ol className="flex flex-wrap items-center gap-1 text-xs text-muted">
                {crumbs.map((each) => (
                  <li key={each.to} className="flex items-center gap-1">
                    <Link to={each.to} className="hover:text-ink hover:underline">
                      {each.label}
                    </Link>
                    <ChevronRight className="size-3" aria-hidden />
                  </li>
                ))}
              </ol>
            </nav>
          )}
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <h1 className="text-xl font-semibold tracking-tight break-words">{title}</h1>
            {note}
          </div>
        </div>
        {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
      </header>
      {children}
    </div>
  );
}
