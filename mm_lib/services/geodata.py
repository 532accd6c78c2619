"""Country data: build an MMDB from Debian's tor-geoipdb, and say whose data is in use.

tor-geoipdb holds IPFire Location as text, one range a line: "first,last,CC" with addresses as integers (IPv4) or
written out (IPv6), "??" where the country is unknown. Its licence, CC BY-SA 4.0, asks to name the source.
"""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import maxminddb

from mm_lib.services.errors import ServiceError
from mm_lib.settings import GeoSettings

PACKAGE = "tor-geoipdb"
DATABASE_TYPE = "IPFire-Location-Country"  # geoip2's readers look for "Country" in it
MIN_RANGES = 100_000  # a real database has several times as many; fewer means that something went wrong
_CREDITS = {
    DATABASE_TYPE: "Country data: IPFire Location (https://location.ipfire.org/), CC BY-SA 4.0.",
    "GeoLite2": "This product includes GeoLite2 data created by MaxMind, available from https://www.maxmind.com.",
    "DBIP": "IP geolocation by DB-IP (https://db-ip.com/), CC BY 4.0.",
}


class GeodataError(ServiceError):
    """Country data cannot be fetched or built; the message says what to do."""


class Range(NamedTuple):
    """Addresses of one country, both ends included."""

    first: ipaddress.IPv4Address | ipaddress.IPv6Address
    last: ipaddress.IPv4Address | ipaddress.IPv6Address
    country: str


def fetch(directory: Path) -> tuple[Path, Path]:
    """Download Debian's package (apt checks its signature) and unpack it, without installing it. Two text files."""
    _run(directory, "apt-get", "download", PACKAGE)
    packages = sorted(directory.glob(f"{PACKAGE}_*.deb"))
    if not packages:
        raise GeodataError(f"apt-get downloaded no {PACKAGE} package.")
    _run(directory, "dpkg-deb", "-x", packages[-1].name, "unpacked")
    folder = directory / "unpacked/usr/share/tor"
    return folder / "geoip", folder / "geoip6"


def _run(directory: Path, *command: str) -> None:
    try:
        finished = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=600)
    except FileNotFoundError:
        raise GeodataError(
            f"{command[0]} is not there: this needs Debian or one of its kin, or --from FOLDER."
        ) from None
    except subprocess.TimeoutExpired:
        raise GeodataError(f"{command[0]} did not end within ten minutes.") from None
    if finished.returncode:
        said = finished.stderr.strip().splitlines()[-1:] or ["no message"]
        raise GeodataError(f"`{' '.join(command)}` failed: {said[0]}. `apt-get update` may help.")


def read_ranges(path: Path) -> Iterator[Range]:
    """The ranges with a known country. Raises GeodataError that names the line that cannot be understood."""
    with path.open(encoding="ascii", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            try:
                first, last, country = line.strip().split(",")
                found = Range(_address(first), _address(last), country)
            except ValueError:
                raise GeodataError(
                    f"{path}:{number}: not a range of addresses with a country: {line.strip()!r}"
                ) from None
            if re.fullmatch("[A-Z]{2}", country):
                yield found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(int(text)) if text.isdigit() else ipaddress.ip_address(text)


def build(ranges: Iterable[Range], output: Path, minimum: int, progress: Callable[[int], None]) -> int:
    """Write the MMDB beside its place and rename it there, because readers have it mapped. Returns how many
    ranges there were.

    `progress` is called with the number of countries that are in. Raises GeodataError when there are fewer ranges
    than `minimum`; then the old file stands.
    """
    # Imported here: only this command needs them, and they are slow to load.
    from mmdb_writer import MMDBWriter
    from netaddr import IPRange, IPSet

    countries: dict[str, list[IPRange]] = defaultdict(list)
    for first, last, country in ranges:
        countries[country].append(
            IPRange(int(first), int(last)) if first.version == 4 else IPRange(str(first), str(last))
        )
    count = sum(len(found) for found in countries.values())
    if count < minimum:
        raise GeodataError(f"Only {count} ranges; at least {minimum} were expected. The old file was left as it is.")
    writer = MMDBWriter(
        ip_version=6, ipv4_compatible=True, database_type=DATABASE_TYPE, description=_CREDITS[DATABASE_TYPE]
    )
    for done, (country, found) in enumerate(sorted(countries.items()), 1):
        writer.insert_network(IPSet(cidr for one in found for cidr in one.cidrs()), {"country": {"iso_code": country}})
        progress(done)
    _write(writer, output)
    return count


def _write(writer: object, output: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        writer.to_db_file(name)  # type: ignore[attr-defined]
        with maxminddb.open_database(name) as check:
            assert check.metadata().node_count > 0
        temporary.chmod(0o644)
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def attribution(settings: GeoSettings) -> str:
    """Whom the licences of the databases in use ask to name; empty when none does (iptocc's data asks nothing)."""
    due = []
    for path in (settings.country_database, settings.city_database, settings.asn_database):
        if path is None or not path.is_file():
            continue
        try:
            with maxminddb.open_database(path) as database:
                kind = database.metadata().database_type
        except (OSError, maxminddb.InvalidDatabaseError):
            continue  # whoever answers from it complains; a page's footer does not
        due += [text for prefix, text in _CREDITS.items() if kind.startswith(prefix)]
    return " ".join(dict.fromkeys(due))
