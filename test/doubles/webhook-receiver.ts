/**
 * An HTTPS server in a process of its own that takes webhooks and prints a JSON line for each.
 * Arguments: certificate, key, port or 0.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';

const [certificate, key, port] = process.argv.slice(2);
const server = createServer(
  { cert: readFileSync(certificate!), key: readFileSync(key!) },
  (request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces).toString('utf8');
      // First told, then answered: what was answered is never missing from what was told.
      const line = JSON.stringify({ url: request.url, headers: request.headers, body });
      process.stdout.write(`${line}\n`, () => response.end());
    });
  },
);
server.listen(Number(port), '127.0.0.1', () => {
  const address = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ port: address.port })}\n`);
});
