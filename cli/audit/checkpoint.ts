import { openSignedCheckpoint } from '../../client/checkpoint.ts';
import type { Tools } from '../act.ts';
import { refuseMixedOutput, writeOutput } from '../files.ts';
import { rememberedOf } from './remembered.ts';

interface CheckpointOptions {
  readonly out: string;
  readonly logKeyOut?: string;
}

/**
 * Fetches the newest checkpoint. It is checked against the key of the log that this profile
 * remembers; where it remembers none, against the one that comes with it.
 */
export async function fetchCheckpoint(tools: Tools, options: CheckpointOptions): Promise<void> {
  const { context, output } = tools;
  refuseMixedOutput(options.out, output.json);
  const remembered = rememberedOf(tools.session());
  const answer = await tools.client({ needsToken: false }).call('audit.checkpoint');
  const logKey = remembered?.logKey ?? answer.logKey;
  const { origin, size } = openSignedCheckpoint(answer.checkpoint, logKey);
  const asItIs = { private: false, force: true } as const;
  await writeOutput(context, options.out, Buffer.from(answer.checkpoint, 'utf8'), asItIs);
  if (options.logKeyOut !== undefined) {
    await writeOutput(context, options.logKeyOut, Buffer.from(`${logKey.trimEnd()}\n`), asItIs);
  }
  output.data({ ...answer, logKey, origin, size });
  output.note(`${origin}, ${size} entries`);
}
