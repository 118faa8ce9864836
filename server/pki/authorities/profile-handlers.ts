import { type Profile, profile as profileSchema } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Handlers } from '../../base/handler.ts';
import type { Commands } from '../../commands/commands.ts';
import type { Authorities } from './authority-ring.ts';
import { checkProfile, refuseReserved } from './profile-rules.ts';
import { customProfilesMax, isBuiltIn } from './profile-store.ts';

const system = { type: 'system' } as const;

/** The routes of certificate profiles. */
export function createProfileHandlers(
  { profileStore, keys, clock }: Authorities,
  commands: Commands,
): Handlers<'profile.list' | 'profile.show' | 'profile.apply' | 'profile.remove'> {
  return {
    'profile.list': async ({ caller }) => {
      keys.authorise(caller, 'profile.show', system);
      return { items: (await profileStore.all()).map(viewOf) };
    },
    'profile.show': async ({ caller, params }) => {
      keys.authorise(caller, 'profile.show', system);
      return viewOf(await profileStore.named(params.profile));
    },
    'profile.apply': async ({ caller, body, idempotencyKey }) =>
      commands.run(caller, {
        action: 'profile.apply',
        resource: system,
        about: { resource: `profile ${body.name}` },
        input: { ...body },
        idempotencyKey,
        act: async () => {
          checkProfile(body);
          const custom = await profileStore.fresh();
          const before = custom.get(body.name);
          if (before === undefined && custom.size >= customProfilesMax) {
            throw new KeyreeveError(
              'invalid-request',
              `There are ${customProfilesMax} profiles of your own already.`,
              { hint: 'Remove one that is not used: keyreeve profile remove NAME' },
            );
          }
          const by = { principalId: caller.principalId, now: clock.now() };
          return { result: viewOf(body), steps: [profileStore.put(body, before, by)] };
        },
      }),
    'profile.remove': async ({ caller, params, idempotencyKey }) =>
      commands.run(caller, {
        action: 'profile.apply',
        resource: system,
        about: { resource: `profile ${params.profile}` },
        input: ['remove', params.profile],
        idempotencyKey,
        act: async () => {
          refuseReserved(params.profile, 'removed');
          return {
            result: { removed: params.profile },
            steps: [profileStore.remove(params.profile)],
            about: { resource: `profile ${params.profile}`, detail: '{"removed":true}' },
          };
        },
      }),
  };
}

function viewOf(profile: Profile) {
  return { ...profileSchema.parse(profile), isBuiltIn: isBuiltIn(profile.name) };
}
