"""The autonomous systems of clients, where the log does not tell them: a database of networks at hand does."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path

import maxminddb

from mm_lib.geo_records import asn_of
from mm_lib.statistics.lines import system_name

MOST_NETWORKS = 80_000  # that a process remembers, twice; 15 MB

logger = logging.getLogger(__name__)

_ERRORS = (OSError, ValueError, maxminddb.InvalidDatabaseError)


class Systems(dict[bytes, bytes]):
    """By the client as in lines.Columns; empty: not known. Those that were seen lately are remembered."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._database = maxminddb.open_database(path)
        self._before: dict[bytes, bytes] = {}  # until there were too many; who comes often is taken over from there

    def __missing__(self, text: bytes) -> bytes:
        if len(self) >= MOST_NETWORKS:
            self._before = dict(self)
            self.clear()
        name = self._before.get(text)
        self[text] = name = self._find(text) if name is None else name
        return name

    def _find(self, text: bytes) -> bytes:
        address = text.decode("ascii", "replace").removeprefix("::ffff:")  # not every database has these as IPv4
        try:
            record = self._database.get(f"{address}0" if address.endswith(".") else address)
        except _ERRORS:  # no address
            return b""
        if not isinstance(record, dict):
            return b""
        number = asn_of(record)
        return b"" if number is None else _name(number)


@lru_cache(1 << 17)
def _name(number: int) -> bytes:
    """One object for all that have it."""
    return system_name(number).encode()


def opened(path: Path | None) -> Systems | None:
    """None: there is no database, or none that can be read. Requests are counted all the same."""
    if path is None:
        return None
    try:
        return Systems(path)
    except _ERRORS as error:
        logger.warning("the database %s (geo.asn_database) cannot be used: %s", path, error)
        return None
