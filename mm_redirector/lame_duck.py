"""How a server stops without losing a connection that a client already has.

The kernel takes connections on a server's behalf and queues them. Those that still wait when the last handle of the
listening socket is closed are reset, and neither granian nor gunicorn empties the queue. So before the workers are
told to end, the socket stops taking new connections, and the workers, which go on, get the time to answer the rest.
A client that comes too late hears nothing and tries again a second later: it finds the next server, or is refused.
"""

from __future__ import annotations

import socket
import struct
import time
from array import array
from collections.abc import Iterable

QUIET = 0.2  # seconds that the queue must be empty: a client that got through sends its request meanwhile
PATIENCE = 3.0  # seconds that it may take in all

_ATTACH_FILTER = 26  # SO_ATTACH_FILTER of asm-generic/socket.h
# Classic BPF: (code, jump if true, jump if false, value); a filter of a TCP socket sees the packet from the TCP header.
_NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x45, 0, 1, 0x02),  # SYN?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # take it
)
_QUEUED = 24  # tcpi_unacked of struct tcp_info: for a listening socket, how many wait to be accepted


def retire(listeners: Iterable[socket.socket]) -> None:
    """Take no more connections, and come back when those that wait were accepted."""
    remaining = [listener for listener in listeners if _close_door(listener)]
    now = time.monotonic()
    end, quiet_since = now + PATIENCE, now
    while remaining and (now := time.monotonic()) < end and now - quiet_since < QUIET:
        if any(_queued(listener) for listener in remaining):
            quiet_since = now
        time.sleep(0.01)


def _close_door(listener: socket.socket) -> bool:
    """False where the kernel cannot: then connections that wait are lost, as with any other server."""
    program = array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), program.buffer_info()[0])
        )
    except OSError:
        return False
    return True


def _queued(listener: socket.socket) -> int:
    data = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED + 4)
    (number,) = struct.unpack_from("I", data, _QUEUED)
    return int(number)
