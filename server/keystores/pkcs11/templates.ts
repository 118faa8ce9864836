import { attributes, objectClasses } from './constants.ts';
import type { TokenKeyKind } from './key-kinds.ts';
import type { GenerateRequest, ImportRequest, TemplateEntry } from './protocol.ts';

export interface KeyNames {
  /** CKA_ID in hex. */
  readonly id: string;
  readonly label: string;
}

/** What a fresh key is asked to be: kept in the token, used after a login, never read out. */
export function generateRequest(kind: TokenKeyKind, names: KeyNames): GenerateRequest {
  return {
    mechanism: kind.generation,
    publicTemplate: kind.isSecret
      ? []
      : [...publicEntries(names), ...allowed(kind.publicUses), ...kind.domain],
    privateTemplate: [...guardedEntries(names), ...allowed(kind.privateUses), ...kind.secret],
    id: names.id,
    isSecret: kind.isSecret,
  };
}

/** The same for a key that is unwrapped; `numbers` are those of its public half. */
export function importRequest(
  kind: TokenKeyKind,
  names: KeyNames,
  mechanism: number,
  numbers: readonly TemplateEntry[],
): ImportRequest {
  const typed = (name: keyof typeof objectClasses): TemplateEntry[] => [
    { type: attributes.class, value: objectClasses[name] },
    { type: attributes.keyType, value: kind.keyType },
  ];
  return {
    mechanism,
    template: [
      ...typed(kind.isSecret ? 'secret' : 'private'),
      ...guardedEntries(names),
      ...allowed(kind.privateUses),
    ],
    publicTemplate: kind.isSecret
      ? []
      : [...typed('public'), ...publicEntries(names), ...allowed(kind.publicUses), ...numbers],
    id: names.id,
    isSecret: kind.isSecret,
  };
}

function guardedEntries(names: KeyNames): TemplateEntry[] {
  return [
    { type: attributes.token, value: true },
    { type: attributes.private, value: true },
    { type: attributes.sensitive, value: true },
    { type: attributes.extractable, value: false },
    ...nameEntries(names),
  ];
}

function publicEntries(names: KeyNames): TemplateEntry[] {
  return [
    { type: attributes.token, value: true },
    { type: attributes.private, value: false },
    ...nameEntries(names),
  ];
}

function nameEntries({ id, label }: KeyNames): TemplateEntry[] {
  return [
    { type: attributes.label, value: { text: label } },
    { type: attributes.id, value: { hex: id } },
  ];
}

function allowed(uses: readonly number[]): TemplateEntry[] {
  return uses.map((type) => ({ type, value: true }));
}
