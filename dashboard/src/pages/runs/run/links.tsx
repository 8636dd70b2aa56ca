import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { useProject } from "@/shell/project";

export const LINK =
  "text-accent underline decoration-line-strong underline-offset-2 hover:decoration-current";

/** A link to another page of the project. */
export function To({
  path,
  children,
  className = LINK,
  title,
}: {
  path: Array<string | number>; // each part as it is called
  children: ReactNode;
  className?: string;
  title?: string;
}) {
  const project = useProject();
  const to = `/p/${[project, ...path].map((each) => encodeURIComponent(each)).join("/")}`;
  return (
    <Link to={to} className={className} title={title}>
      {children}
    </Link>
  );
}
