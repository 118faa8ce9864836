import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripModule } from './strip.ts';

test('types go and every relative .ts name becomes .js, in the same line', () => {
  const source = [
    `import type { A } from './types.ts';`,
    `import { b } from "../b/b.ts";`,
    `export { c } from './c.ts';`,
    `const lazy = await import('./lazy.ts');`,
    `const worker = new URL('./writer.ts', import.meta.url);`,
    `export function f(a: A): number { return a as number; }`,
  ].join('\n');
  const lines = stripModule(source, 'x.ts').split('\n');
  assert.equal(lines[0], '');
  assert.equal(lines[1], `import { b } from "../b/b.js";`);
  assert.equal(lines[2], `export { c } from './c.js';`);
  assert.equal(lines[3], `const lazy = await import('./lazy.js');`);
  assert.equal(lines[4], `const worker = new URL('./writer.js', import.meta.url);`);
  assert.match(lines[5]!, /^export function f\(a\s*\)\s+\{ return a\s*; \}$/);
});

test('packages, comments and the bare suffix stay as they are', () => {
  const source = `import a from 'some.ts-package';\nconst suffix = '.ts'; // as in 'a/b.ts'\n/**\n * See 'x.ts'.\n */\n`;
  assert.equal(stripModule(source, 'x.ts'), source);
});

test('a .ts name that cannot be rewritten is refused', () => {
  const template = 'const a = await import(`./${' + 'name}.ts`);';
  for (const source of [template, `const a = new URL('worker.ts', base);`]) {
    assert.throws(() => stripModule(source, 'x.ts'), /x\.ts names .*write it as a relative path/);
  }
});
