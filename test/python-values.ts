import type { SchemeName } from '../api/algorithms.ts';
import { runPython } from './tools.ts';

/** What to make: `key` is PKCS#8 or the secret key, `peer` the SPKI of the other side. */
export interface PythonJob {
  readonly scheme: SchemeName;
  readonly key: Buffer;
  readonly data: Buffer;
  readonly aad?: Buffer;
  readonly peer?: Buffer;
}

/**
 * Makes one valid value for each job with Python's `cryptography`: a signature, ciphertext, MAC or
 * wrapped key of the data, or the secret that was agreed on (the data are the info then). Not for
 * the post-quantum schemes.
 */
export function pythonValues(python: string, jobs: readonly PythonJob[]): Buffer[] {
  const input = jobs.map(({ scheme, ...bytes }) => ({
    scheme,
    ...Object.fromEntries(
      Object.entries(bytes).map(([name, value]: [string, Buffer]) => [name, value.toString('hex')]),
    ),
  }));
  const output = runPython(python, script, input) as string[];
  return output.map((hex) => Buffer.from(hex, 'hex'));
}

const script = `
import os
from cryptography.hazmat.primitives import cmac, hashes, hmac, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, x25519
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

def block(key, data):
    c = cmac.CMAC(algorithms.AES(key))
    c.update(data)
    return c.finalize()

def xaes(key, data, aad):
    # C2SP XAES-256-GCM: a key for each message, derived from the first half of its nonce.
    nonce = os.urandom(24)
    derived = block(key, b'\\0\\1X\\0' + nonce[:12]) + block(key, b'\\0\\2X\\0' + nonce[:12])
    return nonce + AESGCM(derived).encrypt(nonce[12:], data, aad)

def oaep(hash):
    return padding.OAEP(mgf=padding.MGF1(hash), algorithm=hash, label=None)

def make(job):
    scheme, key, data, aad = [job['scheme']] + [bytes.fromhex(job.get(n, '')) for n in ('key', 'data', 'aad')]
    hash = {'256': hashes.SHA256(), '384': hashes.SHA384(), '512': hashes.SHA512()}.get(scheme[-3:])
    if scheme.startswith('hmac'):
        h = hmac.HMAC(key, hash)
        h.update(data)
        return h.finalize()
    if scheme == 'xaes-256-gcm':
        return xaes(key, data, aad)
    if scheme == 'aes-256-gcm':
        nonce = os.urandom(12)
        return nonce + AESGCM(key).encrypt(nonce, data, aad)
    if scheme == 'aes-kwp':
        return keywrap.aes_key_wrap_with_padding(key, data)
    private = serialization.load_der_private_key(key, None)
    if scheme.startswith('rsa-pss'):
        return private.sign(data, padding.PSS(mgf=padding.MGF1(hash), salt_length=hash.digest_size), hash)
    if scheme.startswith('rsa-pkcs1'):
        return private.sign(data, padding.PKCS1v15(), hash)
    if scheme.startswith('rsa-oaep'):
        return private.public_key().encrypt(data, oaep(hash))
    if scheme == 'rsa-aes-kwp':
        fresh = os.urandom(32)
        head = private.public_key().encrypt(fresh, oaep(hashes.SHA256()))
        return head + keywrap.aes_key_wrap_with_padding(fresh, data)
    if scheme.startswith('ecdsa'):
        return private.sign(data, ec.ECDSA(hash))
    if scheme == 'ed25519':
        return private.sign(data)
    public = serialization.load_der_public_key(bytes.fromhex(job['peer']))
    if isinstance(private, x25519.X25519PrivateKey):
        shared = private.exchange(public)
    else:
        shared = private.exchange(ec.ECDH(), public)
    return HKDF(hashes.SHA256(), 32, None, data).derive(shared)

output = [make(job).hex() for job in input]`;
