/** What people know a process by. */
export function nodeName(host: string, pid: number): string {
  return `${host} ${pid}`;
}

/**
 * Whether a node of that name is a process of this host that is not there any more: then nobody need
 * wait until it was not seen for long. Asked at a start alone. Where hosts share a name (containers)
 * it can be wrong: then the other registers anew, and what it was at comes to nothing.
 */
export function foreignProcessIsDead(
  node: { readonly name: string; readonly startedAt: number },
  own: { readonly host: string; readonly pid: number; readonly startedAt: number },
): boolean {
  const { name } = node;
  const pid = Number(
    name.startsWith(`${own.host} `) ? name.slice(own.host.length + 1) : Number.NaN,
  );
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  // The number of this process, before it was there: another had it.
  if (pid === own.pid) return node.startedAt < own.startedAt;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
