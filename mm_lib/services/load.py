"""Which public mirrors carry the load, beside the bandwidth that they say they have."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.hosts import AsnKind, Host, HostAsn
from mm_lib.services.world import of_public


class By(StrEnum):
    """What mirrors are gathered by."""

    HOST = "hosts"
    COUNTRY = "countries"
    ASN = "asns"


class _Host(NamedTuple):
    id: int
    name: str
    country: str
    bandwidth: int


@dataclass(frozen=True)
class Row:
    """A mirror, or those of a country or of an autonomous system."""

    name: str  # empty: not known
    host_id: int | None  # of one mirror
    mirrors: int
    requests: int  # answered with it in the first place
    share: float  # of the requests that were answered with any public mirror first
    bandwidth_mbps: int
    bandwidth_share: float  # of what all public mirrors have

    @property
    def ratio(self) -> float:
        """How much more it is asked for than its bandwidth would have it; 1: just so much."""
        return self.share / self.bandwidth_share


@dataclass(frozen=True)
class Load:
    """All of them."""

    rows: tuple[Row, ...]  # most requests first
    requests: int
    bandwidth_mbps: int
    others: int  # requests that went to mirrors that are private, gone, or share their name with another


def load(session: Session, requests: Mapping[str, int], by: By) -> Load:
    """`requests`: how often each mirror was offered first, by name."""
    hosts = [_Host(id_, name, country or "", mbps) for id_, name, country, mbps in session.execute(_HOSTS)]
    everywhere = Counter(session.scalars(select(Host.name).where(Host.name.in_({host.name for host in hosts}))))
    asked = {host.id: requests.get(host.name, 0) for host in hosts if everywhere[host.name] == 1}
    total, bandwidth = sum(asked.values()), sum(host.bandwidth for host in hosts)
    groups: dict[tuple[str, int | None], list[_Host]] = defaultdict(list)
    keys = _keys(session, by)
    for host in hosts:
        for key in keys(host):
            groups[key].append(host)
    rows = []
    for (name, host_id), members in groups.items():
        number, width = sum(asked.get(host.id, 0) for host in members), sum(host.bandwidth for host in members)
        share = number / total if total else 0.0
        rows.append(Row(name, host_id, len(members), number, share, width, width / bandwidth))
    rows.sort(key=lambda row: (-row.requests, row.name, row.host_id or 0))
    return Load(tuple(rows), total, bandwidth, sum(requests.values()) - total)


_HOSTS = of_public(Host.id, Host.name, Host.country, Host.bandwidth_mbps).distinct()


def _keys(session: Session, by: By) -> Callable[[_Host], list[tuple[str, int | None]]]:
    """Under what a mirror counts; one of several autonomous systems counts in each."""
    if by is By.HOST:
        return lambda host: [(host.name, host.id)]
    if by is By.COUNTRY:
        return lambda host: [(host.country, None)]
    systems: dict[int, list[tuple[str, int | None]]] = defaultdict(list)
    query = select(HostAsn.host_id, HostAsn.asn).where(HostAsn.kind == AsnKind.OWN).order_by(HostAsn.asn)
    for host_id, asn in session.execute(query):
        systems[host_id].append((f"AS{asn}", None))
    return lambda host: systems.get(host.id) or [("", None)]
