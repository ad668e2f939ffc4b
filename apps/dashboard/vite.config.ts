import { defineConfig } from 'vite';
import { printSizes } from './sizes.ts';

export default defineConfig({
  base: '/',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  // Schemas are compiled to code in the services; the content security policy of the page allows no evaluation, not even the attempt.
  resolve: { alias: { 'typebox/compile': new URL('src/interpreted-schema.ts', import.meta.url).pathname } },
  build: {
    // These know light-dark(); an older target would make the build write two copies of each color.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    // The content security policy allows scripts and images of this origin as files, never inline.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  plugins: [printSizes()],
  // `vite` alone serves the sources; the API is that of `npm start`.
  server: { proxy: { '/api': 'http://127.0.0.1:8000', '/ws': { target: 'ws://127.0.0.1:8000', ws: true } } },
});
