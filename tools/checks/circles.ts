import { allImports, isTest } from './imports.ts';
import { areaOf } from './layers.ts';

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Circular imports, types included, between files and between folders of the table: one line per
 * group of files that reach each other, with one way round.
 */
export function checkCircles(root: string): string[] {
  const links = allImports(root)
    .filter(({ from, to }) => to !== undefined && !isTest(from))
    .map(({ from, to }) => [from, to!] as const);
  const between = links
    .map(([from, to]) => [areaOf(from), areaOf(to)] as const)
    .filter(([from, to]) => from !== to);
  return [
    ...circles(graphOf(links)).map((way) => `circle of files: ${way.join(' -> ')}`),
    ...circles(graphOf(between)).map((way) => `circle of folders: ${way.join(' -> ')}`),
  ];
}

function graphOf(links: readonly (readonly [string, string])[]): Graph {
  const graph = new Map<string, Set<string>>();
  for (const [from, to] of links) {
    graph.set(from, (graph.get(from) ?? new Set()).add(to));
    if (!graph.has(to)) graph.set(to, new Set());
  }
  return graph;
}

/** Shortest way round through each node that starts none yet listed; each ends where it began. */
function circles(graph: Graph): string[][] {
  const found: string[][] = [];
  const covered = new Set<string>();
  for (const start of [...graph.keys()].sort()) {
    if (covered.has(start)) continue;
    const way = shortestWayRound(graph, start);
    if (way === undefined) continue;
    found.push(way);
    for (const node of way) covered.add(node);
  }
  return found;
}

function shortestWayRound(graph: Graph, start: string): string[] | undefined {
  const cameFrom = new Map<string, string>();
  let edge = [start];
  while (edge.length > 0) {
    const next: string[] = [];
    for (const node of edge) {
      for (const neighbour of graph.get(node) ?? []) {
        if (neighbour === start) return wayBack(cameFrom, start, node);
        if (cameFrom.has(neighbour)) continue;
        cameFrom.set(neighbour, node);
        next.push(neighbour);
      }
    }
    edge = next;
  }
  return undefined;
}

function wayBack(cameFrom: ReadonlyMap<string, string>, start: string, last: string): string[] {
  const way = [start];
  for (let node = last; node !== start; node = cameFrom.get(node)!) way.unshift(node);
  return [start, ...way];
}
