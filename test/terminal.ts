import { dirname, join } from 'node:path';
import type { Installation } from './service.ts';
import { run } from './tools.ts';

const project = dirname(import.meta.dirname);

/** Runs a command on a terminal of its own; types the answer once the prompt is there. */
const script = `
import json, os, pty, select, sys, time
prompt, answer, command = json.loads(sys.stdin.read())
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
seen, answered, end = b'', False, time.time() + 30
while time.time() < end:
    if not select.select([terminal], [], [], 0.2)[0]:
        continue
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    seen += piece
    if not answered and prompt.encode() in seen:
        os.write(terminal, answer.encode())
        answered = True
else:
    os.kill(child, 9)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps({'code': code, 'seen': seen.decode()}))
`;

/** What a person at a terminal saw of a command, and how it ended. */
export interface Sitting {
  readonly code: number;
  readonly seen: string;
}

/** Runs `keyreeve` as a person does who answers the prompt. */
export function sitAt(
  python: string,
  installation: Installation,
  words: readonly string[],
  prompt: string,
  answer: string,
): Sitting {
  const { environment } = installation;
  const { KEYREEVE_DATA = '', KEYREEVE_PORT = '', XDG_CONFIG_HOME = '' } = environment;
  const { KEYREEVE_HTTP_PORT = '' } = environment;
  const ports = { KEYREEVE_PORT, KEYREEVE_HTTP_PORT };
  const settings = { KEYREEVE_DATA, ...ports, XDG_CONFIG_HOME, NO_COLOR: '1' };
  const command = [
    'env',
    ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
    process.execPath,
    join(project, 'bin', 'keyreeve.mjs'),
    ...words,
  ];
  const out = run(python, ['-c', script], JSON.stringify([prompt, answer, command]));
  return JSON.parse(out.toString('utf8')) as Sitting;
}
