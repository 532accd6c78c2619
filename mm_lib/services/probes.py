"""How the world is asked about a mirror: DNS, GeoIP and ASN databases, and the certificate that a server shows."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import maxminddb

from mm_lib.geo_records import asn_of, country_of, place_of
from mm_lib.services.doctor import CertificateError, Probes
from mm_lib.services.errors import ServiceError
from mm_lib.services.locating import Lookups
from mm_lib.settings import GeoSettings


class DatabaseUnusable(ServiceError):
    """A GeoIP or ASN database is named in the settings and cannot be read."""


def make(geo: GeoSettings, ca_file: Path | None, timeout: float) -> Probes:
    """Probes by the settings. Raises DatabaseUnusable. Where no database is named, nothing is known."""
    countries, asns = _lookup(geo.country_database or geo.city_database), _lookup(geo.asn_database)
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    return Probes(
        resolve=resolve,
        country=lambda address: country_of(countries(address)),
        asn=lambda address: asn_of(asns(address)),
        certificate=lambda name, port: certificate(name, port, context, timeout),
    )


def resolve(name: str) -> list[str]:
    """All addresses of a DNS name."""
    try:
        return sorted({str(answer[4][0]) for answer in socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)})
    except (OSError, UnicodeError):
        return []


def certificate(name: str, port: int, context: ssl.SSLContext, timeout: float) -> datetime:
    """When the certificate of a server ends. Raises CertificateError when no client would believe it."""
    try:
        with (
            socket.create_connection((name, port), timeout) as connection,
            context.wrap_socket(connection, server_hostname=name) as secure,
        ):
            shown = secure.getpeercert()
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(error.verify_message) from None
    except OSError as error:
        raise CertificateError(f"no TLS connection: {error.strerror or error}") from None
    assert shown  # the context verifies, so there is one
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC)


def _lookup(path: Path | None) -> Callable[[str], Mapping[str, Any]]:
    if path is None:
        return lambda _: {}
    try:
        database = maxminddb.open_database(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise DatabaseUnusable(f"{path} cannot be used: {error}") from None

    def lookup(address: str) -> Mapping[str, Any]:
        try:
            record = database.get(address)
        except ValueError:  # an IPv6 address with a zone, or one of a kind that the database lacks
            return {}
        return record if isinstance(record, dict) else {}

    return lookup


def places(geo: GeoSettings) -> Lookups:
    """Addresses to cities and autonomous systems. Raises DatabaseUnusable."""
    cities, asns = _lookup(geo.city_database), _lookup(geo.asn_database)
    return Lookups(resolve, lambda address: place_of(cities(address)), lambda address: asn_of(asns(address)))


def countries(geo: GeoSettings) -> Callable[[str], str]:
    """Address -> country, by what redirectors with these settings would say. Raises DatabaseUnusable."""
    database = geo.country_database or geo.city_database
    if database is not None:
        found = _lookup(database)
        return lambda address: country_of(found(address))
    try:
        from iptocc import country_code  # an extra, and half a megabyte of tables
    except ImportError:
        return lambda _: ""
    return (lambda address: country_code(address) or "") if geo.embedded else (lambda _: "")
