"""A small world for the redirector's tests, and a client that asks for answers in it.

The cast, by number; up to date in os/ unless it says otherwise:

    SWEDE    SE  https and http      DANE     DK  http is listed before https
    GERMAN   DE  https               BERLINER DE  three times the bandwidth of GERMAN
    AUSTRIAN AT  serves only clients from AT and DE
    CZECH    CZ  counts as local in PL too
    YANK     US  https               JAPANESE JP  rsync only
    CAMPUS   SE  private; claims 10.1.0.0/16 and 2001:db8:1::/48
    LAB      SE  private; claims 10.1.2.0/24 and AS 1221
    STALE    SE  not up to date in os/
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from mm_redirector.app import Application
from mm_redirector.index import Index, build
from mm_redirector.settings import CLASSIC, Policy

SWEDE, DANE, GERMAN, BERLINER, AUSTRIAN, CZECH, YANK, JAPANESE, CAMPUS, LAB, STALE = range(11)

IN_SWEDEN, IN_GERMANY, IN_FRANCE, IN_POLAND = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
IN_AMERICA, IN_JAPAN, IN_CHINA, IN_ANTARCTICA, NOWHERE = "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8", "192.0.2.9"

TOP = "pub/fedora/linux"
OS = f"{TOP}/releases/44/x86_64/os"
REPODATA = f"{OS}/repodata"
GENERATED_AT = 1_790_000_000
NOW = 1_795_390_175  # Sun, 22 Nov 2026 23:29:35 GMT

NEWEST = FileDetail(1767222000, 6822, "a" * 32, "b" * 40, "c" * 64, "d" * 128)
OLDER = FileDetail(1767135600, 3408, "1" * 32, "2" * 40, "3" * 64, "4" * 128)
MD5_ONLY = FileDetail(1767000000, 3000, "9" * 32, "", "", "")


def mask(*hosts: int) -> int:
    return sum(1 << host for host in hosts)


def host(number: int, country: str, bandwidth: int = 1000, **other: Any) -> Host:
    values: dict[str, Any] = {"private": False, "allowed_countries": (), "extra_countries": ()}
    values |= other
    return Host(
        number, f"host{number}", f"site{number}", country, bandwidth, max_connections=10, latitude=None, longitude=None,
        **values,
    )  # fmt: skip


def urls(name: str, *schemes: str, top: str = TOP) -> tuple[str, ...]:
    return tuple(f"{scheme}://{name}.example/{top}" for scheme in schemes)


def cast() -> list[Host]:
    return [
        host(SWEDE, "SE"),
        host(DANE, "DK"),
        host(GERMAN, "DE", 100),
        host(BERLINER, "DE", 300),
        host(AUSTRIAN, "AT", allowed_countries=("AT", "DE")),
        host(CZECH, "CZ", extra_countries=("PL",)),
        host(YANK, "US"),
        host(JAPANESE, "JP"),
        host(CAMPUS, "SE", private=True),
        host(LAB, "SE", private=True),
        host(STALE, "SE"),
    ]


def fedora() -> Category:
    base = {
        SWEDE: urls("swede", "https", "http"),
        DANE: urls("dane", "http", "https"),
        GERMAN: urls("german", "https"),
        BERLINER: urls("berliner", "https", "rsync"),
        AUSTRIAN: urls("austrian", "https"),
        CZECH: urls("czech", "http", "ftp"),
        YANK: urls("yank", "https"),
        JAPANESE: urls("japanese", "rsync"),
        CAMPUS: urls("campus", "http"),
        LAB: urls("lab", "http"),
        STALE: urls("stale", "https"),
    }
    directories = {
        OS: 0,
        REPODATA: 0,
        TOP: 1,
        f"{TOP}/updates/44/x86_64": 0,
        f"{TOP}/bare": 0,
        f"{TOP}/bare/repodata": 0,
    }
    directories |= {f"{TOP}/nothing": 0, f"{TOP}/only-japan": 2, f"{TOP}/old/repodata": 0, f"{TOP}/images": 0}
    directories |= {f"{TOP}/lagging": 1, f"{TOP}/lagging/repodata": 0}  # one mirror has old metadata
    files = {
        f"{REPODATA}/repomd.xml": (NEWEST, MD5_ONLY, OLDER),
        f"{TOP}/old/repodata/repomd.xml": (MD5_ONLY, OLDER),
        f"{TOP}/only-japan/a.iso": (NEWEST,),
        f"{TOP}/images/a.iso": (NEWEST,),
        f"{TOP}/images/R&D <1>.iso": (NEWEST,),
    }
    return Category("Fedora Linux", TOP, base, directories, files)


def debian() -> Category:
    """A category without a top directory."""
    return Category("Debian", "", {SWEDE: ("https://swede.example/debian",)}, {"": 3, "dists/trixie": 3}, {})


def world(**changes: Any) -> MirrorlistCache:
    values: dict[str, Any] = {
        "generated_at": GENERATED_AT,
        "generation": 7,
        "hosts": cast(),
        "masks": [mask(*range(STALE)), mask(*range(STALE + 1)), mask(JAPANESE), mask(SWEDE)],
        "categories": [fedora(), debian()],
        "repositories": {
            ("fedora-44", "x86_64"): (0, OS),
            ("fedora-source-44", "source"): (0, OS),
            ("already-repodata", "x86_64"): (0, REPODATA),
            ("updates-44", "x86_64"): (0, f"{TOP}/updates/44/x86_64"),
            ("lagging", "x86_64"): (0, f"{TOP}/lagging"),
            ("bare", "x86_64"): (0, f"{TOP}/bare"),
            ("old", "x86_64"): (0, f"{TOP}/old/repodata"),
            ("libstdc++", "x86_64"): (0, OS),
            ("off", "x86_64"): (0, OS),
        },
        "disabled_repositories": [("off", "x86_64")],
        "repository_redirects": {"rawhide": "fedora-44", "twice": "rawhide", "alias-of-off": "off"},
        "netblock_hosts": {
            "10.1.0.0/16": mask(CAMPUS),
            "10.1.2.0/24": mask(LAB),
            "2001:db8:1::/48": mask(CAMPUS),
            "203.0.113.0/24": mask(YANK, GERMAN),
            "not a network": mask(SWEDE),
        },
        "asn_hosts": {1221: mask(LAB), 99: mask(STALE)},
        "country_continents": {
            "SE": "EU", "DK": "EU", "DE": "EU", "AT": "EU", "CZ": "EU", "FR": "EU", "PL": "EU", "US": "NA", "JP": "AS",
            "CN": "AS", "AQ": "AN",
        },
        "netblock_countries": {"198.51.100.0/24": "DE", "198.51.100.128/25": "JP"},
        "embargoed_countries": ["KP"],
    }  # fmt: skip
    return MirrorlistCache(**(values | changes))


@dataclass
class Atlas:
    """Knows countries and autonomous systems of a few addresses."""

    countries: dict[str, str] = field(
        default_factory=lambda: {
            IN_SWEDEN: "SE", IN_GERMANY: "DE", IN_FRANCE: "FR", IN_POLAND: "PL", IN_AMERICA: "US", IN_JAPAN: "JP",
            IN_CHINA: "CN", IN_ANTARCTICA: "AQ",
        }
    )  # fmt: skip
    places: dict[str, tuple[float, float]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=lambda: {"203.0.113.9": 99, "172.16.0.1": 1221, "10.1.2.9": 1221})

    def country(self, address: str) -> str:
        return self.countries.get(address, "")

    def place(self, address: str) -> tuple[float, float] | None:
        return self.places.get(address)

    def asn(self, address: str) -> int | None:
        return self.numbers.get(address)


@dataclass(frozen=True)
class Answer:
    """What a client received."""

    status: int
    headers: dict[str, str]
    body: bytes
    lines: tuple[tuple[str, str], ...] = ()  # the headers, also those that occur more than once

    @property
    def text(self) -> str:
        return self.body.decode()

    def every(self, name: str) -> list[str]:
        """The values of a header that may occur more than once."""
        return [value for header, value in self.lines if header == name]

    @property
    def comment(self) -> str:
        return self.text.splitlines()[0]

    @property
    def urls(self) -> list[str]:
        return [line for line in self.text.splitlines() if not line.startswith("#")]


Ask = Callable[..., Answer]


def environment(url: str, address: str, method: str, headers: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(parts.path).decode("latin-1"),
        "QUERY_STRING": parts.query.encode().decode("latin-1"),
        "REMOTE_ADDR": address,
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()},
    }


def request(application: Application, environ: dict[str, Any]) -> Answer:
    heard: list[tuple[str, list[tuple[str, str]]]] = []
    body = b"".join(application(environ, lambda status, headers: heard.append((status, headers))))
    ((status, headers),) = heard
    return Answer(int(status.split()[0]), dict(headers), body, tuple(headers))


def client(cache: MirrorlistCache | Index | None = None, policy: Policy | None = None, **parts: Any) -> Ask:
    """A function that asks a redirector with this cache."""
    policy = policy or CLASSIC._replace(minimum_hosts=2)
    index = cache if isinstance(cache, Index) else build(cache or world(), policy)
    parts = {"clock": lambda: NOW} | parts
    application = Application(lambda: index, Atlas(), policy, **parts)

    def ask(url: str, address: str = IN_SWEDEN, method: str = "GET", **headers: str) -> Answer:
        return request(application, environment(url, address, method, headers))

    return ask
