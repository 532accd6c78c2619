"""What FTP mirrors do wrong: conversations that go as they should up to some command."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from tests.crawler.laboratory.raw import Conversation, hang, read_line

_USUAL = {
    "USER": "331 Any password will do",
    "PASS": "230 Welcome",
    "PWD": '257 "/" is where you are',
    "CWD": "250 There you are",
    "TYPE": "200 Binary",
    "SIZE": "213 4",
    "MDTM": "213 20260301000000",
    "REST": "350 Beginning there",
    "QUIT": "221 Bye",
}


def server(changed: Mapping[str, str], greeting: str = "220 Welcome") -> Conversation:
    """Replies as usual, but for these commands; an empty reply is none at all, for ever."""
    replies = {**_USUAL, **changed}

    def talk(connection: socket.socket) -> None:
        connection.sendall(f"{greeting}\r\n".encode())
        while True:
            command = read_line(connection).split()[0].decode().upper()
            reply = replies.get(command, "502 Never heard of it")
            if not reply:
                hang(connection)
            connection.sendall(f"{reply}\r\n".encode())

    return talk
