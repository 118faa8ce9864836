import { runPython } from './tools.ts';

/** What libcrypto reads these bytes as; `undefined` for bytes it refuses. */
export type Structure = 'X509' | 'X509_REQ' | 'X509_CRL';

/**
 * Asks libcrypto's own readers, all in one process: whether each input is one structure of this
 * kind, with nothing behind it.
 */
export function opensslReads(
  python: string,
  structure: Structure,
  inputs: readonly Buffer[],
): boolean[] {
  const hex = inputs.map((bytes) => bytes.toString('hex'));
  return runPython(python, script, { structure, inputs: hex }) as boolean[];
}

// d2i_* leave the pointer behind what they have read.
const script = `
import ctypes, ctypes.util
library = ctypes.CDLL(ctypes.util.find_library('crypto') or 'libcrypto.so.3')
read = getattr(library, 'd2i_' + input['structure'])
read.restype = ctypes.c_void_p
read.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]
free = getattr(library, input['structure'] + '_free')
free.argtypes = [ctypes.c_void_p]
def accepts(data):
    buffer = ctypes.create_string_buffer(data, len(data) + 1)
    place = ctypes.c_void_p(ctypes.addressof(buffer))
    found = read(None, ctypes.byref(place), len(data))
    if found is None:
        library.ERR_clear_error()
        return False
    free(found)
    return place.value == ctypes.addressof(buffer) + len(data)
output = [accepts(bytes.fromhex(text)) for text in input['inputs']]
`;
