import { useQueryErrorResetBoundary } from "@tanstack/react-query";
import { type ErrorComponentProps, Link } from "@tanstack/react-router";
import { useEffect } from "react";
import { buttonClass } from "@/ui/button";
import { Page } from "@/ui/page";
import { Empty, ErrorView } from "@/ui/said";

/** What stands in a page's place when it failed. */
export function Broken({ error, reset }: ErrorComponentProps) {
  const { reset: resetQueries } = useQueryErrorResetBoundary();
  useEffect(() => resetQueries(), [resetQueries]);
  return (
    <Page title="This page failed">
      <ErrorView error={error} retry={reset} />
    </Page>
  );
}

export function NotThere() {
  return (
    <Page title="Nothing is here">
      <Empty title="No page has this address">
        <Link to="/" className={buttonClass("primary")}>
          To the overview
        </Link>
      </Empty>
    </Page>
  );
}
