import type { CaView } from '../../api/routes/authorities.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { parseLabels, parseWhole } from '../arguments.ts';
import { type PolicyOptions, policyFromOptions } from '../keys/policy.ts';
import {
  type ConstraintOptions,
  constraintsFromOptions,
  pathLengthOf,
  printNotes,
  type SettingsOptions,
  seconds,
  settingsFromOptions,
} from './options.ts';

/** Options of a CA that is new here, made or taken over. */
export interface NewCaOptions extends Omit<PolicyOptions, 'validity'>, SettingsOptions {
  readonly parent?: string;
  readonly scheme?: string;
  readonly keystore?: string;
  readonly label?: string[];
  readonly owner?: string;
}

/** What both ways to a new CA send. */
export function newCaFromOptions(options: NewCaOptions) {
  const { validity: _, ...policyOptions } = options as NewCaOptions & PolicyOptions;
  return {
    parent: options.parent,
    scheme: options.scheme,
    keystore: options.keystore,
    settings: settingsFromOptions(options),
    labels: parseLabels(options.label ?? []),
    policy: policyFromOptions(policyOptions),
    owner: options.owner,
  };
}

interface CreateOptions extends NewCaOptions, ConstraintOptions {
  readonly subject: string;
  readonly algorithm: string;
  readonly validity?: string;
  readonly pathLength?: string;
}

export async function createCa(tools: Tools, options: CreateOptions, name: string): Promise<void> {
  const body = {
    name,
    subject: options.subject,
    algorithm: options.algorithm,
    validitySeconds: seconds(options.validity),
    pathLength: pathLengthOf(options.pathLength),
    nameConstraints: constraintsFromOptions(options),
    ...newCaFromOptions(options),
  };
  const ca = await tools.client().call('ca.create', { body });
  const { output } = tools;
  output.data(ca);
  const kind = ca.isRoot ? 'a root' : `below ${ca.parent}`;
  output.note(`made ${ca.name} (${ca.id}): ${ca.algorithm}, ${kind}, until ${endOf(ca)}`);
  printNotes(tools, ca.notes);
  output.note(`next: ${nextStep(ca)}`);
}

/** A root is for intermediates, and what may have nothing below it is for certificates. */
function nextStep(ca: CaView): string {
  return ca.isRoot && ca.pathLength !== 0
    ? `keyreeve ca create NAME --parent ${ca.name} --subject DN --algorithm ${ca.algorithm}`
    : `keyreeve cert issue --ca ${ca.name} --profile tls-server --csr FILE --out FILE`;
}

interface UpdateOptions extends Omit<SettingsOptions, 'maxValidity' | 'purgeAfter'> {
  readonly everyProfile?: boolean;
  /** False by `--no-max-validity`. */
  readonly maxValidity?: string | false;
  /** False by `--no-purge-after`. */
  readonly purgeAfter?: string | false;
}

export async function updateCa(tools: Tools, options: UpdateOptions, name: string): Promise<void> {
  if (options.everyProfile === true && options.profile !== undefined) {
    throw new KeyreeveError('invalid-request', '--profile and --every-profile exclude each other', {
      hint: 'Name the profiles it issues, or let it issue every one.',
    });
  }
  const { maxValidity, purgeAfter, everyProfile, ...rest } = options;
  const settings = {
    ...settingsFromOptions({
      ...rest,
      ...(typeof maxValidity === 'string' ? { maxValidity } : {}),
      ...(typeof purgeAfter === 'string' ? { purgeAfter } : {}),
    }),
    ...(everyProfile === true ? { profiles: null } : {}),
    ...(maxValidity === false ? { validitySecondsMax: null } : {}),
    ...(purgeAfter === false ? { purgeAfterSeconds: null } : {}),
  };
  if (Object.keys(settings).length === 0) {
    throw new KeyreeveError('invalid-request', 'nothing to change was named', {
      hint: 'See: keyreeve ca update --help',
    });
  }
  const request = { params: { ca: name }, body: { settings } };
  const ca = await tools.client().call('ca.update', request);
  tools.output.data(ca);
  tools.output.note(`changed ${ca.name}`);
  printNotes(tools, ca.notes);
}

interface RenewOptions {
  readonly validity?: string;
  readonly sawVersion?: string;
}

export async function rekeyCa(
  tools: Tools,
  options: RenewOptions & { algorithm?: string },
  name: string,
): Promise<void> {
  const body = { ...renewalOf(options), algorithm: options.algorithm };
  const ca = await tools.client().call('ca.rekey', { params: { ca: name }, body });
  const { output } = tools;
  output.data(ca);
  output.note(`${ca.name} has a new key, version ${ca.currentVersion}, until ${endOf(ca)}`);
  output.note('what the old key signed stays valid, and its CRL goes on');
  printNotes(tools, ca.notes);
  output.note(
    ca.isRoot
      ? `next: keyreeve ca chain ${ca.name} --cross --out FILE: who trusts the old root gets to the new one by it`
      : `next: keyreeve ca chain ${ca.name} --out FILE: servers send it with their certificates`,
  );
}

export async function renewCa(tools: Tools, options: RenewOptions, name: string): Promise<void> {
  const request = { params: { ca: name }, body: renewalOf(options) };
  const ca = await tools.client().call('ca.renew', request);
  const { output } = tools;
  output.data(ca);
  output.note(`${ca.name} has a new certificate for the same key, until ${endOf(ca)}`);
  printNotes(tools, ca.notes);
}

function renewalOf(options: RenewOptions) {
  const { sawVersion } = options;
  return {
    validitySeconds: seconds(options.validity),
    sawVersion:
      sawVersion === undefined ? undefined : parseWhole(sawVersion, '--saw-version', 1, 1_000_000),
  };
}

/** The end of the certificate in use. */
function endOf(ca: CaView): string {
  const current = ca.versions.find((one) => one.version === ca.currentVersion);
  return current?.notAfter ?? 'an unknown time';
}
