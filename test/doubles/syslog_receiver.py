"""A strict receiver of syslog over TLS (RFC 5425): parses RFC 5424 and prints a JSON line for each
message, or {"error": ...} for what breaks the rules. Arguments: certificate, key, port or 0, mode.
Modes: `read` reads to the end; `reset` resets the connection after the first bytes; `hang` never
closes."""

import json
import re
import socket
import ssl
import struct
import sys
import threading

CERTIFICATE, KEY, PORT, MODE = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

HEADER = re.compile(
    rb"<([1-9][0-9]{0,2}|0)>1 "
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
)
NAME = re.compile(rb"[!#-<>-\\^-~]{1,32}")


def parameter(text, at):
    """PARAM-VALUE up to its quote: `"`, `\\` and `]` are escaped, and nothing else has to be."""
    value = bytearray()
    while True:
        letter = text[at : at + 1]
        if letter == b"\\" and text[at + 1 : at + 2] in (b'"', b"\\", b"]"):
            value += text[at + 1 : at + 2]
            at += 2
        elif letter == b'"':
            return value.decode("utf-8"), at + 1
        elif letter in (b"", b"]"):
            raise ValueError("a value is not closed, or holds ] as it is")
        else:
            value += letter
            at += 1


def parse(text):
    header = HEADER.match(text)
    if header is None:
        raise ValueError("no header: %r" % text[:80])
    if re.search(rb"[\x00-\x1f\x7f]", text):
        raise ValueError("a control character")
    at = header.end()
    if text[at : at + 1] != b"[":
        raise ValueError("no structured data")
    name = NAME.match(text, at + 1)
    at = name.end()
    data = {}
    while text[at : at + 1] == b" ":
        key = NAME.match(text, at + 1)
        at = key.end()
        if text[at : at + 2] != b'="':
            raise ValueError("no value after a name")
        data[key.group().decode()], at = parameter(text, at + 2)
    if text[at : at + 2] != b"] ":
        raise ValueError("structured data is not closed")
    message = text[at + 2 :]
    has_mark = message.startswith(b"\xef\xbb\xbf")
    if not has_mark and not message.isascii():
        raise ValueError("UTF-8 without its mark")
    return {
        "priority": int(header.group(1)),
        "time": header.group(2).decode(),
        "host": header.group(3).decode(),
        "application": header.group(4).decode(),
        "id": header.group(6).decode(),
        "dataId": name.group().decode(),
        "data": data,
        "message": message[3 if has_mark else 0 :].decode("utf-8"),
    }


def say(value):
    print(json.dumps(value), flush=True)


def frames(stream):
    while True:
        digits = b""
        while True:
            letter = stream.read(1)
            if letter == b"" and digits == b"":
                return
            if letter == b" ":
                break
            if not letter.isdigit() or (digits == b"" and letter == b"0"):
                raise ValueError("no length: %r" % (digits + letter))
            digits += letter
        text = stream.read(int(digits))
        if len(text) != int(digits):
            raise ValueError("a message is cut short")
        yield text


def serve(connection):
    try:
        with CONTEXT.wrap_socket(connection, server_side=True) as secure:
            if MODE == "hang":
                while True:
                    secure.recv(1024)
                    threading.Event().wait(60)
            if MODE == "reset":
                secure.recv(1)
                secure.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            for text in frames(secure.makefile("rb")):
                say(parse(text))
    except (ValueError, UnicodeError, OSError, AttributeError) as error:
        say({"error": str(error)})


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERTIFICATE, KEY)
LISTENER = socket.create_server(("127.0.0.1", PORT))
say({"port": LISTENER.getsockname()[1]})
while True:
    accepted, _ = LISTENER.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()
