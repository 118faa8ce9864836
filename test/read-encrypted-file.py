#!/usr/bin/env python3
"""A second reader of Keyreeve's encrypted files, written from docs/file-format.md alone.

    read-encrypted-file.py --data-key-file HEXFILE IN OUT
    read-encrypted-file.py --data-key-file HEXFILE --verdicts FILE...

The data key comes unwrapped, in hexadecimal. The first form decrypts IN to OUT in constant memory; OUT gets its
name only when the whole is authenticated. On refusal it prints the reason and exits with 1. The second
form prints one line for each file: "ok SHA256-OF-CONTENT" or "refused REASON".
"""

import argparse
import hashlib
import hmac
import os
import re
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAGIC = bytes.fromhex("8B 4B 45 59 52 45 45 56 45 0D 0A 1A 0A")
CHUNK_BYTES = 65_536 + 16


class Refused(Exception):
    """Carries a reason from the table "Reading"."""


def read_header(stream):
    """Returns the bytes of the header and its salt."""
    fixed = stream.read(51)
    if len(fixed) < 13:
        raise Refused("not-this-format")
    if fixed[:13] != MAGIC:
        raise Refused("text-mode" if b"KEYREEVE" in fixed[:13] else "not-this-format")
    if len(fixed) < 51:
        raise Refused("header-cut")
    if fixed[13] != 1:
        raise Refused("format-version")
    if fixed[14] != 1:
        raise Refused("algorithm")
    if not re.fullmatch(rb"key_[a-z2-7]{26}", fixed[15:45]):
        raise Refused("key-id")
    if int.from_bytes(fixed[45:49], "big") == 0:
        raise Refused("key-version")
    wrapped_length = int.from_bytes(fixed[49:51], "big")
    if not 1 <= wrapped_length <= 4096:
        raise Refused("wrapped-key-length")
    tail = stream.read(wrapped_length + 32)
    if len(tail) < wrapped_length + 32:
        raise Refused("header-cut")
    return fixed + tail, tail[wrapped_length:]


def decrypt(stream, data_key):
    """Gives the pieces of the content in order; raises Refused, perhaps after some of them."""
    header, salt = read_header(stream)
    key_check = stream.read(32)
    if len(key_check) < 32:
        raise Refused("header-cut")
    info = b"keyreeve file 1" + hashlib.sha256(header).digest()
    output = HKDF(algorithm=SHA256(), length=71, salt=salt, info=info).derive(data_key)
    if not hmac.compare_digest(key_check, output[32:64]):
        raise Refused("key-check")
    cipher = AESGCM(output[:32])
    prefix = output[64:71]

    number = 0
    chunk = stream.read(CHUNK_BYTES)
    while True:
        following = stream.read(CHUNK_BYTES) if len(chunk) == CHUNK_BYTES else b""
        final = not following
        if number == 2**32:
            raise Refused("too-many-chunks")
        if final and len(chunk) == 16 and number > 0:
            raise Refused("empty-final-chunk")
        if len(chunk) < 16:
            raise Refused("final-chunk")
        nonce = prefix + number.to_bytes(4, "big") + (b"\x01" if final else b"\x00")
        try:
            yield cipher.decrypt(nonce, chunk, None)
        except InvalidTag:
            raise Refused("final-chunk" if final else "chunk") from None
        if final:
            return
        chunk = following
        number += 1


def decrypt_to_file(data_key, in_path, out_path):
    part = f"{out_path}.part"
    try:
        with open(in_path, "rb") as stream, open(part, "xb") as out:
            for piece in decrypt(stream, data_key):
                out.write(piece)
        os.rename(part, out_path)
    except Refused:
        os.unlink(part)
        raise


def verdict(data_key, path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for piece in decrypt(stream, data_key):
                digest.update(piece)
    except Refused as refused:
        return f"refused {refused}"
    return f"ok {digest.hexdigest()}"


def main():
    parser = argparse.ArgumentParser(description="Reads a Keyreeve encrypted file.")
    parser.add_argument("--data-key-file", required=True, help="32 bytes in hexadecimal")
    parser.add_argument("--verdicts", action="store_true", help="judge each FILE, write nothing")
    parser.add_argument("paths", nargs="+", metavar="IN OUT | FILE")
    arguments = parser.parse_args()
    with open(arguments.data_key_file, encoding="ascii") as file:
        data_key = bytes.fromhex(file.read().strip())
    if len(data_key) != 32:
        parser.error("a data key has 32 bytes")
    if arguments.verdicts:
        for path in arguments.paths:
            print(verdict(data_key, path))
        return 0
    if len(arguments.paths) != 2:
        parser.error("name the input and the output")
    try:
        decrypt_to_file(data_key, *arguments.paths)
    except Refused as refused:
        print(f"refused: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
