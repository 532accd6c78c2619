"""What is wrong in the registry, site by site: what owners forgot, and what the world contradicts.

read() takes what is registered out of the database; diagnose() compares it with DNS, GeoIP and certificates, which are
handed in as functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from mm_lib.model.base import State
from mm_lib.model.hosts import AsnKind, CountryKind, Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth, HostCategoryState
from mm_lib.services.sites import find_site

NETWORK_SECONDS = 120  # for all names and for all certificates
_THREADS = 32
_HTTPS = 443


class Problem(StrEnum):
    """What can be wrong."""

    SWITCHED_OFF = "switched off"
    NO_HOST = "no host"
    NO_CATEGORY = "no category"
    NO_URL = "no URL"
    NO_CLIENTS = "private for nobody"
    NEVER_CRAWLED = "never crawled"
    NEVER_CHECKED_IN = "never checked in"
    UNREACHABLE = "unreachable"
    NOTHING_UP_TO_DATE = "nothing up to date"
    NO_DNS = "no DNS"
    OTHER_COUNTRY = "other country"
    OTHER_ASN = "other ASN"
    CERTIFICATE = "certificate"


class Finding(NamedTuple):
    """Something that somebody should look at."""

    site: str
    host: str  # "": the site as a whole
    problem: Problem
    detail: str


class CarriedRecord(NamedTuple):
    """A host carries a category."""

    category: str
    always_up_to_date: bool
    urls: tuple[tuple[str, bool], ...]  # address, private
    up_to_date: int | None  # directories; None: never established
    unreachable: str  # why it may not be served, or ""


@dataclass(frozen=True)
class HostRecord:
    """A host as it is registered."""

    name: str
    off: str  # why, by whom; "": it is on
    private: bool
    country: str | None
    extra_countries: frozenset[str]
    asns: frozenset[int]  # its own
    has_clients: bool  # netblocks or ASNs
    crawled: bool
    checked_in: bool
    carried: tuple[CarriedRecord, ...]

    def names(self) -> set[str]:
        """The DNS names in its URLs."""
        return {name for carried in self.carried for url, _ in carried.urls if (name := urlsplit(url).hostname)}


@dataclass(frozen=True)
class SiteRecord:
    """A site as it is registered."""

    name: str
    off: str
    hosts: tuple[HostRecord, ...]


class CertificateError(Exception):
    """A server shows no certificate that clients would believe; the message says why."""


@dataclass(frozen=True)
class Probes:
    """How the world is asked. An answer that is not known is empty, 0 or None."""

    resolve: Callable[[str], list[str]]  # DNS name -> addresses
    country: Callable[[str], str]  # address -> ISO code
    asn: Callable[[str], int | None]  # address -> autonomous system
    certificate: Callable[[str, int], datetime]  # name, port -> when it ends; raises CertificateError


# -- what is registered


def read(session: Session, site: str | None = None) -> list[SiteRecord]:
    """All sites, or one. Raises NotFound."""
    query = select(Site).order_by(Site.name)
    if site is not None:
        query = query.where(Site.id == find_site(session, site).id)
    carried = selectinload(Host.categories)
    rows = session.scalars(
        query.options(
            selectinload(Site.hosts).options(
                selectinload(Host.netblocks),
                selectinload(Host.asns),
                selectinload(Host.countries),
                carried.joinedload(HostCategory.category),
                carried.selectinload(HostCategory.urls),
            )
        )
    ).all()
    states = dict(
        session.execute(select(HostCategoryState.host_category_id, HostCategoryState.directories_up_to_date)).all()
    )
    bad = select(HostCategoryHealth.host_category_id, HostCategoryHealth.reason).where(
        HostCategoryHealth.health == Health.QUARANTINED
    )
    reasons = dict(session.execute(bad).all())
    return [
        SiteRecord(row.name, _off(row), tuple(_host(host, row, states, reasons) for host in _by_name(row.hosts)))
        for row in rows
    ]


def _by_name(hosts: Iterable[Host]) -> list[Host]:
    return sorted(hosts, key=lambda host: host.name)


def _off(thing: Site | Host) -> str:
    if thing.state is State.ACTIVE:
        return ""
    return f"{thing.state.value} since {thing.state_since:%Y-%m-%d} by {thing.state_by}: {thing.state_reason}"


def _host(host: Host, site: Site, states: Mapping[int, int], reasons: Mapping[int, str]) -> HostRecord:
    return HostRecord(
        name=host.name,
        off=_off(host),
        private=host.private or site.private,
        country=host.country,
        extra_countries=frozenset(row.country for row in host.countries if row.kind is CountryKind.EXTRA),
        asns=frozenset(row.asn for row in host.asns if row.kind is AsnKind.OWN),
        has_clients=bool(host.netblocks or host.asns),
        crawled=host.last_crawled_at is not None,
        checked_in=host.last_checked_in_at is not None,
        carried=tuple(
            CarriedRecord(
                row.category.name,
                row.always_up_to_date,
                tuple((url.url, url.private) for url in row.urls),
                states.get(row.id),
                (reasons[row.id] or "it is in quarantine") if row.id in reasons else "",
            )
            for row in sorted(host.categories, key=lambda row: row.category.name)
        ),
    )


# -- what is wrong with it


def diagnose(sites: Iterable[SiteRecord], probes: Probes | None, now: datetime, soon: timedelta) -> list[Finding]:
    """Everything that is wrong; a certificate that ends before `now + soon` is. Without probes nothing is asked."""
    sites = list(sites)
    findings = [
        Finding(site.name, host, problem, detail) for site in sites for host, problem, detail in _registered(site)
    ]
    if probes is not None:
        findings += _asked(sites, probes, now + soon)
    order = list(Problem)
    return sorted(findings, key=lambda found: (found.site, found.host, order.index(found.problem), found.detail))


def _on(sites: Iterable[SiteRecord]) -> Iterator[tuple[SiteRecord, HostRecord]]:
    """Nothing is asked of what is switched off."""
    yield from ((site, host) for site in sites if not site.off for host in site.hosts if not host.off)


def _registered(site: SiteRecord) -> Iterator[tuple[str, Problem, str]]:
    if site.off:
        yield "", Problem.SWITCHED_OFF, site.off
        return
    if not site.hosts:
        yield "", Problem.NO_HOST, "the site has none"
    for host in site.hosts:
        if host.off:
            yield host.name, Problem.SWITCHED_OFF, host.off
            continue
        for problem, detail in _of_host(host):
            yield host.name, problem, detail


def _of_host(host: HostRecord) -> Iterator[tuple[Problem, str]]:
    if not host.carried:
        yield Problem.NO_CATEGORY, "it carries none"
    if host.private and not host.has_clients:
        yield Problem.NO_CLIENTS, "it is private but has neither netblock nor ASN, so no client is sent to it"
    if not host.private and not host.crawled and any(_is_crawled(carried) for carried in host.carried):
        yield Problem.NEVER_CRAWLED, "no crawl of it has ended"
    if host.private and not host.checked_in and any(not carried.always_up_to_date for carried in host.carried):
        yield Problem.NEVER_CHECKED_IN, "private mirrors are not crawled; it has to tell what it carries"
    for carried in host.carried:
        yield from _of_category(host, carried)


def _is_crawled(carried: CarriedRecord) -> bool:
    return bool(carried.urls) and not carried.always_up_to_date


def _of_category(host: HostRecord, carried: CarriedRecord) -> Iterator[tuple[Problem, str]]:
    if not carried.urls:
        yield Problem.NO_URL, f"{carried.category}: no URL says where"
    elif all(private for _, private in carried.urls):
        yield Problem.NO_URL, f"{carried.category}: all its URLs are private"
    if carried.always_up_to_date:
        return
    if carried.unreachable:
        yield Problem.UNREACHABLE, f"{carried.category}: {carried.unreachable}"
    elif not carried.up_to_date and (host.crawled or host.checked_in):
        yield Problem.NOTHING_UP_TO_DATE, f"{carried.category}: no directory is"


# -- what the world says


def _asked(sites: list[SiteRecord], probes: Probes, limit: datetime) -> Iterator[Finding]:
    hosts = list(_on(sites))
    addresses = _in_parallel(probes.resolve, {name for _, host in hosts for name in host.names()})
    ends = {end for _, host in hosts for end in _tls_ends(host) if addresses.get(end[0])}
    certificates = _in_parallel(lambda end: _certificate(probes, end, limit), ends)
    for site, host in hosts:
        for problem, detail in _of_addresses(host, addresses, probes):
            yield Finding(site.name, host.name, problem, detail)
        for end in sorted(_tls_ends(host) & ends):
            said = certificates.get(end, "the server did not answer in time")
            if said:
                yield Finding(site.name, host.name, Problem.CERTIFICATE, f"{end[0]}:{end[1]}: {said}")


def hints(host: Host, probes: Probes) -> list[str]:
    """What the addresses behind a host's URLs contradict of what is registered; for whoever has just entered them."""
    record = _host(host, host.site, {}, {})
    addresses = _in_parallel(probes.resolve, record.names())
    return [detail for _, detail in _of_addresses(record, addresses, probes)]


def _tls_ends(host: HostRecord) -> set[tuple[str, int]]:
    parts = (urlsplit(url) for carried in host.carried for url, _ in carried.urls)
    return {(part.hostname, part.port or _HTTPS) for part in parts if part.scheme == "https" and part.hostname}


def _certificate(probes: Probes, end: tuple[str, int], limit: datetime) -> str:
    try:
        expires = probes.certificate(*end)
    except CertificateError as error:
        return str(error)
    return f"it ends on {expires:%Y-%m-%d %H:%M} UTC" if expires < limit else ""


def _of_addresses(
    host: HostRecord, addresses: Mapping[str, list[str]], probes: Probes
) -> Iterator[tuple[Problem, str]]:
    for name in sorted(host.names()):
        if not addresses.get(name):
            yield Problem.NO_DNS, f"{name} has no address"
    known = [address for name in sorted(host.names()) for address in addresses.get(name, ())]
    countries = Counter(code for address in known if (code := probes.country(address)))
    if host.country and countries and not countries.keys() & {host.country, *host.extra_countries}:
        yield Problem.OTHER_COUNTRY, f"registered in {host.country}, its addresses are in {_counted(countries)}"
    asns = Counter(number for address in known if (number := probes.asn(address)))
    if host.asns and asns and not asns.keys() & host.asns:
        registered = ", ".join(f"AS{number}" for number in sorted(host.asns))
        yield Problem.OTHER_ASN, f"registered in {registered}, its addresses are in {_counted(asns, 'AS')}"


def _counted(found: Counter[str] | Counter[int], before: str = "") -> str:
    return ", ".join(f"{before}{what}" for what, _ in found.most_common())


_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


def _in_parallel(ask: Callable[[_Question], _Answer], questions: Iterable[_Question]) -> dict[_Question, _Answer]:
    """The answers that came in time."""
    pool = ThreadPoolExecutor(max_workers=_THREADS)
    try:
        pending = {question: pool.submit(ask, question) for question in questions}
        wait(pending.values(), timeout=NETWORK_SECONDS)
        return {question: future.result() for question, future in pending.items() if future.done()}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
