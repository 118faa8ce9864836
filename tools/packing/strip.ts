import { stripTypeScriptTypes } from 'node:module';

/**
 * JavaScript of a TypeScript module: types become white space, so that lines and columns stay, and
 * string literals that name a relative `.ts` file (imports, worker files) name the `.js` beside it.
 * @throws Error when a name of a `.ts` file would be left that does not exist in the package
 */
export function stripModule(source: string, file: string): string {
  const script = stripTypeScriptTypes(source, { mode: 'strip' })
    .replaceAll(/(['"])(\.{1,2}\/[^'"`\n]*)\.ts\1/g, '$1$2.js$1')
    .replaceAll(/[ \t]+$/gm, '');
  const code = script.replaceAll(/^\s*(\/\/|\/?\*).*$|\s\/\/.*$/gm, '');
  const left = /['"`][^'"`\n]*[\w)}]\.ts['"`]/.exec(code)?.[0];
  if (left !== undefined) {
    throw new Error(`${file} names ${left}: write it as a relative path in one plain string`);
  }
  return script;
}
