import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:https';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { KeyreeveError } from '../base/errors.ts';
import { goodToken, startServer, type TestServer } from './http-testing.ts';

const exportPath = { method: 'POST', path: '/api/v1/audit/export', body: {} };
const pieceBytes = 64 * 1024;

interface Made {
  pieces: number;
  ended: boolean;
}

/** Octets without end unless a number of pieces is given; `made` tells how far it got. */
async function* octets(made: Made, pieces = Number.POSITIVE_INFINITY) {
  try {
    for (; made.pieces < pieces; made.pieces++) yield Buffer.alloc(pieceBytes, made.pieces);
  } finally {
    made.ended = true;
  }
}

function exporting(body: AsyncIterable<Uint8Array>) {
  return {
    'audit.export': async () => ({ contentType: 'application/x-tar', fileName: 'a "b".tar', body }),
  };
}

function asking(server: TestServer) {
  const sending = request({
    ...{ host: '127.0.0.1', port: server.port, ca: server.tls.caPem, agent: false },
    ...{ method: 'POST', path: exportPath.path },
    headers: { authorization: `Bearer ${goodToken}`, 'content-type': 'application/json' },
  });
  sending.on('error', () => undefined);
  sending.end('{}');
  return sending;
}

test('a stream arrives whole, with its type and a safe file name', async (context) => {
  const made = { pieces: 0, ended: false };
  const server = await startServer(context, exporting(octets(made, 40)));
  const { status, headers, text } = await server.ask(exportPath);
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'application/x-tar');
  assert.equal(headers['content-disposition'], 'attachment; filename="a__b_.tar"');
  assert.ok(text.length > 0);
  assert.deepEqual(made, { pieces: 40, ended: true });
  assert.equal(server.http.requestsInFlight, 0);
});

test('a stream is made only as fast as it is taken, and ends when the caller goes', async (context) => {
  const made = { pieces: 0, ended: false };
  const server = await startServer(context, exporting(octets(made)));
  const sending = asking(server);
  const [response] = await once(sending, 'response');
  response.pause();
  await delay(300);
  const before = made.pieces;
  await delay(200);
  assert.equal(made.pieces, before, 'nothing more is made while nobody reads');
  assert.ok(before * pieceBytes < 64 * 1024 * 1024);
  assert.equal(made.ended, false);
  sending.destroy();
  for (let round = 0; !made.ended && round < 200; round++) await delay(10);
  assert.equal(made.ended, true);
  for (let round = 0; server.http.requestsInFlight > 0 && round < 200; round++) await delay(10);
  assert.equal(server.http.requestsInFlight, 0);
});

test('a stream that fails before its first piece is answered by a problem document', async (context) => {
  // biome-ignore lint/correctness/useYield: it fails before it can
  async function* failing(): AsyncGenerator<Uint8Array> {
    throw new KeyreeveError('storage-unavailable', 'The database does not answer.');
  }
  const server = await startServer(context, exporting(failing()));
  const { status, json } = await server.ask(exportPath);
  assert.deepEqual([status, json.code], [503, 'storage-unavailable']);
});

test('a stream that fails later is cut, so that it does not look whole', async (context) => {
  async function* failing() {
    yield Buffer.alloc(pieceBytes);
    throw new Error('the disk is gone');
  }
  const server = await startServer(context, exporting(failing()));
  await assert.rejects(server.ask(exportPath), /aborted|hang up|ECONNRESET/);
  assert.ok(server.log.some((line) => JSON.stringify(line).includes('the disk is gone')));
});
