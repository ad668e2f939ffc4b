import express, { Router } from 'express';

const absent = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Fleetwire</title></head><body>
<p>The documents are not built: run <code>npm run docs</code>, then reload this page. The API is described at <a href="/docs">/docs</a>.</p>
</body></html>`;

/** `/guide/`: the documents as a site, as its build left it. It may be built while query-api runs. */
export function guidePages(directory: string): Router {
  const router = Router({ caseSensitive: true });
  router.use('/guide', express.static(directory, { extensions: ['html'] }));
  router.get(/^\/guide(\/|$)/, (_request, response) => {
    response.status(404).sendFile('404.html', { root: directory }, (error) => {
      if (error && !response.headersSent) response.type('html').send(absent);
    });
  });
  return router;
}
