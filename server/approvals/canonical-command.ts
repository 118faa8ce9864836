import type { RouteDefinition } from '../../api/route.ts';
import { routes } from '../../api/routes.ts';
import type { CommandRequest, Resource } from '../base/caller.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { GatedCommand } from '../commands/commands.ts';
import type { People } from './people.ts';
import { withoutSecrets } from './secret-fields.ts';

/** Longer ones would not be read by anybody either. */
export const commandBytesMax = 1024 * 1024;

/** A command with all that it rests on, before its secrets are replaced under some salt. */
export interface CommandFacts {
  readonly command: GatedCommand;
  readonly request: CommandRequest;
  readonly subject: string;
  readonly resources: readonly Json[];
}

export async function factsOf(
  people: People,
  command: GatedCommand,
  request: CommandRequest,
): Promise<CommandFacts> {
  const asked = [command, ...(command.also ?? [])];
  const found = await people.byIds(asked.flatMap(({ resource }) => principalIn(resource)));
  const nameOf = (id: string) => found.get(id)?.name;
  return {
    command,
    request,
    subject: subjectOf(command, request, nameOf),
    resources: asked.map(({ action, resource }) => ({
      action,
      ...describe(resource, nameOf),
    })),
  };
}

/**
 * What will run, in canonical JSON: route, parameters, body with its secrets as commitments under
 * the salt, what it is done to (ids and revisions of what is there), and what else it rests on.
 * Error: `too-large`.
 */
export function canonicalCommand(facts: CommandFacts, salt: Uint8Array): string {
  const { command, request, subject, resources } = facts;
  const route: RouteDefinition = routes[request.route];
  const text = canonicalJson({
    route: request.route,
    action: command.action,
    subject,
    params: route.params === undefined ? {} : withoutSecrets(route.params, request.params, salt),
    body: route.body === undefined ? null : withoutSecrets(route.body, request.body, salt),
    resources,
    binds: command.binds ?? null,
  });
  if (Buffer.byteLength(text) <= commandBytesMax) return text;
  throw new KeyreeveError('too-large', 'The command is too long for anybody to approve it.', {
    hint: `It has ${commandBytesMax / 1024} KB at most: divide it.`,
  });
}

function principalIn(resource: Resource): string[] {
  if (resource.type === 'principal') return [resource.id];
  return resource.type === 'token' ? [resource.principalId] : [];
}

type NameOf = (id: string) => string | undefined;

function describe(
  resource: Resource,
  nameOf: NameOf,
): { readonly [name: string]: Json | undefined } {
  switch (resource.type) {
    case 'key': {
      const { type, name, folder, purpose, ownerId, labels, revision, keystores } = resource;
      // The id of a key that is yet to be made is another one at each repetition.
      const known = revision === undefined ? {} : { id: resource.id, revision };
      return { type, ...known, name, folder, purpose, ownerId, labels, keystores };
    }
    case 'principal':
      return { type: resource.type, id: resource.id, name: nameOf(resource.id) };
    case 'token': {
      const { type, principalId } = resource;
      return { type, principalId, name: nameOf(principalId) };
    }
    case 'folder':
      return { type: resource.type, folder: resource.folder };
    case 'system':
      return { type: resource.type };
  }
}

/** What it is done to, in a word: for lists. */
function subjectOf({ resource }: GatedCommand, request: CommandRequest, nameOf: NameOf): string {
  switch (resource.type) {
    case 'key':
      return resource.name;
    case 'principal':
      return nameOf(resource.id) ?? resource.id;
    case 'token':
      return nameOf(resource.principalId) ?? resource.principalId;
    case 'folder':
      return resource.folder;
    case 'system': {
      const params = Object.values((request.params ?? {}) as Record<string, unknown>);
      const named = (request.body as { name?: unknown } | undefined)?.name;
      return String(params[0] ?? named ?? '');
    }
  }
}
