"""What every way of sending shares: how it says that it did not work."""

from __future__ import annotations

from typing import Protocol

from mm_lib.model.outbox import Webhook
from mm_lib.outbox.message import Told


class SendError(Exception):
    """It was not sent; the message says why. Without more it is tried again later."""

    final = False  # no further try would help
    down = False  # nothing else can be sent there now, either


class Refused(SendError):
    """The receiver says that it will never take this."""

    final = True


class Down(SendError):
    """The server cannot be reached or used: whatever else waits for it waits on."""

    down = True


class Sender(Protocol):
    """Sends one event to one receiver. Raises SendError."""

    def send(self, told: Told, target: str, webhook: Webhook | None) -> None:
        """Send it; it has arrived when this returns."""

    def close(self) -> None:
        """No more is sent."""
