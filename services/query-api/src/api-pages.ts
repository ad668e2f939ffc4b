import { fileURLToPath } from 'node:url';
import type { HelmetOptions } from '@fleetwire/runtime/http';
import { Router } from 'express';
import { openApiDocument } from './openapi.ts';

/** Scripts and data of this origin only. Both tools write style elements, and ReDoc runs its search in a worker from a blob. */
export const pagePolicy: HelmetOptions = {
  contentSecurityPolicy: {
    directives: {
      defaultSrc: ["'self'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", 'data:'],
      workerSrc: ["'self'", 'blob:'],
      upgradeInsecureRequests: null, // pages are also served over plain HTTP
    },
  },
};

const assets = {
  '/docs/swagger-ui.css': asset('swagger-ui-dist/swagger-ui.css'),
  '/docs/swagger-ui-bundle.js': asset('swagger-ui-dist/swagger-ui-bundle.js'),
  '/docs/favicon.png': asset('swagger-ui-dist/favicon-32x32.png'),
  '/redoc/redoc.standalone.js': asset('redoc/bundles/redoc.standalone.js'),
};

const swaggerPage = page(
  'Fleetwire API',
  '<link rel="stylesheet" href="/docs/swagger-ui.css"><link rel="icon" href="/docs/favicon.png">',
  '<div id="swagger-ui"></div><script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script>',
);
const swaggerStart = `window.ui = SwaggerUIBundle({
  url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null,
});`;
const redocPage = page(
  'Fleetwire API reference',
  '<link rel="icon" href="/docs/favicon.png">',
  '<redoc spec-url="/openapi.json"></redoc><script src="/redoc/redoc.standalone.js"></script>',
);

/** `/openapi.json`, `/docs` (Swagger UI) and `/redoc`; none loads anything from another host. */
export function apiPages(): Router {
  const router = Router();
  const document = openApiDocument();
  router.get('/openapi.json', (_request, response) => void response.json(document));
  router.get('/docs', (_request, response) => void response.type('html').send(swaggerPage));
  router.get('/docs/start.js', (_request, response) => void response.type('js').send(swaggerStart));
  router.get('/redoc', (_request, response) => void response.type('html').send(redocPage));
  for (const [path, file] of Object.entries(assets)) {
    router.get(path, (_request, response) => response.sendFile(file, { maxAge: '1d', dotfiles: 'allow' }));
  }
  return router;
}

function asset(specifier: string): string {
  return fileURLToPath(import.meta.resolve(specifier));
}

function page(title: string, head: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title>${head}</head>
<body>${body}</body>
</html>`;
}
