import { defineConfig } from "vite";

// The built page is part of the Python package: `greenroom dev` and `greenroom demo --keep` serve it.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../python/greenroom/cli/web",
    emptyOutDir: true,
    chunkSizeWarningLimit: 2000,
    rolldownOptions: { output: { entryFileNames: "page.js", assetFileNames: "[name][extname]" } },
  },
});
