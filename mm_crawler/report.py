"""The nouns that travel through a crawl: what is asked of whom, what was found, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pyroaring import BitMap

from mm_lib.model.base import State
from mm_lib.model.state import CrawlTier, Health

Tier = CrawlTier

# ---------------------------------------------------------------- what is remembered from crawl to crawl


class Turn(NamedTuple):
    """When a host was last asked for a category in a tier, and when it is next."""

    asked_at: datetime | None
    changes_until: datetime | None  # changes of the master up to here were asked for
    interval: float  # seconds
    next_due_at: datetime


@dataclass(frozen=True, slots=True)
class Memory:
    """What the crawler has to know of a host-category before it asks again."""

    ask_again: BitMap = field(default_factory=BitMap)  # not as on the master when last asked for
    sampled: BitMap = field(default_factory=BitMap)  # asked for since this cycle of samples began
    unknown: BitMap = field(default_factory=BitMap)  # without an answer in all crawls since then
    unknown_since: datetime | None = None
    unknown_tries: int = 0
    synced_at: datetime | None = None  # when something new was last seen there
    sync_seconds: float | None = None  # how often it fetches from its master, as learned
    turns: Mapping[Tier, Turn] = field(default_factory=dict)

    def changes_until(self, tier: Tier) -> datetime | None:
        """Changes of the master up to here were asked for; None: it was never asked in this tier."""
        return self.turns[tier].changes_until if tier in self.turns else None


# ---------------------------------------------------------------- what mirrors should carry


class SampleFile(NamedTuple):
    """A file of the master that stands for its directory."""

    name: str
    size: int
    mtime: int


class FileVersion(NamedTuple):
    """One version of an important file. `superseded_at` is when the next one came, in Unix seconds; None: current."""

    file_detail_id: int
    timestamp: int
    size: int
    sha256: str | None
    superseded_at: int | None


class ImportantFile(NamedTuple):
    """A file whose content is known, newest version first."""

    name: str
    versions: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class MasterDirectory:
    """A directory of the master tree. The sample stays JSON text: a category can have 150,000 directories."""

    id: int
    path: str
    readable: bool
    mtime: int
    sample_json: str
    important: tuple[ImportantFile, ...] = ()
    digest: bytes | None = None  # over the names and sizes of all its files; None: not known exactly
    file_count: int = 0

    @property
    def sample(self) -> tuple[SampleFile, ...]:
        """The files that a crawl asks for."""
        return tuple(SampleFile(*entry) for entry in json.loads(self.sample_json))

    @property
    def empty(self) -> bool:
        """No file in it could be asked for."""
        return not self.important and self.sample_json in ("", "[]", "null")


@dataclass(frozen=True, slots=True)
class MasterCategory:
    """What a whole mirror of a category carries. `repodata` says which directory decides for which repository."""

    id: int
    name: str
    topdir: str
    directories: tuple[MasterDirectory, ...]
    repodata: Mapping[int, int] = field(default_factory=dict)  # repository id -> directory id
    max_stale_days: float | None = None  # how long its older versions count as good; None: as the settings say
    changes: Mapping[int, float] = field(default_factory=dict)  # directory id -> when a scan last saw it change
    changes_until: datetime | None = None  # the latest change that is known
    whole: bool = True  # all directories are here, not only those with important files


@dataclass(frozen=True, slots=True)
class MirrorUrl:
    """An address of a category's topdir on a mirror."""

    url: str
    private: bool


@dataclass(frozen=True, slots=True)
class MirrorCategory:
    """A mirror says that it carries a category, at these addresses."""

    host_category_id: int
    category_id: int
    urls: tuple[MirrorUrl, ...]
    tiers: tuple[Tier, ...] = (Tier.FULL,)  # the first that has anything to ask
    memory: Memory | None = None  # None: never asked


@dataclass(frozen=True, slots=True)
class Mirror:
    """A host that is to be asked."""

    host_id: int
    name: str
    site: str
    categories: tuple[MirrorCategory, ...]
    last_crawl_seconds: float | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class CrawlInput:
    """All that a crawl needs of the database, read once and shared by all hosts."""

    categories: Mapping[int, MasterCategory]
    mirrors: tuple[Mirror, ...]
    embargoed: frozenset[str] = frozenset()  # countries
    continents: Mapping[str, str] = field(default_factory=dict)  # of countries


# ---------------------------------------------------------------- what is asked


class How(StrEnum):
    """How a file is asked for."""

    LOOK = "look"  # is it there, and how long is it?
    DIGEST = "digest"  # what is its SHA-256?


class Question(NamedTuple):
    """One file that a mirror is asked for. Without versions, only the size is known."""

    path: str  # below the topdir
    how: How
    size: int
    versions: tuple[FileVersion, ...] = ()


class ImpliedDirectory(NamedTuple):
    """A directory without files: `by` are the directories that speak for it."""

    id: int
    by: BitMap


@dataclass(frozen=True, slots=True)
class CategoryPlan:
    """What a mirror of a category is asked, in this order. That of a full crawl is shared by all mirrors."""

    category: MasterCategory
    asked: tuple[MasterDirectory, ...]
    implied: tuple[ImpliedDirectory, ...]
    universe: BitMap | None = None  # all that a full crawl can judge; None: not known here

    @property
    def total(self) -> int:
        """How many directories a crawl can judge."""
        return len(self.asked) + len(self.implied)


class Because(NamedTuple):
    """Why directories are asked."""

    changed: BitMap  # on the master, since this mirror was last asked for them
    again: BitMap  # they were not as on the master when last asked for
    sample: BitMap  # of the rest
    cycle_ends: bool = False  # with this sample everything was asked for once


class CategoryTask(NamedTuple):
    """Ask one mirror for one category; the first URL that answers is used."""

    host_category_id: int
    urls: tuple[str, ...]
    plan: CategoryPlan
    tier: Tier = Tier.FULL
    because: Because | None = None


@dataclass(frozen=True, slots=True)
class HostTask:
    """Ask one mirror."""

    host_id: int
    name: str
    site: str
    categories: tuple[CategoryTask, ...]


# ---------------------------------------------------------------- what was found


class Verdict(StrEnum):
    """What a mirror has of a directory."""

    OK = "ok"  # as on the master
    ALTERNATE = "alternate"  # an older version of its important file that still counts as good
    STALE = "stale"  # there, but something else
    MISSING = "missing"  # not there
    UNREADABLE = "unreadable"  # there, but refused
    UNKNOWN = "unknown"  # no answer that says yes or no


class Evidence(NamedTuple):
    """Why: what was asked, what should have come, and what came."""

    url: str
    expected: str
    found: str


class FileVerdict(NamedTuple):
    """What an answer says about one file; `version` is the known version that it turned out to be."""

    verdict: Verdict
    evidence: Evidence
    version: FileVersion | None = None
    lag_seconds: int | None = None


class DirectoryVerdict(NamedTuple):
    """A verdict on a directory, with the evidence that decided it and what its important file turned out to be."""

    directory_id: int
    verdict: Verdict
    evidence: Evidence
    file_detail_id: int | None = None
    lag_seconds: int | None = None


class Outcome(StrEnum):
    """How asking a mirror for a category ended."""

    ASKED = "asked"  # it answered; see the verdicts
    UNANSWERED = "unanswered"  # it is there, but no answer let us judge any directory
    UNREACHABLE = "unreachable"  # none of its URLs could be reached
    NOT_ASKED = "not asked"  # no URL that we can use, or no time left
    ERROR = "error"  # we failed, not the mirror


class AddressReport(NamedTuple):
    """What the first question to one URL of a category brought to light."""

    url: str
    problem: str = ""  # why it leads nowhere; empty: it does
    ipv4: bool | None = None  # its server answers by IPv4; None: not tried, or this machine has none
    ipv6: bool | None = None
    certificate_ends_at: int = 0  # Unix seconds; 0: no TLS, or no connection


@dataclass(frozen=True, slots=True)
class CategoryReport:
    """What was found of one category on one mirror: sets of directories, and a bounded number of examples."""

    host_category_id: int
    outcome: Outcome
    reason: str
    started_at: datetime
    seconds: float = 0.0
    requests: int = 0
    base_url: str = ""
    total: int = 0
    verdicts: Mapping[Verdict, BitMap] = field(default_factory=dict)
    evidence: tuple[tuple[str, Evidence], ...] = ()  # (verdict or what happened, why)
    repositories: Mapping[int, DirectoryVerdict] = field(default_factory=dict)  # repository id -> its repodata
    addresses: tuple[AddressReport, ...] = ()  # of all its URLs, those that were tried

    def directories(self, verdict: Verdict) -> BitMap:
        """The directories with this verdict."""
        return self.verdicts.get(verdict) or BitMap()

    @property
    def counts(self) -> dict[str, int]:
        """How many directories got each verdict."""
        return {verdict.value: len(self.directories(verdict)) for verdict in Verdict}


@dataclass(frozen=True, slots=True)
class HostReport:
    """What was found on one mirror. There is one for every mirror that was to be asked, whatever happened."""

    host_id: int
    name: str
    site: str
    started_at: datetime
    seconds: float
    categories: tuple[CategoryReport, ...]
    refused: str = ""  # why we may not deal with it; it was not asked then

    @property
    def ipv4(self) -> bool | None:
        """Whether any of its servers answers by IPv4; None: that could not be tried."""
        return _any(address.ipv4 for category in self.categories for address in category.addresses)

    @property
    def ipv6(self) -> bool | None:
        """Whether any of its servers answers by IPv6; None: that could not be tried."""
        return _any(address.ipv6 for category in self.categories for address in category.addresses)

    @property
    def asked(self) -> bool:
        """At least one category was tried."""
        return any(category.outcome is not Outcome.NOT_ASKED for category in self.categories)


def _any(answers: Iterable[bool | None]) -> bool | None:
    known = [answer for answer in answers if answer is not None]
    return any(known) if known else None


# ---------------------------------------------------------------- what follows from it


@dataclass(frozen=True, slots=True)
class CategoryPast:
    """What was known of a host-category before this crawl."""

    up_to_date: BitMap
    health: Health = Health.ACTIVE
    failures: int = 0
    always_up_to_date: bool = False
    total: int | None = None  # directories that a full crawl can judge; None: never established
    health_since: datetime | None = None
    failing_since: datetime | None = None
    successes: int = 0
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True, slots=True)
class HostPast:
    """What was known of a host before this crawl, all its categories included."""

    state: State
    categories: Mapping[int, CategoryPast]  # by host category


@dataclass(frozen=True, slots=True)
class CategoryDecision:
    """What becomes of a host-category, and why. `up_to_date` is what it is known to carry from now on."""

    host_category_id: int
    up_to_date: BitMap
    established: bool  # this crawl looked; else up_to_date is what was known before
    tried: bool  # this crawl counts, for or against the host
    health: Health
    health_changed: bool
    failures: int
    reason: str
    tier: Tier = Tier.FULL
    total: int = 0
    given_up: int = 0  # directories that were without an answer for too long
    failing_since: datetime | None = None
    successes: int = 0
    memory: Memory | None = None  # None: nothing new to remember


@dataclass(frozen=True, slots=True)
class HostDecision:
    """What becomes of a host. A disable_reason switches it off, an enable_reason switches on what we switched off."""

    host_id: int
    categories: tuple[CategoryDecision, ...]
    disable_reason: str = ""
    enable_reason: str = ""
