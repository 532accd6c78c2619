"""Countries and autonomous systems of addresses: MMDB files, memory-mapped; iptocc where there is no such file.

A database must be replaced by rename: a mapped file that is truncated in place kills the process (SIGBUS).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import maxminddb

from mm_lib.cache.file import Stamp, stamp
from mm_lib.geo_records import asn_of, country_of, place_of
from mm_lib.settings import GeoSettings

logger = logging.getLogger(__name__)

_ERRORS = (OSError, ValueError, maxminddb.InvalidDatabaseError)


class Database:
    """One MMDB file, opened again when it was replaced; without a usable file nothing is known."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.stem
        self._seen: Stamp | None = None
        self._get: Callable[[str], Any] | None = None
        self.usable = False  # a readable file was found at least once
        self._complaint = ""
        self.built: int | None = None  # seconds since the epoch; of the file in use
        self.refresh()

    def refresh(self) -> None:
        """Open the file if it is another one than last time. One that cannot be read is reported once."""
        try:
            seen = stamp(self._path)
            if self._get is not None and seen in (self._seen, None):
                return  # nothing new; a file that vanished goes on living in memory
            if seen is None:
                raise FileNotFoundError(f"{self._path} does not exist")
            if seen != self._seen:
                self._seen = seen
                # The old reader is not closed here: a request may be using it. Its last user drops it.
                reader = maxminddb.open_database(self._path, maxminddb.MODE_MMAP_EXT)
                self._get, self.built = reader.get, reader.metadata().build_epoch
                self.usable = True
                logger.info("opened %s", self._path)
        except _ERRORS as error:
            self._complain(error)

    def get(self, address: str) -> Mapping[str, Any]:
        """The record of an address; empty if there is none."""
        get = self._get
        if get is None:
            return {}
        try:
            record = get(address)
        except _ERRORS as error:
            self._complain(error)
            return {}
        return record if type(record) is dict else {}

    def _complain(self, error: Exception) -> None:
        complaint = str(error)
        if complaint != self._complaint:
            self._complaint = complaint
            logger.warning("the database %s cannot be used: %s", self._path, complaint)


class GeoData:
    """All sources together, as location.GeoSource wants them."""

    def __init__(self, settings: GeoSettings) -> None:
        # A city database knows countries as well; it is asked where there is no country database.
        files = [path for path in (settings.country_database, settings.city_database) if path]
        self._countries = [Database(path) for path in files]
        self._city = self._countries[-1] if settings.city_database else None
        self._asn = Database(settings.asn_database) if settings.asn_database else None
        self._embedded = _embedded() if settings.embedded else None

    def country(self, address: str) -> str:
        """ISO code in capitals; "" if unknown."""
        for database in self._countries:
            if database.usable:
                return country_of(database.get(address))
        return (self._embedded(address) or "") if self._embedded else ""

    def place(self, address: str) -> tuple[float, float] | None:
        """Latitude and longitude in degrees of the client's city; None where only the country is known."""
        return place_of(self._city.get(address)) if self._city else None

    def asn(self, address: str) -> int | None:
        """The autonomous system that announces the address."""
        return asn_of(self._asn.get(address)) if self._asn else None

    def refresh(self) -> None:
        """Open the databases that were replaced."""
        for database in self._databases():
            database.refresh()

    def built(self) -> dict[str, int]:
        """When each database that is in use was built, by the name of its file."""
        return {database.name: database.built for database in self._databases() if database.built is not None}

    def _databases(self) -> list[Database]:
        return [*self._countries, *([self._asn] if self._asn else [])]


def _embedded() -> Callable[[str], str | None]:
    from iptocc import country_code  # half a megabyte of tables: only where they are used

    def lookup(address: str) -> str | None:
        code: str | None = country_code(address)
        return code

    return lookup
