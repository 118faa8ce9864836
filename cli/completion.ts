/** Completion for shells, made from the tree of commands. */
import type { Command } from 'commander';
import { type CommandNode, commandTree, flatten } from './tree.ts';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

export function isShell(name: string): name is Shell {
  return (shells as readonly string[]).includes(name);
}

/** The script that the shell reads. */
export function completionScript(program: Command, shell: Shell): string {
  const tree = commandTree(program);
  const make = { bash: bashScript, zsh: zshScript, fish: fishScript }[shell];
  return make(flatten(tree), tree);
}

/** What may follow: commands below, options of the command and of the program. */
function wordsAfter(node: CommandNode, root: CommandNode): string[] {
  const options = [...node.options, ...(node === root ? [] : root.options)];
  return [
    ...node.children.map((child) => child.path.at(-1)!),
    ...options.map((option) => option.names.at(-1)!),
    '--help',
  ];
}

/** The two tables that both scripts look into: what follows a path, and which options want what. */
function tables(nodes: readonly CommandNode[], root: CommandNode) {
  const words = nodes.map((node) => {
    const names = wordsAfter(node, root).join(' ');
    return `    '${node.path.join(' ')}') offered='${names}' ;;`;
  });
  const options = nodes.flatMap((node) => node.options);
  const named = (wanted: (option: (typeof options)[number]) => boolean) =>
    [...new Set(options.filter(wanted).flatMap((option) => option.names))].sort().join('|');
  return {
    words: words.join('\n'),
    files: named((option) => option.takesFile),
    values: named((option) => option.takesValue && !option.takesFile),
    commands: nodes.filter((node) => node !== root).map((node) => `'${node.path.join(' ')}'`),
  };
}

/** Which command stands on the line so far: words that name one, one below the other. */
function findPath(nodes: readonly CommandNode[], root: CommandNode): string {
  return `case "$next" in
      ${tables(nodes, root).commands.join('|')}) at=$next ;;
    esac`;
}

function bashScript(nodes: readonly CommandNode[], root: CommandNode): string {
  const { words, files, values } = tables(nodes, root);
  return `# bash completion for keyreeve: source <(keyreeve completion bash)
_keyreeve() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local at= next= offered= word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next=\${at:+$at }$word
    ${findPath(nodes, root)}
  done
  case "$previous" in
    ${files}) compopt -o default 2>/dev/null; return ;;
    ${values}) return ;;
  esac
  case "$at" in
${words}
  esac
  COMPREPLY=($(compgen -W "$offered" -- "$current"))
  [ \${#COMPREPLY[@]} -gt 0 ] || compopt -o default 2>/dev/null
}
complete -F _keyreeve keyreeve
`;
}

function zshScript(nodes: readonly CommandNode[], root: CommandNode): string {
  const { words, files, values } = tables(nodes, root);
  return `#compdef keyreeve
# zsh completion for keyreeve: keyreeve completion zsh > a folder of $fpath, as _keyreeve
_keyreeve() {
  # zsh has a meaning of its own for the names words and path.
  local previous=\${words[CURRENT-1]} at= next= offered= word
  local -a line; line=(\${words[2,CURRENT-1]})
  for word in $line; do
    next=\${at:+$at }$word
    ${findPath(nodes, root)}
  done
  case "$previous" in
    ${files}) _files; return ;;
    ${values}) return ;;
  esac
  case "$at" in
${words}
  esac
  compadd -- \${=offered} || _files
}
compdef _keyreeve keyreeve
`;
}

function fishScript(nodes: readonly CommandNode[], root: CommandNode): string {
  const lines = nodes.flatMap((node) => {
    const [first, second] = node.path;
    const names = node.children.map((child) => child.path.at(-1)!).join(' ');
    const seen = [first, second]
      .filter((word) => word !== undefined)
      .map((word) => `__fish_seen_subcommand_from ${word}`);
    const isHere = seen.length === 0 ? ['__fish_use_subcommand'] : seen;
    const here = [
      ...isHere,
      ...(names === '' || seen.length === 0 ? [] : [`not __fish_seen_subcommand_from ${names}`]),
    ].join('; and ');
    const children = node.children.map(
      (child) =>
        `complete -c keyreeve -f -n '${here}' -a ${child.path.at(-1)} -d ${quote(child.description)}`,
    );
    const condition = node === root ? '' : ` -n '${seen.join('; and ')}'`;
    const options = node.options.map((option) => {
      const long = option.names.at(-1)!.replace(/^--/, '');
      const value = option.takesFile ? ' -r -F' : option.takesValue ? ' -x' : '';
      return `complete -c keyreeve${condition} -l ${long}${value} -d ${quote(option.description)}`;
    });
    return [...children, ...options];
  });
  return `# fish completion for keyreeve: keyreeve completion fish | source
${lines.join('\n')}
`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
