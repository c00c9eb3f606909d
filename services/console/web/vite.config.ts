import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** Large libraries have a file of their own, so that a change of a page leaves them in the browsers' caches. */
const VENDOR = /node_modules\/(react|react-dom|scheduler|@tanstack|openapi-fetch|openapi-react-query)\//;

export default defineConfig({
  plugins: [react()],
  resolve: { alias: { "@": fileURLToPath(new URL("./src", import.meta.url)) } },
  build: {
    target: "es2022",
    // These know light-dark(), which would be compiled to something that needs a colour scheme in the same file.
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // The content security policy allows no data: scripts, and pictures are few.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: { advancedChunks: { groups: [{ name: "vendor", test: VENDOR }] } },
    },
  },
});
