import { randomUUID } from 'node:crypto';
import type {
  DetailedError,
  EntityJson,
  EntityUidJson,
  ValidationError,
} from '@cedar-policy/cedar-wasm/nodejs';
import type { Action } from '../../api/actions.ts';
import type { Bound, Resource } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import { cedarSchema } from './cedar-schema.ts';
import { requireShallow } from './rule-depth.ts';

type Cedar = typeof import('@cedar-policy/cedar-wasm/nodejs');

/** Problems of a rule set that are named in one answer. */
export const ruleProblemsMax = 10;

/**
 * Decides by Cedar rules. The engine keeps parsed rule sets under names for as long as the process
 * lives, so each object uses two names of its own, again and again: one for the rules in force, one
 * for candidates.
 */
export class RuleEngine {
  readonly #cedar: Cedar;
  readonly #name = randomUUID();

  private constructor(cedar: Cedar) {
    this.#cedar = cedar;
  }

  /** Loads the engine: 4 MB of WebAssembly, some 50 ms, so only once it is needed. */
  static async load(): Promise<RuleEngine> {
    return new RuleEngine(await import('@cedar-policy/cedar-wasm/nodejs'));
  }

  /** Puts rules in place of those in force, or of the last candidate. */
  use(policies: string, as: 'in-force' | 'candidate' = 'in-force'): void {
    const answer = this.#cedar.preparsePolicySet(`${this.#name}-${as}`, {
      staticPolicies: policies,
    });
    if (answer.type === 'failure') throw invalidRules(policies, answer.errors);
  }

  /**
   * Checks rules against the schema. Throws `invalid-policy`, with line, column and message of each
   * problem: wrong syntax, unknown actions, types and attributes, templates, and what is too deep.
   */
  validate(policies: string): void {
    requireShallow(policies);
    const answer = this.#cedar.validate({
      schema: cedarSchema,
      policies: { staticPolicies: policies },
    });
    if (answer.type === 'failure') throw invalidRules(policies, answer.errors);
    if (answer.validationErrors.length > 0) {
      throw invalidRules(policies, answer.validationErrors.map(errorOfPolicy));
    }
  }

  /** Whether the rules allow it. A rule that fails while it is evaluated allows nothing. */
  decide(
    who: Bound,
    action: Action,
    resource: Resource,
    by: 'in-force' | 'candidate' = 'in-force',
  ): boolean {
    const subject = resourceEntity(resource);
    const answer = this.#cedar.statefulIsAuthorized({
      principal: uid('Principal', who.principalId),
      action: uid('Action', action),
      resource: subject.uid,
      context: {},
      preparsedPolicySetId: `${this.#name}-${by}`,
      entities: entitiesOf(who, subject),
    });
    if (answer.type === 'failure') {
      throw new KeyreeveError('internal', 'The access rules could not be evaluated.', {
        cause: new Error(answer.errors.map((error) => error.message).join('; ')),
      });
    }
    return answer.response.decision === 'allow' && answer.response.diagnostics.errors.length === 0;
  }
}

function entitiesOf(who: Bound, subject: EntityJson): EntityJson[] {
  const caller: EntityJson = {
    uid: uid('Principal', who.principalId),
    attrs: {},
    parents: who.roles.map((role) => uid('Role', role)),
  };
  const isSelf = isSame(subject.uid, caller.uid);
  return isSelf ? [caller] : [caller, subject];
}

function resourceEntity(resource: Resource): EntityJson {
  switch (resource.type) {
    case 'key':
      return {
        uid: uid('Key', resource.id),
        attrs: {
          purpose: resource.purpose,
          owner: { __entity: uid('Principal', resource.ownerId) },
          labels: Object.entries(resource.labels).map(([name, value]) => `${name}=${value}`),
        },
        parents: foldersAbove(resource.folder).map((folder) => uid('Folder', folder)),
      };
    case 'folder':
      return {
        uid: uid('Folder', resource.folder),
        attrs: {},
        parents: foldersAbove(resource.folder)
          .filter((folder) => folder !== resource.folder)
          .map((folder) => uid('Folder', folder)),
      };
    case 'principal':
      return { uid: uid('Principal', resource.id), attrs: {}, parents: [] };
    case 'token':
      return {
        uid: uid('Token', resource.id),
        attrs: { principal: { __entity: uid('Principal', resource.principalId) } },
        parents: [],
      };
    case 'system':
      return { uid: uid('System', 'keyreeve'), attrs: {}, parents: [] };
  }
}

/** `a/b` -> `a/b`, `a` and the top, which is empty. */
export function foldersAbove(folder: string): string[] {
  const found = [''];
  for (let end = folder.indexOf('/'); end >= 0; end = folder.indexOf('/', end + 1)) {
    found.push(folder.slice(0, end));
  }
  if (folder !== '') found.push(folder);
  return found.reverse();
}

function uid(type: string, id: string): { type: string; id: string } {
  return { type, id };
}

function isSame(a: EntityUidJson, b: EntityUidJson): boolean {
  return 'id' in a && 'id' in b && a.id === b.id && a.type === b.type;
}

function errorOfPolicy(problem: ValidationError): DetailedError {
  // The engine's own numbering of rules says nothing to a person: the line does.
  const message = problem.error.message.replace(/^for policy `[^`]*`, /, '');
  return { ...problem.error, message };
}

function invalidRules(policies: string, errors: readonly DetailedError[]): KeyreeveError {
  const bytes = Buffer.from(policies, 'utf8');
  const first = errors[0]?.sourceLocations?.[0];
  const named = errors.slice(0, ruleProblemsMax).map((error) => describe(bytes, error));
  const more = errors.length - named.length;
  const message = `The access rules are not valid: ${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}.`;
  return new KeyreeveError('invalid-policy', message, {
    hint: errors.find((error) => error.help)?.help ?? 'Mend the rules and apply them again.',
    ...(first === undefined ? {} : { data: position(bytes, first.start) }),
  });
}

function describe(bytes: Buffer, error: DetailedError): string {
  const [location] = error.sourceLocations ?? [];
  const label = location?.label ? ` (${location.label})` : '';
  const text = `${error.message}${label}`;
  if (location === undefined) return text;
  const { line, column } = position(bytes, location.start);
  return `line ${line}, column ${column}: ${text}`;
}

/** The engine counts bytes of UTF-8; people count lines and characters, from 1. */
function position(bytes: Buffer, offset: number): { line: number; column: number } {
  const lines = bytes.subarray(0, offset).toString('utf8').split('\n');
  return { line: lines.length, column: [...lines.at(-1)!].length + 1 };
}
