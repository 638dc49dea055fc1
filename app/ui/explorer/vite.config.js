import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  base: "/explorer/",
  plugins: [react()],
  build: {
    // Monaco is one large chunk, and is fetched once.
    chunkSizeWarningLimit: 8000,
  },
});
