import { KeyreeveError } from '../base/errors.ts';

/**
 * How deep a rule may go. The engine recurses, and where its stack ends it can decide nothing more
 * until the process is started again: at 119 brackets within brackets, or at 366 links of a chain
 * (`a.b.c`, `1 + 2 + 3`, `x || y || z`). The limit is less than half of that.
 */
export const ruleDepthMax = 160;
/** A bracket takes the stack of so many links. */
const bracketDepth = 4;

/** What brings depth, and first what hides it: comments and strings of Cedar. */
const token =
  /\/\/[^\r\n]*|"[^"\\]*(?:\\[\s\S][^"\\]*)*"|&&|\|\||\bif\b|[([{]|[)\]}]|[.+*-]|!|[;,]/g;

/** One expression after the other between two brackets. */
interface Level {
  /** The deepest expression that has ended. */
  ended: number;
  /** Of the present one: its deepest condition that has ended, and the condition so far. */
  conditions: number;
  condition: number;
  /** What stands around all of them: how many were joined, and `if`s, which reach to the end. */
  around: number;
}

const fresh = { conditions: 0, condition: 0, around: 0 } as const;

/** Refuses rules that are deeper than the engine can bear (`invalid-policy`, with the line). */
export function requireShallow(policies: string): void {
  const levels: Level[] = [{ ended: 0, ...fresh }];
  for (const { 0: text, index } of policies.matchAll(token)) {
    take(levels, text);
    const isDeep = depthOf(levels.at(-1)!) > ruleDepthMax;
    if (isDeep || levels.length * bracketDepth > ruleDepthMax) throw tooDeep(policies, index);
  }
}

function take(levels: Level[], text: string): void {
  const level = levels.at(-1)!;
  if ('([{'.includes(text)) levels.push({ ended: 0, ...fresh });
  else if (')]}'.includes(text)) close(levels);
  else if (text === ',' || text === ';') Object.assign(level, { ...fresh, ended: depthOf(level) });
  else if (text === '&&' || text === '||') {
    level.conditions = Math.max(level.conditions, level.condition);
    level.condition = 0;
    level.around++;
  } else if (text === 'if') level.around++;
  else if (text.length === 1) level.condition++;
}

/** What stood in brackets is part of the condition around it, by an operator of its own. */
function close(levels: Level[]): void {
  if (levels.length === 1) return;
  const inner = depthOf(levels.pop()!) + bracketDepth + 1;
  const outer = levels.at(-1)!;
  outer.condition = Math.max(outer.condition + 1, inner);
}

function depthOf({ ended, conditions, condition, around }: Level): number {
  return Math.max(ended, Math.max(conditions, condition) + around);
}

function tooDeep(policies: string, index: number): KeyreeveError {
  const line = policies.slice(0, index).split('\n').length;
  return new KeyreeveError('invalid-policy', `The access rules go too deep in line ${line}.`, {
    hint: 'Write several rules, with fewer brackets within brackets and shorter chains.',
    data: { line },
  });
}
