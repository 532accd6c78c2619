"""Who messages go to: a mail server, a webhook's receiver and a message broker, on free loopback ports."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import socket
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pika import frame, spec

from tests.postgres import free_port
from tests.servers import Certificate

# -- mail


class Inbox:
    """What the mail server keeps; `answers` maps a receiver to what the server says instead of 250."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.receivers: list[list[str]] = []
        self.answers: dict[str, str] = {}
        self.signed_in: list[bytes] = []

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        self.receivers.append(list(envelope.rcpt_tos))
        return "250 OK"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.signed_in.append(data.login)
        return AuthResult(success=data.password == b"right", handled=False)


class MailServer(Inbox):
    """A real SMTP server."""

    def __init__(self, certificate: Certificate | None = None, *, sign_in: bool = False) -> None:
        super().__init__()
        options: dict[str, Any] = {}
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate.certificate, certificate.key)
            options["tls_context"] = context
        if sign_in:
            options |= {"authenticator": self.authenticate, "auth_required": True}
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._controller.stop()


# -- webhooks


@dataclass
class Post:
    """What was posted."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """As docs/operations.md tells receivers to check it."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        theirs = self.headers["webhook-signature"].removeprefix("v1,")
        return hmac.compare_digest(base64.b64decode(theirs), digest)


class WebhookReceiver:
    """Answers with the statuses that it was given, one after the other, and then with 204."""

    def __init__(self, *statuses: int) -> None:
        self.posts: list[Post] = []
        self._statuses = list(statuses)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.posts.append(Post(self.path, headers, body))
                self.send_response(receiver._statuses.pop(0) if receiver._statuses else 204)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=theirs"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


# -- AMQP


@dataclass
class Published:
    """A message as the broker got it."""

    exchange: str
    topic: str
    properties: Any = None
    body: bytes = b""
    size: int = field(default=0, repr=False)


class Broker:
    """As much of an AMQP 0-9-1 broker as a publisher needs: hand-shake, one channel, confirmed messages, good-bye.

    It speaks by pika's own tables of the protocol, and keeps what is published.
    """

    def __init__(self) -> None:
        self.messages: list[Published] = []
        self.credentials = ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqp://mm:secret@127.0.0.1:{self._listener.getsockname()[1]}/%2Fpubsub"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(8, socket.MSG_WAITALL)  # the protocol's header
            properties = {"capabilities": {"publisher_confirms": True, "basic.nack": True}}
            start = spec.Connection.Start(server_properties=properties, mechanisms="PLAIN", locales="en_US")
            connection.sendall(frame.Method(0, start).marshal())
            waiting = b""
            while data := connection.recv(65536):
                waiting += data
                while True:
                    used, found = frame.decode_frame(waiting)
                    if found is None:
                        break
                    waiting = waiting[used:]
                    for answer in self._answers(found):
                        connection.sendall(frame.Method(found.channel_number, answer).marshal())

    def _answers(self, found: Any) -> list[Any]:
        if isinstance(found, frame.Header):
            self.messages[-1].properties, self.messages[-1].size = found.properties, found.body_size
        if isinstance(found, frame.Body):
            self.messages[-1].body += found.fragment
            if len(self.messages[-1].body) == self.messages[-1].size:
                return [spec.Basic.Ack(delivery_tag=len(self.messages))]
        method = getattr(found, "method", None)
        if isinstance(method, spec.Connection.StartOk):
            self.credentials = method.response.decode()
        if isinstance(method, spec.Basic.Publish):
            self.messages.append(Published(method.exchange, method.routing_key))
        answers: dict[type, Any] = {
            spec.Connection.StartOk: spec.Connection.Tune(channel_max=10, frame_max=131072, heartbeat=0),
            spec.Connection.Open: spec.Connection.OpenOk(),
            spec.Channel.Open: spec.Channel.OpenOk(),
            spec.Confirm.Select: spec.Confirm.SelectOk(),
            spec.Channel.Close: spec.Channel.CloseOk(),
            spec.Connection.Close: spec.Connection.CloseOk(),
        }
        return [answers[type(method)]] if type(method) in answers else []
