import { createHmac } from 'node:crypto';
import { z } from 'zod';
import type { Json } from '../base/canonical-json.ts';

/**
 * The value of a request as approvers may see it: what its schema marks as secret (`.meta({ secret:
 * true })`) is replaced by `{ commitment }`, the hexadecimal HMAC-SHA-256 of its place and its value
 * under the salt. What the schema does not tell apart is replaced as a whole.
 */
export function withoutSecrets(schema: z.ZodType, value: unknown, salt: Uint8Array): Json {
  return new Walk(salt).visit(schema, value, '');
}

/** Whether the schema, or anything in it, is marked as secret. */
export function holdsSecret(schema: z.ZodType): boolean {
  return isSecret(schema) || partsOf(schema).some(([, part]) => holdsSecret(part));
}

export function isSecret(schema: z.ZodType): boolean {
  return z.globalRegistry.get(schema)?.secret === true;
}

/** The schemas inside a schema, by the word that stands for them in a path. */
export function partsOf(schema: z.ZodType): readonly (readonly [string, z.ZodType])[] {
  const inner = unwrapped(schema);
  if (inner !== undefined) return [['', inner]];
  if (schema instanceof z.ZodObject) return Object.entries(schema.shape as Shape);
  if (schema instanceof z.ZodArray) return [['*', schema.element as z.ZodType]];
  if (schema instanceof z.ZodRecord) return [['*', schema.valueType as z.ZodType]];
  if (schema instanceof z.ZodUnion) {
    return (schema.options as readonly z.ZodType[]).map((option) => ['', option] as const);
  }
  return [];
}

type Shape = Record<string, z.ZodType>;

function unwrapped(schema: z.ZodType): z.ZodType | undefined {
  const wraps =
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault;
  return wraps ? (schema.unwrap() as z.ZodType) : undefined;
}

const plainKinds: ReadonlySet<string> = new Set([
  ...['string', 'number', 'int', 'boolean', 'enum', 'literal', 'null', 'undefined'],
]);

/**
 * Secrets in addresses: the PIN of a token (RFC 7512, section 2.4), a password (RFC 3986, section
 * 3.2.1), and those that are one as a whole. Such addresses are refused, but not before approvers
 * are asked.
 */
const secretAddresses: readonly RegExp[] = [
  /pin(-|%2d)value/i,
  /^\s*[a-z][a-z0-9+.-]*:\/\/[^/?#@]*:.*@/i,
  /^\s*https?:\/\/hooks\.slack(-gov)?\.com\//i,
];

function isSecretAddress(value: unknown): boolean {
  return typeof value === 'string' && secretAddresses.some((pattern) => pattern.test(value));
}

class Walk {
  readonly #salt: Uint8Array;

  constructor(salt: Uint8Array) {
    this.#salt = salt;
  }

  visit(schema: z.ZodType, value: unknown, path: string): Json {
    if (value === undefined || value === null) return null;
    if (isSecret(schema)) return this.#commitment(value, path);
    const inner = unwrapped(schema);
    if (inner !== undefined) return this.visit(inner, value, path);
    if (schema instanceof z.ZodUnion) return this.#union(schema, value, path);
    if (schema instanceof z.ZodArray && Array.isArray(value)) {
      const element = schema.element as z.ZodType;
      return value.map((item, index) => this.visit(element, item, `${path}/${index}`));
    }
    if (schema instanceof z.ZodObject) {
      const shape = schema.shape as Shape;
      return this.#members(value, path, (name) => shape[name]);
    }
    if (schema instanceof z.ZodRecord) {
      return this.#members(value, path, () => schema.valueType as z.ZodType);
    }
    if (plainKinds.has(schema.def.type) && !isSecretAddress(value)) return value as Json;
    return this.#commitment(value, path);
  }

  #members(value: unknown, path: string, of: (name: string) => z.ZodType | undefined): Json {
    const found: Record<string, Json> = {};
    for (const [name, member] of Object.entries(value as Record<string, unknown>)) {
      if (member === undefined) continue;
      const schema = of(name);
      const at = `${path}/${name}`;
      found[name] =
        schema === undefined ? this.#commitment(member, at) : this.visit(schema, member, at);
    }
    return found;
  }

  #union(schema: z.ZodUnion, value: unknown, path: string): Json {
    const options = schema.options as readonly z.ZodType[];
    if (!holdsSecret(schema)) return value as Json;
    const fitting = options.filter((option) => option.safeParse(value).success);
    if (fitting.length !== 1) return this.#commitment(value, path);
    return this.visit(fitting[0]!, value, path);
  }

  #commitment(value: unknown, path: string): Json {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const hmac = createHmac('sha256', this.#salt).update(`${path}\0${text}`, 'utf8');
    return { commitment: hmac.digest('hex') };
  }
}
