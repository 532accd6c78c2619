"""Messages for an AMQP broker, as fedora-messaging's consumers read them. Loaded only when amqp.url is set."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from mm_lib.model.outbox import Webhook
from mm_lib.outbox.message import Told, amqp_body, usernames
from mm_lib.outbox.sending import Down
from mm_lib.settings import AmqpSettings, SettingsError

_SEVERITY_INFO = 20
_PERSISTENT = 2


class AmqpSender:
    """One connection to the broker, made when the first message goes out; the broker confirms each message."""

    def __init__(self, settings: AmqpSettings, timeout: float) -> None:
        try:
            import pika  # an extra: most installations have no broker
        except ImportError:
            raise SettingsError("amqp.url is set, but pika is missing: pip install 'mirrormanager[amqp]'") from None
        self._pika = pika
        self._settings = settings
        self._timeout = timeout
        self._connection: Any = None
        self._channel: Any = None

    def send(self, told: Told, target: str, webhook: Webhook | None) -> None:  # noqa: ARG002  the protocol has it
        """Publish it under the topic; the broker has it when this returns. Raises SendError."""
        prefix = self._settings.topic_prefix.rstrip(".")
        topic = f"{prefix}.{target}" if prefix else target
        body = json.dumps(amqp_body(told, target), sort_keys=True).encode()
        try:
            self._connected().basic_publish(self._settings.exchange, topic, body, self._properties(told, target))
        except (self._pika.exceptions.AMQPError, OSError) as error:
            self.close()
            raise Down(f"the message broker cannot be used: {type(error).__name__} {error}") from error

    def close(self) -> None:
        """Say goodbye."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            connection.close()

    def _connected(self) -> Any:
        if self._channel is None:
            self._connection = self._pika.BlockingConnection(self._parameters())
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def _parameters(self) -> Any:
        settings = self._settings
        assert settings.url is not None  # deliveries by AMQP are made only then, and so is a sender
        parameters = self._pika.URLParameters(settings.url.get_secret_value())
        parameters.socket_timeout = parameters.blocked_connection_timeout = self._timeout
        parameters.stack_timeout = 2 * self._timeout
        if parameters.ssl_options is not None:
            context = ssl.create_default_context(cafile=settings.ca_file)
            if settings.certificate:
                context.load_cert_chain(settings.certificate, settings.key)
                parameters.credentials = self._pika.credentials.ExternalCredentials()
            parameters.ssl_options = self._pika.SSLOptions(context, parameters.host)
        return parameters

    def _properties(self, told: Told, target: str) -> Any:
        """The message's id is the same in each try, so that a consumer can tell one that came twice."""
        users = {f"fedora_messaging_user_{name}": True for name in usernames(told)}
        return self._pika.BasicProperties(
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=_PERSISTENT,
            message_id=str(uuid5(NAMESPACE_URL, f"{target}/{told.event_id}/{told.at.isoformat()}")),
            headers={
                "fedora_messaging_schema": target,
                "fedora_messaging_severity": _SEVERITY_INFO,
                "sent-at": datetime.now(UTC).isoformat(timespec="seconds"),
                **users,
            },
        )
