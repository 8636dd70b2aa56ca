import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const server = process.env.TILTH_SERVER ?? "http://127.0.0.1:8137";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  resolve: { alias: { "@": new URL("src", import.meta.url).pathname } },
  build: {
    outDir: "../src/tilth/server/web",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // the server's content security policy lets no script come from `data:`
    chunkSizeWarningLimit: 2000, // elkjs, in a worker
  },
  worker: { format: "es" },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/health", "/login", "/pages", "/invite", "/device", "/docs"].map((path) => [path, server]),
    ),
  },
  test: { environment: "node", include: ["src/**/*.test.{ts,tsx}"], restoreMocks: true },
});
