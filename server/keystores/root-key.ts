import { resolve } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';
import type { Seal } from '../config/config.ts';
import { createRootKeyFile, openRootKeyBytes } from './root-key-bytes.ts';
import type { RootKey, RootKeySurroundings, SealLocation } from './root-key-kinds.ts';
import { createRootKeyInToken, openRootKeyInToken } from './root-key-token.ts';
import { formatTokenPlace, nameTokenPlace, parseTokenPlace } from './root-key-uri.ts';

/**
 * Reads `KEYREEVE_SEAL`: a path, `env:NAME`, `credential:NAME` for systemd, or the URI of a key in
 * a token (RFC 7512). Error: `config-invalid` for a URI that is not right.
 */
export function parseSealLocation(text: string): SealLocation {
  if (text.startsWith('env:')) return { kind: 'environment', name: text.slice('env:'.length) };
  if (text.startsWith('credential:')) {
    return { kind: 'credential', name: text.slice('credential:'.length) };
  }
  if (/^pkcs11:/i.test(text)) return parseTokenPlace(text);
  return { kind: 'folder', path: resolve(text) };
}

export function formatSealLocation(location: SealLocation): string {
  switch (location.kind) {
    case 'folder':
      return location.path;
    case 'environment':
      return `env:${location.name}`;
    case 'credential':
      return `credential:${location.name}`;
    case 'token':
      return formatTokenPlace(location);
  }
}

/** As `formatSealLocation`, short: of a token its name and that of the key, not the way there. */
export function nameSealLocation(location: SealLocation): string {
  return location.kind === 'token' ? nameTokenPlace(location) : formatSealLocation(location);
}

/** The place that the configuration names. Error: `config-invalid`. */
export function sealLocation(seal: Seal): SealLocation {
  switch (seal.kind) {
    case 'path':
      return { kind: 'folder', path: seal.path };
    case 'env':
      return { kind: 'environment', name: seal.variable };
    case 'credential':
      return { kind: 'credential', name: seal.name };
    case 'pkcs11':
      return parseTokenPlace(seal.uri);
  }
}

/**
 * Opens the root key, or undefined where there is none yet. Errors: `root-key-missing` for what is
 * none, `lax-mode`; of a token `keystore-unavailable`, `wrong-passphrase`, `capability-missing`.
 */
export async function openRootKey(
  location: SealLocation,
  surroundings: RootKeySurroundings = {},
): Promise<RootKey | undefined> {
  return location.kind === 'token'
    ? openRootKeyInToken(location, surroundings)
    : openRootKeyBytes(location, surroundings.environment ?? process.env);
}

/**
 * Makes a root key in a folder or a token that has none. It is on disk, or in the token, when this
 * resolves.
 */
export async function createRootKey(
  location: SealLocation,
  surroundings: RootKeySurroundings = {},
): Promise<RootKey> {
  if (location.kind === 'token') return createRootKeyInToken(location, surroundings);
  if (location.kind === 'folder') return createRootKeyFile(location);
  throw new KeyreeveError(
    'root-key-missing',
    `There is no root key in ${formatSealLocation(location)}.`,
    {
      hint: 'Make one with: (echo "keyreeve-root-key v1"; head -c 32 /dev/urandom | base64), and give it there.',
    },
  );
}
