import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { makeInstallation, startService } from '../service.ts';
import { logInByCommand, mustRun } from '../shell.ts';

// One service for the whole file; each chain has keys of its own.
const installation = makeInstallation({ after });
await logInByCommand(installation, await startService({ after }, installation));
writeFileSync(join(installation.folder, 'message'), 'a message\n');
await mustRun(
  installation,
  `openssl genpkey -algorithm ed25519 -out j.pem
   openssl genpkey -algorithm x25519 | openssl pkey -pubout -out j.peer`,
);

/** Commands in the order in which each finds what it needs. */
const chains = [
  `key create j/sign --algorithm p-256 --purpose sign
   key list
   key show j/sign
   key update j/sign --label team=x
   key public j/sign --out j.pub
   key rotate j/sign
   sign j/sign --in message --out j.sig
   verify j/sign --in message --signature j.sig
   key state j/sign@1 compromised
   key destroy j/sign --yes
   key cancel-destroy j/sign`,
  `key create j/seal --algorithm aes-256 --purpose encrypt
   encrypt j/seal --in message --out j.file
   decrypt j/seal --in j.file --out j.plain
   encrypt j/seal --raw --in message --out j.raw
   re-encrypt j/seal --in j.raw --out j.raw2
   decrypt j/seal --raw --in j.raw2 --out j.plain2
   data-key j/seal --out-wrapped j.dk --out j.key
   key create j/mac --algorithm hmac-sha256 --purpose mac
   mac j/mac --in message --out j.mac
   verify-mac j/mac --in message --mac j.mac
   random 16`,
  `key create j/wrap --algorithm aes-256 --purpose wrap
   wrap j/wrap --in j.pem --out j.wrapped
   unwrap j/wrap --in j.wrapped --out j.unwrapped
   key import j/taken --algorithm ed25519 --purpose sign --in j.pem
   key create j/agree --algorithm x25519 --purpose agree
   agree j/agree --peer j.peer --out j.secret
   key create j/kem --algorithm ml-kem-768 --purpose encapsulate
   encapsulate j/kem --out j.one --out-ciphertext j.capsule
   decapsulate j/kem --in j.capsule --out j.two
   audit checkpoint --out j.checkpoint
   audit export j.record
   audit retain --before 1d`,
  `status
   login-code
   config check
   principal create bo --kind service --role key-user
   principal list
   principal show me
   principal update bo --role key-maker
   principal enrol bo
   principal disable bo
   token create --ttl 1h
   token list
   access show
   audit list
   audit show 0
   audit verify`,
];

describe('--json answers with one JSON object for each command', { concurrency: 2 }, () => {
  for (const chain of chains) {
    const lines = chain.split('\n').map((line) => line.trim());
    test(lines[0]!, async () => {
      for (const line of lines) {
        const { stdout } = await mustRun(installation, `keyreeve ${line} --json`);
        const answer: unknown = JSON.parse(stdout.toString());
        assert.equal(typeof answer, 'object', line);
      }
    });
  }
});
