import { attributes, objectClasses } from '../constants.ts';
import type {
  FindRequest,
  FoundObject,
  ObjectClass,
  ObjectSelector,
  TemplateEntry,
} from '../protocol.ts';
import { faultKind, returnValues } from '../return-values.ts';
import { type Attribute, type Handle, type NativeModule, returnValueOf } from './addon.ts';

const objectsMaximum = 10_000;
const foundAtOnce = 100;

/** No object, or several, where one was named. */
export class SelectionError extends Error {
  readonly kind: 'missing' | 'ambiguous';

  constructor(kind: 'missing' | 'ambiguous') {
    super(kind === 'missing' ? 'no such key in the token' : 'several keys of that name');
    this.kind = kind;
  }
}

/** The handles of all objects of the token that match. */
export function findHandles(
  module: NativeModule,
  session: Handle,
  template: readonly Attribute[],
): Handle[] {
  module.C_FindObjectsInit(session, [...template]);
  const handles: Handle[] = [];
  try {
    while (handles.length < objectsMaximum) {
      const found = module.C_FindObjects(session, foundAtOnce);
      if (found.length === 0) break;
      handles.push(...found);
    }
  } finally {
    module.C_FindObjectsFinal(session);
  }
  return handles;
}

/** The handle of the one object that is meant. Error: SelectionError. */
export function findOne(module: NativeModule, session: Handle, selector: ObjectSelector): Handle {
  const handles = findHandles(module, session, [
    { type: attributes.class, value: objectClasses[selector.class] },
    ...selection(selector),
  ]);
  if (handles.length === 1) return handles[0]!;
  throw new SelectionError(handles.length === 0 ? 'missing' : 'ambiguous');
}

/** The handles of all keys, of every class, that an id or a label names. */
export function findKeys(
  module: NativeModule,
  session: Handle,
  selector: { readonly id?: string | undefined; readonly label?: string | undefined },
): { handle: Handle; class: ObjectClass }[] {
  const names = Object.keys(objectClasses) as ObjectClass[];
  return names.flatMap((name) =>
    findHandles(module, session, [
      { type: attributes.class, value: objectClasses[name] },
      ...selection(selector),
    ]).map((handle) => ({ handle, class: name })),
  );
}

/** The objects that match, with what the token tells of them. */
export function describeKeys(
  module: NativeModule,
  session: Handle,
  request: FindRequest,
): FoundObject[] {
  return findKeys(module, session, request).map(({ handle, class: name }) =>
    describe(new AttributeReader(module, session, handle), name, request.details),
  );
}

export function nativeTemplate(entries: readonly TemplateEntry[]): Attribute[] {
  return entries.map(({ type, value }) => {
    if (typeof value !== 'object') return { type, value };
    const bytes = 'hex' in value ? Buffer.from(value.hex, 'hex') : Buffer.from(value.text, 'utf8');
    return { type, value: bytes };
  });
}

function selection(selector: {
  readonly id?: string | undefined;
  readonly label?: string | undefined;
}): Attribute[] {
  const template: Attribute[] = [];
  if (selector.id !== undefined) {
    template.push({ type: attributes.id, value: Buffer.from(selector.id, 'hex') });
  }
  if (selector.label !== undefined) {
    template.push({ type: attributes.label, value: Buffer.from(selector.label, 'utf8') });
  }
  return template;
}

function describe(reader: AttributeReader, name: ObjectClass, details: boolean): FoundObject {
  const isPublic = name === 'public';
  const withSecret = isPublic
    ? {}
    : {
        sensitive: reader.boolean(attributes.sensitive),
        extractable: reader.boolean(attributes.extractable),
        alwaysSensitive: reader.boolean(attributes.alwaysSensitive),
        neverExtractable: reader.boolean(attributes.neverExtractable),
      };
  return {
    class: name,
    keyType: reader.number(attributes.keyType) ?? -1,
    id: reader.bytes(attributes.id)?.toString('hex') ?? '',
    label: reader.bytes(attributes.label)?.toString('utf8') ?? '',
    onToken: reader.boolean(attributes.token),
    isPrivate: reader.boolean(attributes.private),
    local: reader.boolean(attributes.local),
    ...withSecret,
    ...(details ? numbersOf(reader, name) : {}),
  };
}

function numbersOf(reader: AttributeReader, name: ObjectClass): Partial<FoundObject> {
  const hex = (type: number) => reader.bytes(type)?.toString('hex');
  if (name === 'secret') return { valueBytes: reader.number(attributes.valueLength) };
  return {
    modulus: hex(attributes.modulus),
    publicExponent: hex(attributes.publicExponent),
    ecParameters: hex(attributes.ecParameters),
    ecPoint: hex(attributes.ecPoint),
    publicKeyInfo: hex(attributes.publicKeyInfo),
    // Never asked of a private key: there it is the key itself.
    ...(name === 'public' ? { value: hex(attributes.value) } : {}),
  };
}

/** Reads one attribute at a time: one that a token does not have must not hide the others. */
class AttributeReader {
  readonly #module: NativeModule;
  readonly #session: Handle;
  readonly #object: Handle;

  constructor(module: NativeModule, session: Handle, object: Handle) {
    this.#module = module;
    this.#session = session;
    this.#object = object;
  }

  bytes(type: number): Buffer | undefined {
    try {
      const [first] = this.#module.C_GetAttributeValue(this.#session, this.#object, [{ type }]);
      return Buffer.isBuffer(first?.value) && first.value.length > 0 ? first.value : undefined;
    } catch (error) {
      const value = returnValueOf(error);
      if (value === returnValues.attributeTypeInvalid) return undefined;
      if (value === returnValues.attributeSensitive) return undefined;
      const kind = value === undefined ? 'other' : faultKind(value);
      if (kind === 'session' || kind === 'device') throw error;
      // Some modules answer with a general error to attributes that they do not know.
      return undefined;
    }
  }

  boolean(type: number): boolean | undefined {
    const value = this.bytes(type);
    return value === undefined ? undefined : value[0] !== 0;
  }

  /** CK_ULONG, in the order of bytes of the machine: all that Node runs on is little-endian. */
  number(type: number): number | undefined {
    const value = this.bytes(type);
    if (value === undefined || value.length < 4) return undefined;
    return value.readUInt32LE(0);
  }
}
