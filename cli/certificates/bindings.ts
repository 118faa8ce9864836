/** Which client certificates log in as whom. */
import type { ResponseOf } from '../../api/route.ts';
import { type BindingKind, bindingKinds } from '../../api/routes/certificates.ts';
import type { Routes } from '../../api/routes.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { certificateDigest, keyDigest } from './key-file.ts';

type Binding = ResponseOf<Routes['principal.bind']>;

type BindOptions = { readonly ca: string } & { readonly [Kind in BindingKind]?: string };

export async function bindPrincipal(
  tools: Tools,
  options: BindOptions,
  principal: string,
): Promise<void> {
  const named = bindingKinds.filter((kind) => options[kind] !== undefined);
  const [kind] = named;
  if (kind === undefined || named.length > 1) {
    throw new KeyreeveError('invalid-request', 'one thing is needed that the certificate carries', {
      hint: `Name one of: ${bindingKinds.map((one) => `--${one}`).join(', ')}.`,
    });
  }
  const value = await sentValue(tools, kind, options[kind]!);
  const binding = await tools.client().call('principal.bind', {
    params: { principal },
    body: { ca: options.ca, kind, value },
  });
  tools.output.data(binding);
  tools.output.note(
    `client certificates of ${binding.ca} with ${binding.kind} ${binding.value} log in as ${binding.principal}; end it with: keyreeve principal unbind ${binding.id}`,
  );
}

function sentValue(tools: Tools, kind: BindingKind, text: string): Promise<string> | string {
  if (kind === 'key') return keyDigest(tools, text);
  return kind === 'certificate' ? certificateDigest(tools, text) : text;
}

export async function listBindings(
  tools: Tools,
  _options: unknown,
  principal: string,
): Promise<void> {
  const list = await tools.client().call('principal.bindings', { params: { principal } });
  tools.output.data(list);
  tools.output.table(
    ['ID', 'CA', 'KIND', 'VALUE', 'SINCE'],
    list.items.map((one: Binding) => [one.id, one.ca, one.kind, one.value, one.createdAt]),
  );
}

export async function unbindPrincipal(tools: Tools, _options: unknown, id: string): Promise<void> {
  const ended = await tools.client().call('principal.unbind', { params: { binding: id } });
  tools.output.data(ended);
  tools.output.note(
    `certificates of ${ended.ca} with ${ended.kind} ${ended.value} do not log in as ${ended.principal} any more`,
  );
}
