import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testCli } from '../test/doubles/command-line.ts';
import { buildProgram } from './program.ts';
import { type CommandNode, commandTree, flatten } from './tree.ts';

const root = join(import.meta.dirname, '..');
const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

/** Commands in fenced blocks, without comments and what comes after a pipe or a redirection. */
function commandsIn(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8').replaceAll('\\\n', ' ');
  return [...text.matchAll(/^```\w*\n(.*?)^```/gms)]
    .flatMap((match) => match[1]!.split('\n'))
    .flatMap((line) => /(?:^|--no-install )keyreeve ([^"].*)/.exec(line.trim())?.[1] ?? [])
    .map((words) =>
      words
        .replace(/"\$\(.*?\)"/g, 'VALUE')
        .split(/ [#|>]| && |;/)[0]!
        .trim(),
    );
}

/** The command that the words name, and the words after it. */
function find(nodes: readonly CommandNode[], words: readonly string[]) {
  const matching = nodes.filter(
    (node) => node.children.length === 0 && node.path.every((word, at) => word === words[at]),
  );
  const node = matching.sort((one, other) => other.path.length - one.path.length)[0];
  return { node, rest: words.slice(node?.path.length ?? 0) };
}

for (const page of pages) {
  test(`${page} names only commands and options that there are`, (t) => {
    const program = commandTree(buildProgram({ context: testCli(t).context(), exitCode: 0 }));
    const nodes = flatten(program);
    const general = program.options.flatMap((option) => option.names);
    for (const line of commandsIn(page)) {
      const words = line.split(/\s+/);
      // Options of every command may come first.
      while (words[0]?.startsWith('--')) words.splice(0, 2);
      const { node, rest } = find(nodes, words);
      assert.ok(node, `there is no such command: keyreeve ${line}`);
      const options = node.options.flatMap((option) => option.names);
      for (const word of rest.filter((one) => /^--[a-z]/.test(one))) {
        assert.ok(
          [...options, ...general, '--help'].includes(word),
          `${node.path.join(' ')} takes no ${word}: keyreeve ${line}`,
        );
      }
      const given = (names: readonly string[]) => names.some((name) => rest.includes(name));
      for (const option of node.options.filter((one) => one.required)) {
        assert.ok(given(option.names), `${option.flags} is missing: keyreeve ${line}`);
      }
    }
  });
}

test('the page of the command line shows every command', (t) => {
  const program = commandTree(buildProgram({ context: testCli(t).context(), exitCode: 0 }));
  const shown = commandsIn('docs/cli.md').map((line) => `${line.replace(/^--url \S+ /, '')} `);
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8');
  const missing = flatten(program)
    .filter((node) => node.children.length === 0)
    .map((node) => node.path.join(' '))
    .filter((path) => !shown.some((line) => line.startsWith(`${path} `)))
    .filter((path) => !text.includes(`\`keyreeve ${path}\``));
  assert.deepEqual(missing, []);
});
