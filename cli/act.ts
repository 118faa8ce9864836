/** The way from the words of a command line to the function that does the work. */
import type { Command } from 'commander';
import type { ApiClient } from '../client/api-client.ts';
import type { CliContext } from './context.ts';
import { type ExitCode, exitCodes } from './exit-codes.ts';
import { createOutput, type Output } from './output.ts';
import { clientOf, resolveSession, type Session } from './session.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly json?: boolean;
  /** The approval that a command means. */
  readonly approval?: string;
  /** Why a command cannot wait for the ordinary approvals. */
  readonly breakGlass?: string;
}

/** What a command works with. */
export interface Tools {
  readonly context: CliContext;
  readonly global: GlobalOptions;
  readonly output: Output;
  /** Where the service is and as whom it is called; reads the profile. */
  session(): Session;
  /** The client of the session. Refused where nobody is logged in, unless told otherwise. */
  client(options?: { needsToken: boolean }): ApiClient;
}

/** How the run ended; the program takes it over. */
export interface RunState {
  readonly context: CliContext;
  exitCode: ExitCode;
}

type Handler<Options> = (
  tools: Tools,
  options: Options,
  ...words: string[]
) => Promise<ExitCode> | Promise<void>;

/** Makes the action of a command; what it returns is the exit code where it is not 0. */
export function act<Options>(
  state: RunState,
  handler: Handler<Options>,
): (...parameters: unknown[]) => Promise<void> {
  return async (...parameters) => {
    const command = parameters.pop() as Command;
    const options = parameters.pop() as Options;
    const { tools, close } = makeTools(state.context, command.optsWithGlobals());
    try {
      state.exitCode = (await handler(tools, options, ...(parameters as string[]))) ?? exitCodes.ok;
    } finally {
      close();
    }
  };
}

function makeTools(
  context: CliContext,
  global: GlobalOptions,
): { tools: Tools; close: () => void } {
  let session: Session | undefined;
  const clients: ApiClient[] = [];
  const tools: Tools = {
    context,
    global,
    output: createOutput(context, global.json === true),
    session: () => {
      session ??= resolveSession(context, global);
      return session;
    },
    client: (options = { needsToken: true }) => {
      const { approval, breakGlass } = global;
      const client = clientOf(tools.session(), options.needsToken, {
        ...(approval === undefined ? {} : { approvalId: approval }),
        ...(breakGlass === undefined ? {} : { breakGlass }),
      });
      clients.push(client);
      return client;
    },
  };
  return {
    tools,
    close: () => {
      for (const client of clients) client.close();
    },
  };
}
