import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { begin } from "./api/client";
import { ApiError } from "./api/errors";
import { me, queryClient } from "./api/queries";
import { router } from "./router";
import "./ui/theme.css";

async function start() {
  try {
    await queryClient.fetchQuery(me);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      const here = window.location.pathname + window.location.search + window.location.hash;
      window.location.replace(`/login?next=${encodeURIComponent(here)}`);
      return;
    }
    // The pages say what is wrong.
  }
  begin();
  createRoot(document.getElementById("root") as HTMLElement).render(
    <StrictMode>
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}

void start();
