"""Webhooks, signed as Standard Webhooks 1.0 says: any of its libraries can check them.

The signature is base64 of HMAC-SHA256 with the webhook's secret over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from mm_lib.model.outbox import Webhook
from mm_lib.outbox.message import Told, webhook_body
from mm_lib.outbox.sending import Down, Refused, SendError
from mm_lib.services.webhooks import SECRET_PREFIX
from mm_lib.settings import OutboxSettings

_GONE = 410
_PORTS = {"http": 80, "https": 443}


class WebhookSender:
    """Posts events. Connects only to the address that it looked at itself, and follows no redirect."""

    def __init__(self, settings: OutboxSettings, user_agent: str, clock: Callable[[], float] = time) -> None:
        self._settings = settings
        self._user_agent = user_agent
        self._clock = clock

    def send(self, told: Told, target: str, webhook: Webhook | None) -> None:
        """Post it; any 2xx says that it arrived. Raises SendError."""
        if webhook is None or not webhook.enabled:
            raise Refused(f"webhook {target} was removed or switched off")
        body = json.dumps(webhook_body(told), sort_keys=True).encode()
        id_, stamp = f"event_{told.event_id}", int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": self._user_agent,
            "Webhook-Id": id_,
            "Webhook-Timestamp": str(stamp),
            "Webhook-Signature": sign(webhook.secret, id_, stamp, body),
        }
        status = self._post(webhook, body, headers)
        if status == _GONE:
            raise Refused(f"{_shown(webhook.url)} answered 410: it is gone for good")
        if not 200 <= status < 300:
            raise SendError(f"{_shown(webhook.url)} answered {status}, which is no 2xx")

    def close(self) -> None:
        """Each connection was closed after its answer."""

    def _post(self, webhook: Webhook, body: bytes, headers: dict[str, str]) -> int:
        parts = urlsplit(webhook.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            # Only what administrators made may lead into our own network.
            address = _address(parts, private=webhook.site_id is None or self._settings.private_webhooks)
            with _pool(parts, address, self._settings.timeout, self._settings.ca_file) as pool:
                response = pool.urlopen(
                    "POST",
                    path or "/",
                    body=body,
                    headers={**headers, "Host": parts.netloc},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                )
                response.close()  # what it says besides its status is nobody's business
                return response.status
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise Down(f"{_shown(webhook.url)} cannot be reached: {error}") from error


def sign(secret: str, id_: str, stamp: int, body: bytes) -> str:
    """The value of the header Webhook-Signature."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _address(parts: SplitResult, *, private: bool) -> str:
    """The name's first address; one that only we can reach is refused unless it may be. Raises OSError, Refused."""
    found = socket.getaddrinfo(parts.hostname, parts.port or _PORTS[parts.scheme], type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    hidden = [address for address in addresses if not ip_address(address.partition("%")[0]).is_global]
    if hidden and not private:
        raise Refused(f"{parts.hostname} is {hidden[0]}, which is not a public address (outbox.private_webhooks)")
    return addresses[0]


def _pool(parts: SplitResult, address: str, timeout: float, ca_file: Path | None) -> HTTPConnectionPool:
    options: dict[str, Any] = {"timeout": urllib3.Timeout(connect=timeout, read=timeout), "maxsize": 1}
    port = parts.port or _PORTS[parts.scheme]
    if parts.scheme == "http":
        return HTTPConnectionPool(address, port, **options)
    options |= {"ca_certs": str(ca_file) if ca_file else None, "cert_reqs": "CERT_REQUIRED"}
    return HTTPSConnectionPool(address, port, server_hostname=parts.hostname, assert_hostname=parts.hostname, **options)


def _shown(url: str) -> str:
    """Without the query, in which receivers keep their secrets."""
    return url.partition("?")[0]
