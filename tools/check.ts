// `npm run check`: types, lint and format, and the rules of the house. One line per check.
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { checkCircles } from './checks/circles.ts';
import { allImports, missingImports } from './checks/imports.ts';
import { checkLayers } from './checks/layers.ts';
import { checkLockFile, checkManifest, checkPackageImports } from './checks/packages.ts';
import { checkFileLength, checkLinks, checkMachineTraces } from './checks/tracked-files.ts';

const briefly = ['--colors=off', '--reporter=concise'];
const strictly = ['--diagnostic-level=warn', '--error-on-warnings', '--max-diagnostics=100'];

type Check = () => string[] | Promise<string[]>;

const root = dirname(import.meta.dirname);

const checks: Readonly<Record<string, Check>> = {
  types: () => runProgram('tsc', ['--noEmit', '--pretty', 'false']),
  // "biome check --write" mends most of what this finds.
  'lint and format': () => runProgram('biome', ['check', ...briefly, ...strictly], /^ *[×!] [^S]/),
  'imports lead to files': () => missingImports(root, allImports(root)),
  layers: () => checkLayers(root),
  circles: () => checkCircles(root),
  'package imports': () => checkPackageImports(root),
  'exact versions with reasons': () => checkManifest(root),
  'lock file': () => checkLockFile(root),
  'no traces of a machine': () => checkMachineTraces(root),
  'file length': () => checkFileLength(root),
  'links in documents': () => checkLinks(root),
};

const outcomes = await Promise.all(
  Object.entries(checks).map(async ([name, check]) => ({ name, findings: await outcome(check) })),
);
for (const { name, findings } of outcomes) {
  console.log(findings.length === 0 ? `ok    ${name}` : `FAIL  ${name}`);
  for (const finding of findings) console.log(finding.replaceAll(/^/gm, '        '));
}
process.exitCode = outcomes.some(({ findings }) => findings.length > 0) ? 1 : 0;

async function outcome(check: Check): Promise<string[]> {
  try {
    return await check();
  } catch (error) {
    return [`the check itself failed: ${error instanceof Error ? error.stack : error}`];
  }
}

/** The telling lines of what a program from node_modules says, if it ends with an error. */
function runProgram(name: string, parameters: readonly string[], telling = /./): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const output: Buffer[] = [];
    const program = join(root, 'node_modules', '.bin', name);
    const child = spawn(program, parameters, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32',
    });
    child.stdout.on('data', (bytes: Buffer) => output.push(bytes));
    child.stderr.on('data', (bytes: Buffer) => output.push(bytes));
    child.on('error', reject);
    child.on('close', (code) => {
      const said = Buffer.concat(output).toString('utf8').trimEnd();
      const lines = said.split('\n').filter((line) => telling.test(line));
      if (code === 0) resolve([]);
      else resolve(lines.length === 0 ? [said || `${name} ended with ${code}`] : lines);
    });
  });
}
