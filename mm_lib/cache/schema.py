"""What the mirrorlist cache holds: the only thing that the database side and the redirector share.

In memory the cache is the dataclasses below. On disk it is a pickle of plain tuples, lists and dicts, beside flat
buffers for what there is very much of (codec.py, table.py), so that reading one never needs a class and never makes an
object per directory. Hosts are numbered densely from 0: "host" in a field below means that number, and a set of hosts
("mask") is one int with bit n set for host n. Hosts of one country stand next to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SCHEMA_VERSION = 2

MIN_BANDWIDTH = 1
MAX_BANDWIDTH = 10_000


class Host(NamedTuple):
    """One mirror server; its position in MirrorlistCache.hosts is its number."""

    id: int  # host.id in the database
    name: str
    site: str  # name of the organisation that runs it
    country: str  # ISO 3166-1 alpha-2 in capitals, "" if unknown
    bandwidth: int  # Mbit/s, clamped to MIN_BANDWIDTH..MAX_BANDWIDTH: the weight in a draw
    private: bool  # the host or its site is private: served only by netblock or ASN
    max_connections: int
    latitude: float | None  # degrees
    longitude: float | None
    allowed_countries: tuple[str, ...]  # serves only clients from these countries; empty: from everywhere
    extra_countries: tuple[str, ...]  # counts as local in these countries too
    ipv4: bool | None = None  # reachable by IPv4; None: not known
    ipv6: bool | None = None


class Factors(NamedTuple):
    """What a host's bandwidth is multiplied by, each from 0 (never) to 1 (in full)."""

    health: float = 1.0  # how well crawls of it went lately
    slow_start: float = 1.0  # grows for a while after a host is new or has returned
    share: float = 1.0  # holds one host's share of its country down


class FileDetail(NamedTuple):
    """One version of an important file. A hash that is not known is ""."""

    timestamp: int  # Unix seconds
    size: int  # bytes
    md5: str
    sha1: str
    sha256: str
    sha512: str


# Why a host that carries a category in the registry is not in the cache, in words for its operator.
ABSENCES = {
    "site-waiting": "its site is new, and no administrator has approved it yet",
    "site-disabled": "its site is switched off",
    "owner-disabled": "its owner switched it off",
    "admin-disabled": "an administrator switched it off",
    "auto-disabled": "it was switched off after it could not be reached for long",
    "maintenance": "its owner works on it",
    "quarantined": "it could not be reached at the last crawl",
    "no-url": "it has no public URL for the category",
    "embargoed": "it stands in a country whose mirrors are not used",
}


class Absent(NamedTuple):
    """A host that carries the category in the registry and is in no answer."""

    name: str
    reason: str  # one of ABSENCES


@dataclass(slots=True)
class Category:
    """A tree that is mirrored as a unit, with everything in it that has an answer."""

    name: str
    topdir: str  # "" or a path without slash at either end, e.g. "pub/fedora/linux"
    urls: dict[int, tuple[str, ...]]  # host -> its public base URLs (for topdir), no trailing slash, best first
    directories: Mapping[str, int]  # full path, no slash at either end -> position in masks: who has it up to date
    files: Mapping[str, tuple[FileDetail, ...]]  # full path of the file -> its versions, newest first
    factors: dict[int, Factors] = field(default_factory=dict)  # host -> Factors; without an entry all are 1
    always_up_to_date: int = 0  # mask of the hosts that are served without a crawl
    reserved: dict[str, int] = field(default_factory=dict)  # directory -> the only hosts that may serve it
    absent: list[Absent] = field(default_factory=list)


@dataclass(slots=True)
class MirrorlistCache:
    """Everything that a redirector needs to answer. Inactive hosts and private URLs are not in it."""

    generated_at: int  # Unix seconds
    generation: int  # grows with every build
    hosts: list[Host] = field(default_factory=list)
    masks: Sequence[int] = field(default_factory=list)  # interned host sets; a directory names one by position
    categories: list[Category] = field(default_factory=list)  # the first category that has a path answers for it
    repositories: dict[tuple[str, str], tuple[int, str]] = field(
        default_factory=dict
    )  # (prefix, arch) -> (position in categories, directory path)
    disabled_repositories: list[tuple[str, str]] = field(default_factory=list)  # (prefix, arch) switched off
    repository_redirects: dict[str, str] = field(default_factory=dict)  # alias -> prefix (one hop)
    netblock_hosts: dict[str, int] = field(default_factory=dict)  # CIDR -> mask of hosts preferred for it
    location_hosts: dict[str, int] = field(default_factory=dict)  # location group -> mask of its hosts
    asn_hosts: dict[int, int] = field(default_factory=dict)  # ASN -> mask of hosts preferred for it
    country_continents: dict[str, str] = field(default_factory=dict)  # country -> continent, overrides applied
    netblock_countries: dict[str, str] = field(default_factory=dict)  # CIDR -> country, overrides GeoIP
    embargoed_countries: list[str] = field(default_factory=list)
    # What a file that was converted into a cache held and no answer depends on, kept for the way back; see
    # mm_lib.publish.protobuf. Redirectors leave it alone.
    carried_over: dict[str, Any] = field(default_factory=dict)
