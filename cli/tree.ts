/** The tree of commands as plain data, for whatever is made from it. */
import type { Command } from 'commander';

export interface OptionNode {
  /** Such as `--in <file>`. */
  readonly flags: string;
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  /** The value is a file or folder. */
  readonly takesFile: boolean;
  readonly required: boolean;
}

export interface CommandNode {
  /** `['key', 'create']`; empty for the program. */
  readonly path: readonly string[];
  readonly description: string;
  /** `<name>`, `[folder]`. */
  readonly words: readonly string[];
  readonly takesFile: boolean;
  readonly options: readonly OptionNode[];
  readonly children: readonly CommandNode[];
}

/** The program and all below it. */
export function commandTree(program: Command): CommandNode {
  return nodeOf(program, []);
}

/** All nodes, parents first. */
export function flatten(node: CommandNode): CommandNode[] {
  return [node, ...node.children.flatMap(flatten)];
}

function nodeOf(command: Command, path: readonly string[]): CommandNode {
  const words = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  return {
    path,
    description: command.description(),
    words,
    takesFile: words.some((word) => /file|folder/.test(word)),
    options: command.options.map((option) => ({
      flags: option.flags,
      names: [option.short, option.long].filter((name) => name !== undefined),
      description: option.description,
      takesValue: option.required || option.optional,
      takesFile: /<(file|folder|key)>/.test(option.flags),
      required: option.mandatory,
    })),
    children: command.commands.map((child) => nodeOf(child, [...path, child.name()])),
  };
}
