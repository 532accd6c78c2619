"""Hosts, and what belongs to them but for what they carry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mm_lib.importers import countries
from mm_lib.importers.mirrormanager2.people import state
from mm_lib.importers.mirrormanager2.source import MAX_INTEGER, Source, flag, moment, number, text
from mm_lib.importers.mirrormanager2.writer import Ids, Keys, Values, Writer
from mm_lib.importers.report import Report
from mm_lib.model.base import Base
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    DirectoryHost,
    Host,
    HostAclAddress,
    HostAsn,
    HostCountry,
    HostLocation,
    HostNetblock,
    Location,
)
from mm_lib.rules.netblocks import parse_netblock
from mm_lib.services.content import clean_email
from mm_lib.services.errors import InvalidValue
from mm_lib.services.hosts import MAX_BANDWIDTH

_MAX_ASN = 4294967295
_COLUMNS = (
    "id", "name", "site_id", "robot_email", "admin_active", "user_active", "country", "bandwidth_int", "comment",
    "last_checked_in", "last_crawled", "private", "asn", "asn_clients", "max_connections", "last_crawl_duration",
    "disable_reason", "latitude", "longitude",
)  # fmt: skip


def take(source: Source, writer: Writer, sites: Ids) -> dict[int, int]:
    """All hosts: number in the source -> ours."""
    met = Keys(writer.report, "host")
    rows = {}
    for row in source.rows("host", *_COLUMNS):
        values = _host(row, sites, met, writer.report)
        if values is not None:
            rows[row.id] = values
    _keep_newer(writer, rows.values())
    writer.put("host", Host, ["site_id", "name"], rows.values())
    found = writer.ids(Host, "site_id", "name")
    return {id_: found[row["site_id"], row["name"]] for id_, row in rows.items()}


def _keep_newer(writer: Writer, rows: Iterable[Values]) -> None:
    """What we saw ourselves since is not older because the source has not seen it."""
    times = ("last_checked_in_at", "last_crawled_at", "last_crawl_seconds")
    known = {(site, name): seen for site, name, *seen in writer.known(Host, "site_id", "name", *times)}
    for row in rows:
        checked_in, crawled, seconds = known.get((row["site_id"], row["name"]), (None, None, None))
        if checked_in and (not row["last_checked_in_at"] or row["last_checked_in_at"] < checked_in):
            row["last_checked_in_at"] = checked_in
        if crawled and (not row["last_crawled_at"] or row["last_crawled_at"] < crawled):
            row["last_crawled_at"], row["last_crawl_seconds"] = crawled, seconds


def _host(row: Any, sites: Ids, met: Keys, report: Report) -> Values | None:
    where, name = f"host {row.id}", text(row.name)[:230] or f"host {row.id}"
    site = sites.get(row.site_id)
    if site is None:
        report.refused("host", where, name, "its site is not there")
        return None
    if (site, name) in met:
        name = f"{name} ({row.id})"
    if name != row.name:
        report.repaired("host", where, name, f"its name was {row.name!r}")
    met[site, name] = where
    latitude, longitude = _place(row, name, report)
    return {
        "site_id": site,
        "name": name,
        "country": country(row.country, where, name, report) if row.country else None,
        "bandwidth_mbps": _size(row.bandwidth_int, 100, MAX_BANDWIDTH, ("host.bandwidth_int", where, name), report),
        "max_connections": _size(row.max_connections, 1, MAX_INTEGER, ("host.max_connections", where, name), report),
        "private": flag(row.private),
        "asn_clients": flag(row.asn_clients, True),
        "latitude": latitude,
        "longitude": longitude,
        "comment": str(row.comment or "").replace("\0", "").strip(),
        "robot_email": _robot(row, name, report),
        "last_checked_in_at": moment(row.last_checked_in),
        "last_crawled_at": moment(row.last_crawled),
        "last_crawl_seconds": row.last_crawl_duration,
        **state(row.admin_active, row.user_active, text(row.disable_reason)),
    }


def _size(value: object, default: int, most: int, place: tuple[str, str, str], report: Report) -> int:
    found = number(value, default, most)
    if value is not None and found != value:
        report.repaired(*place, f"was {value}; taken as {default}")
    return found


def _place(row: Any, name: str, report: Report) -> tuple[float | None, float | None]:
    latitude, longitude = row.latitude, row.longitude
    if latitude is None and longitude is None:
        return None, None
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        report.refused("host.latitude", f"host {row.id}", name, f"{latitude}, {longitude} is no place on Earth")
        return None, None
    return float(latitude), float(longitude)


def _robot(row: Any, name: str, report: Report) -> str:
    address = str(row.robot_email or "").strip()
    try:
        return clean_email("robot_email", address) if address else ""
    except InvalidValue as error:
        report.refused("host.robot_email", f"host {row.id}", name, f"{address}: {error.message}")
        return ""


def country(given: object, where: str, subject: str, report: Report) -> str | None:
    """The code of a country."""
    found = countries.find(str(given))
    if found.code is None:
        report.refused("country", where, subject, f"no country is known as {str(given)[:60]!r}")
    elif found.note:
        report.repaired("country", where, subject, found.note)
    return found.code


# -- what belongs to a host


def take_details(source: Source, writer: Writer, hosts: Ids) -> None:
    """Networks, systems, countries, addresses and locations."""
    details = _Details(source, writer, hosts)
    details.take("host_acl_ip", ("ip",), HostAclAddress, ["host_id", "address"], _acl)
    details.take("host_netblock", ("netblock", "name"), HostNetblock, ["host_id", "netblock"], _netblock)
    details.take_asns()
    details.take_countries()
    details.take_locations()


class _Details:
    def __init__(self, source: Source, writer: Writer, hosts: Ids) -> None:
        self._source, self._writer, self._hosts, self._report = source, writer, hosts, writer.report

    def take(
        self,
        table: str,
        columns: tuple[str, ...],
        model: type[Base],
        key: list[str],
        read: Callable[[Any, str, Report], Values | None],
    ) -> None:
        """Rows of a host, each by itself."""
        met, rows = Keys(self._report, table), []
        for row in self._source.rows(table, "id", "host_id", *columns):
            where, host = f"{table} {row.id}", self._host(table, row)
            values = read(row, where, self._report) if host else None
            if host and values and met.free((host, values[key[1]]), where, str(row[2])):
                rows.append({"host_id": host, **values})
        self._writer.put(table, model, key, rows)

    def _host(self, table: str, row: Any) -> int | None:
        host = self._hosts.get(row.host_id)
        if host is None:
            self._report.refused(table, f"{table} {row.id}", str(row[2]), "its host is not there")
        return host

    def take_asns(self) -> None:
        """A host's own system, and those of its peers. One that is both is its own."""
        met, rows = Keys(self._report, "host_peer_asn"), []
        for row in self._source.rows("host", "id", "asn", "name"):
            where, host = f"host {row.id}", self._hosts.get(row.id)
            if host and row.asn is not None and _is_asn(row.asn, "host.asn", where, row.name, self._report):
                met[host, row.asn] = where
                rows.append({"host_id": host, "asn": row.asn, "kind": AsnKind.OWN, "name": ""})
        self._writer.put("host.asn", HostAsn, ["host_id", "asn"], rows)
        rows = []
        for row in self._source.rows("host_peer_asn", "id", "host_id", "asn", "name"):
            where, host = f"host_peer_asn {row.id}", self._host("host_peer_asn", row)
            good = host and _is_asn(row.asn, "host_peer_asn", where, text(row.name), self._report)
            if good and met.free((host, row.asn), where, f"AS{row.asn}"):
                rows.append({"host_id": host, "asn": row.asn, "kind": AsnKind.PEER, "name": text(row.name)})
        self._writer.put("host_peer_asn", HostAsn, ["host_id", "asn"], rows)

    def take_countries(self) -> None:
        """Countries whose clients a host is limited to, and those where it counts as local."""
        names = {row.id: row.code for row in self._source.rows("country", "id", "code")}
        for table, column, kind in (
            ("host_country_allowed", "country", CountryKind.ALLOWED),
            ("host_country", "country_id", CountryKind.EXTRA),
        ):
            met, rows = Keys(self._report, table), []
            for row in self._source.rows(table, "id", "host_id", column):
                where, host = f"{table} {row.id}", self._host(table, row)
                given = row[2] if kind is CountryKind.ALLOWED else names.get(row[2])
                code = country(given, where, str(given), self._report) if host else None
                if host and code and met.free((host, code), where, code):
                    rows.append({"host_id": host, "country": code, "kind": kind})
            self._writer.put(table, HostCountry, ["host_id", "country", "kind"], rows)

    def take_locations(self) -> None:
        """Groups of hosts, with their hosts."""
        names = {row.id: text(row.name)[:255] for row in self._source.rows("location", "id", "name") if text(row.name)}
        self._writer.put("location", Location, ["name"], [{"name": name} for name in sorted(set(names.values()))])
        ids = self._writer.ids(Location, "name")
        met, rows = Keys(self._report, "host_location"), []
        for row in self._source.rows("host_location", "id", "host_id", "location_id"):
            where, host, name = f"host_location {row.id}", self._host("host_location", row), names.get(row.location_id)
            if host and name is None:
                self._report.refused("host_location", where, "", "its location is not there")
            elif host and name and met.free((host, name), where, name):
                rows.append({"location_id": ids[(name,)], "host_id": host})
        self._writer.put("host_location", HostLocation, ["location_id", "host_id"], rows)


def _acl(row: Any, where: str, report: Report) -> Values | None:
    if address := text(row.ip):
        return {"address": address[:255]}
    report.refused("host_acl_ip", where, "", "is empty")
    return None


def _netblock(row: Any, where: str, report: Report) -> Values | None:
    try:
        found = parse_netblock(str(row.netblock or ""))
    except ValueError as error:
        report.refused("host_netblock", where, text(row.name), str(error))
        return None
    if found.text != row.netblock:
        report.repaired("host_netblock", where, text(row.name), f"{row.netblock} is {found.text}")
    bounds = {"family": found.family, "first_address": found.first, "last_address": found.last}
    return {"netblock": found.text, "name": text(row.name), **bounds}


def _is_asn(value: object, kind: str, where: str, subject: str, report: Report) -> bool:
    if isinstance(value, int) and 1 <= value <= _MAX_ASN:
        return True
    report.refused(kind, where, subject, f"{value} is no AS number")
    return False


def take_reserved(source: Source, writer: Writer, hosts: Ids, directories: Ids) -> None:
    """Directories that only some hosts may serve."""
    table = "directory_exclusive_host"
    met, rows = Keys(writer.report, table), []
    for row in source.rows(table, "id", "directory_id", "host_id"):
        where, pair = f"{table} {row.id}", (directories.get(row.directory_id), hosts.get(row.host_id))
        if None in pair:
            writer.report.refused(table, where, "", "its directory or host is not there")
        elif met.free(pair, where, ""):
            rows.append({"directory_id": pair[0], "host_id": pair[1]})
    writer.put(table, DirectoryHost, ["directory_id", "host_id"], rows)
