import type { Policy } from '../../api/fields.ts';
import { keyStates } from '../../api/states.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { parseKeyAndVersion, parseLabels, parseWhole } from '../arguments.ts';
import { confirmByName } from '../confirm.ts';
import { parseDuration, parseTime } from '../durations.ts';
import { refuseMixedOutput, writeOutput } from '../files.ts';
import { type PolicyOptions, policyFromOptions } from './policy.ts';

interface UpdateOptions extends PolicyOptions {
  readonly label?: string[];
  /** False by `--no-labels`. */
  readonly labels?: boolean;
  readonly owner?: string;
}

export async function updateKey(tools: Tools, options: UpdateOptions, name: string): Promise<void> {
  const client = tools.client();
  const changes = policyFromOptions(options);
  const changesPolicy = Object.keys(changes).length > 0;
  const labels =
    options.labels === false ? {} : options.label ? parseLabels(options.label) : undefined;
  if (!changesPolicy && labels === undefined && options.owner === undefined) {
    throw new KeyreeveError('invalid-request', 'nothing to change was named', {
      hint: 'See: keyreeve key update --help',
    });
  }
  // A policy is replaced whole, so what was not named is taken from the one in force; the revision
  // makes the service refuse where that has changed meanwhile.
  const before = changesPolicy
    ? await client.call('key.show', { params: { key: name } })
    : undefined;
  const key = await client.call('key.update', {
    params: { key: name },
    body: {
      labels,
      owner: options.owner,
      ...(before === undefined
        ? {}
        : { policy: { ...(before.policy as Policy), ...changes }, revision: before.revision }),
    },
  });
  tools.output.data(key);
  tools.output.note(`changed ${key.name}`);
}

interface RotateOptions {
  readonly activatesAt?: string;
  readonly sawVersion?: string;
  readonly algorithm?: string;
}

export async function rotateKey(tools: Tools, options: RotateOptions, name: string): Promise<void> {
  const now = tools.context.clock.now();
  const { sawVersion, activatesAt, algorithm } = options;
  const key = await tools.client().call('key.rotate', {
    params: { key: name },
    body: {
      algorithm,
      sawVersion:
        sawVersion === undefined
          ? undefined
          : parseWhole(sawVersion, '--saw-version', 1, 1_000_000),
      activatesAt: activatesAt === undefined ? undefined : parseTime(activatesAt, now, 'after'),
    },
  });
  tools.output.data(key);
  const newest = Math.max(...key.versions.map((one) => one.version));
  const current = key.currentVersion === null ? 'none' : String(key.currentVersion);
  tools.output.note(`${key.name}: newest version ${newest}, in use ${current}`);
}

type SettableState = 'active' | 'suspended' | 'deactivated' | 'compromised';

export async function setState(
  tools: Tools,
  options: { reason?: string },
  nameAndVersion: string,
  state: string,
): Promise<void> {
  const settable = keyStates.filter((one) => one !== 'pre-active' && one !== 'destroyed');
  if (!(settable as readonly string[]).includes(state)) {
    throw new KeyreeveError('invalid-request', `"${state}" is not a state that can be set`, {
      hint:
        state === 'destroyed'
          ? 'Use: keyreeve key destroy'
          : `Choose one of: ${settable.join(', ')}.`,
    });
  }
  const { key: name, version } = parseKeyAndVersion(nameAndVersion);
  const key = await tools.client().call('key.state', {
    params: { key: name },
    body: { version, state: state as SettableState, reason: options.reason },
  });
  tools.output.data(key);
  const states = key.versions.map((one) => `${one.version} ${one.state}`).join(', ');
  tools.output.note(`${key.name}: ${states}`);
}

export async function destroyKey(
  tools: Tools,
  options: { after?: string; yes?: boolean },
  name: string,
): Promise<void> {
  const client = tools.client();
  const afterSeconds = options.after === undefined ? undefined : parseDuration(options.after);
  if (options.yes !== true) {
    await confirmByName(tools.context, name, `All that ${name} protects will be lost for ever.`);
  }
  const answer = await client.call('key.destroy', {
    params: { key: name },
    body: { afterSeconds },
  });
  tools.output.data(answer);
  tools.output.note(
    `${answer.key.name} will be destroyed at ${answer.key.destroyAt}; until then it is not used, and: keyreeve key cancel-destroy ${answer.key.name}`,
  );
  for (const backup of answer.backups) {
    tools.output.note(
      `a backup still holds it: ${backup.id} ${backup.label} of ${backup.createdAt}`,
    );
  }
}

export async function cancelDestroy(tools: Tools, _options: unknown, name: string): Promise<void> {
  const key = await tools.client().call('key.cancel-destroy', { params: { key: name }, body: {} });
  tools.output.data(key);
  tools.output.note(`${key.name} stays`);
}

export async function exportPublicKey(
  tools: Tools,
  options: { out: string },
  nameAndVersion: string,
): Promise<void> {
  refuseMixedOutput(options.out, tools.output.json);
  const { key: name, version } = parseKeyAndVersion(nameAndVersion);
  const client = tools.client({ needsToken: false });
  const key = await client.call('key.public', { params: { key: name } });
  const wanted = version ?? key.currentVersion ?? key.versions.at(-1)?.version;
  const found = key.versions.find((one) => one.version === wanted);
  if (found === undefined) {
    throw new KeyreeveError('not-found', `${key.name} has no version ${wanted}`, {
      hint: `It has: ${key.versions.map((one) => one.version).join(', ')}.`,
    });
  }
  if (found.publicKey === null) {
    throw new KeyreeveError(
      'invalid-request',
      `${key.name} is a secret key: it has no public half`,
    );
  }
  const pem = found.publicKey.endsWith('\n') ? found.publicKey : `${found.publicKey}\n`;
  await writeOutput(tools.context, options.out, Buffer.from(pem, 'utf8'), {
    private: false,
    force: true,
  });
  tools.output.data(key);
  tools.output.note(`public key of ${key.name}, version ${found.version}: ${found.fingerprint}`);
}
