#!/usr/bin/env python3
"""A second checker of exported records, after docs/record-format.md and nothing else.

    verify-record.py FOLDER --checkpoint FILE --log-key FILE [--archive FOLDER]

It needs Python's standard library and the openssl command, which checks the signatures. The
checkpoint and the key lines are the verifier's own. It prints one JSON object and exits with 0 if
the export is whole, with 1 if not.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile

FIELDS = (
    "id time kind action outcome principalId principalName credentialId address agent "
    "correlationId keyId keyName keyVersion resource intentId count inputDigest digestKey detail"
).split()
NUMBERS = {name: number for number, name in enumerate(FIELDS, start=1)}
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
VALUE_LIMIT = 65536


def sha256(data):
    return hashlib.sha256(data).digest()


class Wrong(Exception):
    """Something that is not as the format says."""


# Signed notes and checkpoints


def decode_base64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Wrong("not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Wrong("not canonical base64")
    return data


def read_key_lines(text):
    keys = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([^\s+]+)\+([0-9a-f]{8})\+(\S+)", line)
        if not match:
            raise SystemExit("the key line has not the right form")
        name, key_id, typed = match[1], match[2], decode_base64(match[3])
        if len(typed) != 33 or typed[0] != 1:
            raise SystemExit("the key is not an Ed25519 key")
        if sha256(name.encode() + b"\n" + typed)[:4].hex() != key_id:
            raise SystemExit("the key id is not that of the key")
        keys[(name, key_id)] = typed[1:]
    if not keys:
        raise SystemExit("there is no key line")
    return keys


def signature_is_good(public_key, signature, text):
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: os.path.join(folder, name) for name in ("key", "signature", "text")}
        contents = {"key": SPKI_PREFIX + public_key, "signature": signature, "text": text}
        for name, path in paths.items():
            with open(path, "wb") as file:
                file.write(contents[name])
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER"]
        command += ["-inkey", paths["key"], "-sigfile", paths["signature"], "-in", paths["text"]]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def parse_head(origin, size, root):
    if not origin or not re.fullmatch(r"0|[1-9][0-9]{0,15}", size):
        raise Wrong("not a checkpoint")
    root = decode_base64(root)
    if len(root) != 32:
        raise Wrong("not a checkpoint")
    return {"origin": origin, "size": int(size), "root": root}


def parse_checkpoint(note):
    """Text, signature lines, and what the checkpoint states, unproven."""
    try:
        text = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Wrong("not UTF-8") from error
    if re.search(r"[\x00-\x09\x0b-\x1f]", text) or not text.endswith("\n"):
        raise Wrong("not a note")
    body, border, signatures = text.rpartition("\n\n")
    if not border:
        raise Wrong("not a signed note")
    body += "\n"
    lines = body.split("\n")[:-1]
    if len(lines) < 3 or "" in lines:
        raise Wrong("not a checkpoint")
    head = parse_head(*lines[:3])
    for line in lines[3:]:
        if line.startswith("continues "):
            parts = line.split(" ")
            if len(parts) != 4:
                raise Wrong("not a checkpoint")
            head.setdefault("continues", parse_head(*parts[1:]))
    return body, signatures[:-1].split("\n"), head


def open_checkpoint(note, keys):
    body, lines, head = parse_checkpoint(note)
    proven = False
    for line in lines:
        match = re.fullmatch("\u2014 ([^\\s+]+) (\\S+)", line)
        if not match:
            raise Wrong("a signature line has a wrong form")
        data = decode_base64(match[2])
        if len(data) < 5:
            raise Wrong("a signature is too short")
        public_key = keys.get((match[1], data[:4].hex()))
        if public_key is None:
            continue
        if len(data) != 68 or not signature_is_good(public_key, data[4:], body.encode()):
            raise Wrong("a signature is wrong")
        if match[1] != head["origin"]:
            raise Wrong("signed by a key of another log")
        proven = True
    if not proven:
        raise Wrong("not signed by a key of yours")
    return head


# The tree


class Edge:
    """The complete subtrees on the right edge of a growing tree."""

    def __init__(self):
        self.nodes = []
        self.size = 0

    def add(self, node):
        height = 0
        while self.nodes and self.nodes[-1][0] == height:
            node = sha256(b"\x01" + self.nodes.pop()[1] + node)
            height += 1
        self.nodes.append((height, node))
        self.size += 1

    def root(self):
        if not self.nodes:
            return sha256(b"")
        root = self.nodes[-1][1]
        for _, node in reversed(self.nodes[:-1]):
            root = sha256(b"\x01" + node + root)
        return root


def index_path(number):
    digits = str(number)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    return "/".join(["x" + group for group in groups[:-1]] + groups[-1:])


def partial(width):
    return "" if width == 256 else f".p/{width}"


def root_of(hashes):
    edge = Edge()
    for item in hashes:
        edge.add(item)
    return edge.root()


# Leaves and openings


def parse_leaf(leaf):
    if len(leaf) < 2 or leaf[0] != 1 or len(leaf) != 2 + 33 * leaf[1]:
        raise Wrong("a leaf of unknown form")
    fields = {}
    last = 0
    for at in range(2, len(leaf), 33):
        if leaf[at] <= last:
            raise Wrong("fields out of order")
        last = leaf[at]
        fields[last] = leaf[at + 1 : at + 33]
    if any(number not in fields for number in range(1, 6)):
        raise Wrong("a required field is missing")
    return fields


def split_bundle(data):
    """The leaves up to where the bundle breaks off, and whether it does."""
    leaves = []
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            break
        leaves.append(data[at + 2 : end])
        at = end
    return leaves, at == len(data)


def field_number(name):
    if name in NUMBERS:
        return NUMBERS[name]
    match = re.fullmatch(r"field-([1-9][0-9]{0,2})", name)
    if match and 20 < int(match[1]) < 256:
        return int(match[1])
    raise Wrong("a field of unknown name")


def check_opening(commitments, fields):
    """The values by name; Wrong if one is not what the leaf commits to."""
    values = {}
    for name, content in fields.items():
        number = field_number(name)
        if not isinstance(content, dict):
            raise Wrong("a field of wrong form")
        salt, value = content.get("salt"), content.get("value")
        if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{32}", str(salt)):
            raise Wrong("a field of wrong form")
        data = value.encode("utf-8")
        if len(data) > VALUE_LIMIT:
            raise Wrong("a value is too long")
        commitment = sha256(bytes([2, number]) + bytes.fromhex(salt) + data)
        if commitments.get(number) != commitment:
            raise Wrong(f"the value of {name} is not the one recorded")
        values[name] = value
    return values


class Checker:
    def __init__(self, folder, keys, archives):
        self.folder = folder
        self.keys = keys
        self.archives = archives
        self.problems = []
        self.roots = {}
        self.wanted = set()
        self.without_opening = 0
        self.redacted = 0

    def report(self, code, place=None, **more):
        if place is not None:
            more["place"] = place
        self.problems.append({"code": code, **more})

    def read(self, *names, folder=None):
        try:
            with open(os.path.join(folder or self.folder, *names), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def run(self, given_note):
        given = self.checkpoint(given_note, "yours")
        own_note = self.read("checkpoint") or b""
        own = self.checkpoint(own_note, "export")
        head = own
        if head is None:
            try:
                head = parse_checkpoint(own_note)[2]
            except Wrong:
                head = given
        if head is None:
            raise SystemExit("there is no export in the folder")
        if own is None and given is not None and given["size"] == head["size"]:
            head = given
        stated = [one for one in (given, own) if one is not None]
        stated += [one["continues"] for one in stated if "continues" in one]
        self.wanted = {one["size"] for one in stated}
        self.tree(head)
        for one in stated:
            if one["size"] > head["size"]:
                self.report("checkpoint-newer")
            elif self.roots.get(one["size"]) != one["root"]:
                self.report("checkpoint-inconsistent", size=one["size"])
        return {
            "ok": not self.problems,
            "size": head["size"],
            "withoutOpening": self.without_opening,
            "redactedFields": self.redacted,
            "problems": self.problems,
        }

    def checkpoint(self, note, label):
        try:
            return open_checkpoint(note, self.keys)
        except Wrong as error:
            self.report("checkpoint-invalid", label=label, message=str(error))
            return None

    def tree(self, head):
        """Leaves against the lowest tiles, those against the root, and the upper tiles."""
        size = head["size"]
        bundles = []
        tiles = []
        for number in range(-(-size // 256)):
            width = min(256, size - number * 256)
            bundles.append(self.leaves(number, width))
            tiles.append(self.tile(0, number, width))
        by_tiles = root_of([item for tile in tiles for item in tile])
        by_leaves = root_of([sha256(b"\x00" + leaf) for leaves in bundles for leaf in leaves])
        trust_tiles = by_tiles == head["root"]
        self.lower(bundles, tiles, trust_tiles, by_leaves == head["root"])
        truth = tiles if trust_tiles else [[sha256(b"\x00" + x) for x in b] for b in bundles]
        if not trust_tiles and by_leaves != head["root"]:
            self.report("root-mismatch")
        self.upper(truth, size)
        edge = Edge()
        for number, hashes in enumerate(truth):
            openings = self.openings(number, len(hashes))
            for index, item in enumerate(hashes):
                if edge.size in self.wanted:
                    self.roots[edge.size] = edge.root()
                leaves = bundles[number]
                if index < len(leaves) and sha256(b"\x00" + leaves[index]) == item:
                    self.entry(number * 256 + index, leaves[index], openings, edge)
                edge.add(item)
        self.roots[edge.size] = edge.root()

    def leaves(self, number, width):
        data = self.read("tile", "entries", index_path(number) + partial(width))
        if data is None:
            self.report("bundle-missing", number=number)
            return []
        leaves, whole = split_bundle(data)
        if not whole or len(leaves) > width:
            self.report("bundle-damaged", number=number)
        return leaves[:width]

    def tile(self, level, number, width):
        data = self.read("tile", str(level), index_path(number) + partial(width))
        if data is None or len(data) != 32 * width:
            self.report("tile-missing", level=level, number=number)
            return []
        return [data[at : at + 32] for at in range(0, len(data), 32)]

    def lower(self, bundles, tiles, trust_tiles, trust_leaves):
        for number, (leaves, tile) in enumerate(zip(bundles, tiles)):
            hashes = [sha256(b"\x00" + leaf) for leaf in leaves]
            if hashes == tile:
                continue
            if trust_leaves and not trust_tiles:
                self.report("tile-damaged", level=0, number=number)
                continue
            dropped = len(hashes) < len(tile)
            for index, item in enumerate(tile):
                if index < len(hashes) and hashes[index] == item:
                    continue
                # After an entry that was dropped the others only stand too early.
                if dropped and item in hashes:
                    continue
                code = "entry-missing" if dropped else "entry-damaged"
                code = "entry-moved" if not dropped and item in hashes else code
                self.report(code, place=number * 256 + index)

    def upper(self, hashes, size):
        level = 1
        while size // 256**level > 0:
            hashes = [[root_of(full) for full in hashes if len(full) == 256]]
            flat = hashes[0]
            hashes = [flat[at : at + 256] for at in range(0, len(flat), 256)]
            for number, right in enumerate(hashes):
                if right and self.tile(level, number, len(right)) != right:
                    self.report("tile-damaged", level=level, number=number)
            level += 1

    def openings(self, number, width):
        """For each place what may be read, or None if there is no file."""
        for folder in [self.folder, *self.archives]:
            data = self.read("openings", index_path(number) + ".ndjson", folder=folder)
            if data is not None:
                break
        else:
            self.without_opening += width
            return None
        found = {}
        for line in data.split(b"\n"):
            if not line:
                continue
            try:
                item = json.loads(line.decode("utf-8"))
                place, fields = item["place"], item["fields"]
                if place in found or not 0 <= place - number * 256 < width:
                    raise Wrong("a line for no entry, or a second one")
                found[place] = dict(fields)
            except (ValueError, KeyError, TypeError, Wrong) as error:
                self.report("opening-damaged", number=number, message=str(error))
        return found

    def entry(self, place, leaf, openings, edge):
        try:
            commitments = parse_leaf(leaf)
        except Wrong as error:
            self.report("entry-malformed", place=place, message=str(error))
            return
        if openings is None:
            return
        if place not in openings:
            self.report("opening-damaged", place=place)
            return
        try:
            values = check_opening(commitments, openings[place])
        except (Wrong, ValueError) as error:
            self.report("opening-mismatch", place=place, message=str(error))
            return
        self.redacted += len(commitments) - len(values)
        if values.get("action") == "log.continued" and values.get("kind") == "event":
            self.continuation(place, values, edge)

    def continuation(self, place, values, edge):
        if "detail" not in values:
            return
        try:
            detail = json.loads(values["detail"])
            head = parse_head(str(detail["origin"]), str(detail["size"]), str(detail["root"]))
            right = head["size"] == place and head["root"] == edge.root()
        except (ValueError, KeyError, TypeError, Wrong):
            right = False
        if not right:
            self.report("continuation-invalid", place=place)


def main():
    parser = argparse.ArgumentParser(description="Checks an exported record.")
    parser.add_argument("folder")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--log-key", required=True)
    parser.add_argument("--archive", action="append", default=[])
    options = parser.parse_args()
    with open(options.log_key, encoding="utf-8") as file:
        keys = read_key_lines(file.read())
    with open(options.checkpoint, "rb") as file:
        note = file.read()
    result = Checker(options.folder, keys, options.archive).run(note)
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
