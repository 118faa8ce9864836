import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type ErrorCode, errorCodes } from '../../api/error-codes.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { PageAnswer } from './answer.ts';

const assetCacheSeconds = 3600;
const html = 'text/html; charset=utf-8';

/** The reader of the API description runs its own scripts, and reaches this service alone. */
const docsPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Files of the reader that the page uses; no other file of its package is served. */
const assets: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
};

const docsPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Keyreeve API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

// Without `validatorUrl: null` the reader would ask a public server about the document.
const startScript = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#api',
  presets: [SwaggerUIBundle.presets.apis],
  layout: 'BaseLayout',
  deepLinking: true,
  validatorUrl: null,
});
`;

/** The page that shows the API, which the browser fills from `/openapi.json`. */
export function docsIndex(): PageAnswer {
  return { status: 200, contentType: html, body: docsPage, contentPolicy: docsPolicy };
}

/** A file of that page. Error: `not-found`. */
export async function docsAsset(name: string): Promise<PageAnswer> {
  const found = { status: 200, contentPolicy: docsPolicy, cacheSeconds: assetCacheSeconds };
  if (name === 'start.js') {
    return { ...found, contentType: assets['swagger-ui-bundle.js']!, body: startScript };
  }
  const contentType = Object.hasOwn(assets, name) ? assets[name] : undefined;
  if (contentType === undefined) throw new KeyreeveError('not-found', 'There is no such file.');
  const reader = createRequire(import.meta.url).resolve('@fastify/swagger-ui/package.json');
  const body = await readFile(join(dirname(reader), 'static', name));
  return { ...found, contentType, body };
}

/** What the `type` of a problem document leads to. Error: `not-found`. */
export function errorPage(code: string): PageAnswer {
  if (!Object.hasOwn(errorCodes, code)) {
    throw new KeyreeveError('not-found', 'There is no error with this code.');
  }
  const { status, title } = errorCodes[code as ErrorCode];
  const body = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${code}</title></head>
<body>
<h1>${title}</h1>
<p>Error <code>${code}</code>, HTTP status ${status}. The problem document says in <code>detail</code> what was wrong
and, where something can be done about it, in <code>hint</code> what to do.</p>
</body>
</html>
`;
  return { status: 200, contentType: html, body, cacheSeconds: assetCacheSeconds };
}
