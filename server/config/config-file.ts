import { readFileSync, statSync } from 'node:fs';
import { type Finding, finding } from './finding.ts';

export const configFileBytesMax = 64 * 1024;

export interface ConfigFile {
  /** Settings as text, as an environment variable would hold them. */
  readonly values: ReadonlyMap<string, string>;
  readonly findings: readonly Finding[];
}

/**
 * Reads a configuration file: one JSON object of setting names; numbers and booleans count as
 * their text, a list of texts as one text with commas.
 */
export function readConfigFile(path: string): ConfigFile {
  const text = readText(path);
  if (typeof text !== 'string') return { values: new Map(), findings: [text] };
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return {
      values: new Map(),
      findings: [finding('KEYREEVE_CONFIG', `${path} is not JSON.`, 'Mend the file.')],
    };
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    const hint = 'Write it as {"KEYREEVE_PORT": 8443}.';
    return {
      values: new Map(),
      findings: [finding('KEYREEVE_CONFIG', `${path} does not hold one JSON object.`, hint)],
    };
  }
  const values = new Map<string, string>();
  const findings = modeFindings(path, parsed);
  for (const [name, value] of Object.entries(parsed)) {
    const asText = settingText(value);
    if (asText !== undefined) values.set(name, asText);
    else findings.push(finding(name, `${name} in ${path} is neither a text nor a number.`));
  }
  return { values, findings };
}

function readText(path: string): string | Finding {
  try {
    if (statSync(path).size > configFileBytesMax) {
      return finding('KEYREEVE_CONFIG', `${path} is larger than ${configFileBytesMax} bytes.`);
    }
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    return finding(
      'KEYREEVE_CONFIG',
      `The configuration file ${path} cannot be read (${code}).`,
      'Name a file that the service may read, or unset KEYREEVE_CONFIG.',
    );
  }
}

/**
 * Whoever can write the file decides where the keys are; whoever can read the address of the
 * database reads its password.
 */
function modeFindings(path: string, values: object): Finding[] {
  const { mode } = statSync(path);
  if ((mode & 0o022) !== 0) {
    return [finding('KEYREEVE_CONFIG', `${path} can be written by others.`, `chmod go-w ${path}`)];
  }
  if ((mode & 0o044) !== 0 && 'KEYREEVE_DATABASE_URL' in values) {
    const problem = `${path} holds the address of the database and can be read by others.`;
    return [finding('KEYREEVE_CONFIG', problem, `chmod 600 ${path}`)];
  }
  return [];
}

function settingText(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) {
    return value.join(',');
  }
  return undefined;
}
