/** What the tests of access share: a whole one over a real database, and people to call it. */
import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EntryDraft } from '../../api/entry.ts';
import type { Caller, Resource } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import { Commands } from '../commands/commands.ts';
import { openSealed, sealBytes } from '../crypto/crypto.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import {
  type Access,
  type AccessOptions,
  type AccessRouteId,
  createAccess,
  createLoginCode,
} from './access.ts';

export const caFingerprint = 'ab'.repeat(32);
export const visitor = { address: '192.0.2.7', agent: 'test', correlationId: 'req-1' };

/** A clock that goes only when it is told to. */
export class TestClock implements Clock {
  milliseconds = Date.UTC(2030, 0, 1);

  now(): number {
    return this.milliseconds;
  }

  monotonic(): number {
    return this.milliseconds;
  }

  advance(seconds: number): void {
    this.milliseconds += seconds * 1000;
  }
}

export interface TestAccess {
  readonly access: Access;
  readonly clock: TestClock;
  readonly storage: Storage;
  readonly commands: Commands;
  readonly handlers: Handlers<AccessRouteId>;
  readonly loginCodeFile: string;
  readonly warnings: string[];
  /** Makes a code on the host. */
  hostCode(): string;
  login(code: string, address?: string): Promise<string>;
  /** Logs the first administrator in. */
  administrator(): Promise<Caller>;
  caller(token: string, address?: string): Promise<Caller>;
  /** A new principal with these roles, enrolled and logged in. */
  person(by: Caller, name: string, roles: string[]): Promise<Caller>;
  token(by: Caller, body?: Partial<TokenBody>): Promise<string>;
  /** All entries of the record so far. */
  entries(): Promise<EntryDraft[]>;
  close(): Promise<void>;
}

export interface TokenBody {
  principal: string;
  roles: string[];
  folders: string[];
  label: string;
  ttlSeconds: number;
}

/** Opens everything in a temporary folder; on PostgreSQL where a URL is given. */
export async function openAccess(
  more: Partial<AccessOptions> & { databaseUrl?: string } = {},
): Promise<TestAccess> {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-access-'));
  const clock = new TestClock();
  const quiet = { info() {}, warn() {}, error() {} };
  const { databaseUrl, ...accessOptions } = more;
  const storage = await openStorage({
    dataFolder: folder,
    clock,
    log: quiet,
    entryEncoder: new URL('../../test/plain-encoder.ts', import.meta.url),
    ...(databaseUrl === undefined ? {} : { databaseUrl }),
  });
  const warnings: string[] = [];
  const loginCodeFile = join(folder, 'login-code.json');
  const access = createAccess({
    storage,
    clock,
    loginCodeFile,
    caFingerprint: () => caFingerprint,
    log: { warn: (_, message) => warnings.push(message) },
    ...accessOptions,
  });
  await access.ready();
  const { authorise, stillAllowed } = access;
  const commands = new Commands({
    storage,
    clock,
    authorise,
    stillAllowed,
    sealer: testSealer(),
    requireClock: () => {},
  });
  const handlers = access.handlers(commands);
  const hostCode = () => createLoginCode({ file: loginCodeFile, caFingerprint, clock });
  const login = async (code: string, address = visitor.address) => {
    const answer = await handlers.login({
      visitor: { ...visitor, address },
      params: {},
      query: {},
      body: { code },
      idempotencyKey: undefined,
    });
    return answer.token;
  };
  const caller = (token: string, address = visitor.address) =>
    access.authenticate({ ...visitor, address, bearer: token });
  return {
    access,
    clock,
    storage,
    commands,
    handlers,
    loginCodeFile,
    warnings,
    hostCode,
    login,
    caller,
    administrator: async () => caller(await login(hostCode())),
    person: async (by, name, roles) => {
      await handlers['principal.create'](call(by, { body: { name, kind: 'person', roles } }));
      const { code } = await handlers['principal.enrol'](
        call(by, { params: { principal: name }, body: {} }),
      );
      return caller(await login(code));
    },
    token: async (by, body = {}) => {
      const full = { label: '', ttlSeconds: 3600, ...body };
      return (await handlers['token.create'](call(by, { body: full }))).token;
    },
    entries: async () => {
      const rows = await storage.db
        .selectFrom('entry_tail')
        .select('opening')
        .orderBy('id')
        .execute();
      return rows.map(({ opening }) => JSON.parse(Buffer.from(opening).toString('utf8')));
    },
    close: async () => {
      await storage.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface EmptyCall {
  readonly caller: Caller;
  readonly params: Record<string, never>;
  readonly query: Record<string, never>;
  readonly body: undefined;
  readonly idempotencyKey: undefined;
}

/** A call of a handler, with what it does not use left empty. */
export function call<Parts extends object>(
  by: Caller,
  parts: Parts,
): Omit<EmptyCall, keyof Parts> & Parts {
  const empty: EmptyCall = {
    caller: by,
    params: {},
    query: {},
    body: undefined,
    idempotencyKey: undefined,
  };
  return { ...empty, ...parts };
}

export function keyIn(folder: string, facts: Partial<Extract<Resource, { type: 'key' }>> = {}) {
  const id = `key_${'a'.repeat(26)}`;
  const name = folder === '' ? 'one' : `${folder}/one`;
  const ownerId = `prn_${'z'.repeat(26)}`;
  return { type: 'key', id, name, folder, purpose: 'sign', ownerId, labels: {}, ...facts } as const;
}

/** For `assert.rejects` and `assert.throws`: an error of ours with this code and this text. */
export function refusal(code: string, text: RegExp = /./): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof KeyreeveError)) throw error;
    if (error.code !== code || !text.test(error.message)) {
      throw new Error(`expected ${code} ${text}, got ${error.code}: ${error.message}`);
    }
    return true;
  };
}

function testSealer() {
  const key = createSecretKey(randomBytes(32));
  return {
    seal: (label: string, bytes: Uint8Array) => sealBytes(key, bytes, Buffer.from(label)),
    unseal: (label: string, sealed: Uint8Array) => openSealed(key, sealed, Buffer.from(label)),
  };
}
