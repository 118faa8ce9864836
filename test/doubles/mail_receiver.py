"""A mail server (aiosmtpd) that prints a JSON line for each mail. Arguments: certificate, key, mode.
Modes: `starttls`; `smtps`; `plain`, which offers no TLS; `partly`, STARTTLS and one recipient
refused. Whoever logs in is ada with the password `correct horse`."""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes
from email.policy import default

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

CERTIFICATE, KEY, MODE = sys.argv[1:4]


def say(value):
    print(json.dumps(value), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if MODE == "partly" and address.startswith("nobody"):
            return "550 there is nobody"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content, policy=default)
        say(
            {
                "user": session.auth_data and session.auth_data.decode(),
                "isTls": session.ssl is not None or MODE == "smtps",
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "headers": [[name, str(value)] for name, value in mail.items()],
                "text": mail.get_content(),
            }
        )
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    if not isinstance(data, LoginPassword):
        return AuthResult(success=False, handled=False)
    good = data.login == b"ada" and data.password == b"correct horse"
    return AuthResult(success=good, handled=False, auth_data=data.login)


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CONTEXT.load_cert_chain(CERTIFICATE, KEY)


def protocol():
    has_starttls = MODE in ("starttls", "partly")
    return SMTP(
        Handler(),
        authenticator=authenticate,
        auth_require_tls=has_starttls,
        tls_context=CONTEXT if has_starttls else None,
        require_starttls=has_starttls,
        hostname="localhost",
    )


async def serve():
    context = CONTEXT if MODE == "smtps" else None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context)
    say({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(serve())
