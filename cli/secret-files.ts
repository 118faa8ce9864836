/** A secret and the public thing that opens it again, written to two files. */
import { refuseOccupied } from '../client/encrypted-file-output.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import type { SecretBytes } from '../server/base/secret-bytes.ts';
import type { Tools } from './act.ts';
import { refuseMixedOutput, writeOutput } from './files.ts';

export interface PairPaths {
  readonly secret: string;
  readonly public: string;
}

interface Pair {
  readonly secret: SecretBytes;
  readonly public: Buffer;
}

/**
 * Refuses outputs that clash or exist, has the pair made, writes both and wipes the secret. What
 * opens the secret is written first: alone it gives nothing away.
 */
export async function writePair<Made extends Pair>(
  tools: Tools,
  paths: PairPaths,
  force: boolean,
  make: () => Promise<Made>,
): Promise<Made> {
  for (const path of [paths.secret, paths.public]) {
    refuseMixedOutput(path, tools.output.json);
    // Before the service is asked: a use that cannot be kept should leave no entry.
    if (path !== '-') await refuseOccupied(path, force);
  }
  if (paths.secret === paths.public) {
    throw new KeyreeveError('invalid-request', 'both outputs have the same name', {
      hint: 'Name two files, or one file and - for standard output.',
    });
  }
  const made = await make();
  using secret = made.secret;
  await writeOutput(tools.context, paths.public, made.public, { private: true, force });
  await writeOutput(tools.context, paths.secret, secret.reveal(), { private: true, force });
  return made;
}
