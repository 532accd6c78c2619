"""What the mirrorlist cache holds: the only thing that the database side and the redirector share.

In memory the cache is the dataclasses below; on disk it is the same values as plain tuples, lists and
dicts (codec.py), so that reading one never needs a class. Hosts are numbered densely from 0: "host" in a
field below means that number, and a set of hosts ("mask") is one int with bit n set for host n.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

SCHEMA_VERSION = 1

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


class FileDetail(NamedTuple):
    """One version of an important file. A hash that is not known is ""."""

    timestamp: int  # Unix seconds
    size: int  # bytes
    md5: str
    sha1: str
    sha256: str
    sha512: str


@dataclass(slots=True)
class Category:
    """A tree that is mirrored as a unit, with everything in it that has an answer."""

    name: str
    topdir: str  # "" or a path without slash at either end, e.g. "pub/fedora/linux"
    urls: dict[int, tuple[str, ...]]  # host -> its public base URLs (for topdir), no trailing slash, best first
    directories: dict[str, int]  # full path, no slash at either end -> position in masks: who has it up to date
    files: dict[str, dict[str, tuple[FileDetail, ...]]]  # directory path -> file name -> versions, newest first


@dataclass(slots=True)
class MirrorlistCache:
    """Everything that a redirector needs to answer. Inactive hosts and private URLs are not in it."""

    generated_at: int  # Unix seconds
    generation: int  # grows with every build
    hosts: list[Host] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)  # interned host sets; a directory names one by position
    categories: list[Category] = field(default_factory=list)  # the first category that has a path answers for it
    repositories: dict[tuple[str, str], tuple[int, str]] = field(
        default_factory=dict
    )  # (prefix, arch) -> (position in categories, directory path)
    disabled_repositories: list[tuple[str, str]] = field(default_factory=list)  # (prefix, arch) switched off
    repository_redirects: dict[str, str] = field(default_factory=dict)  # alias -> prefix (one hop)
    netblock_hosts: dict[str, int] = field(default_factory=dict)  # CIDR -> mask of hosts preferred for it
    asn_hosts: dict[int, int] = field(default_factory=dict)  # ASN -> mask of hosts preferred for it
    country_continents: dict[str, str] = field(default_factory=dict)  # country -> continent, overrides applied
    netblock_countries: dict[str, str] = field(default_factory=dict)  # CIDR -> country, overrides GeoIP
    embargoed_countries: list[str] = field(default_factory=list)
