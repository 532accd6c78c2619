"""What every table of the model is called, which of its columns are shown, and how people know its rows.

Types, choices and look-ups follow from the model; here stands what the model cannot know. A column that is not named is
never shown: tests/lib/test_tables.py fails for a table or column that is neither shown nor said to be secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import JSON, Boolean, Date, Enum, Float, Integer, LargeBinary, inspect
from sqlalchemy.orm import InstrumentedAttribute

from mm_lib.model import accounts, banners, content, geography, hosts, outbox, sites, state, statistics
from mm_lib.model.base import Base, UtcDateTime
from mm_lib.services.errors import NotFound


class Kind(StrEnum):
    """What a column holds, for people."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    YES_NO = "yes or no"
    CHOICE = "choice"
    TIME = "time"
    DAY = "day"
    LINK = "link"  # to a row of another table
    DATA = "data"  # JSON
    BYTES = "bytes"
    SET = "set"  # a bitmap: how many are in it


_KINDS: tuple[tuple[type, Kind], ...] = (
    (Boolean, Kind.YES_NO),
    (Integer, Kind.WHOLE),
    (Float, Kind.NUMBER),
    (UtcDateTime, Kind.TIME),
    (Date, Kind.DAY),
    (Enum, Kind.CHOICE),
    (JSON, Kind.DATA),
    (LargeBinary, Kind.BYTES),
)
_DELETION = ("deleted_at", "deleted_by")  # of rows that no list shows
_ASKED_FOR = frozenset(Kind) - {Kind.DATA, Kind.BYTES, Kind.SET}  # what can be filtered and sorted by


class Group(StrEnum):
    """Where a table stands on the first page."""

    CONTENT = "Content"
    MIRRORS = "Sites and hosts"
    PLACES = "Countries and networks"
    PEOPLE = "People"
    STATE = "What was found out"
    NEWS = "Messages"
    NUMBERS = "Statistics"


@dataclass(frozen=True)
class Column:
    """A column that is shown."""

    name: str  # of the model's attribute
    label: str
    kind: Kind
    nullable: bool
    help: str = ""
    target: str = ""  # of a link: the other table
    choices: tuple[str, ...] = ()
    partly: bool = False  # an address whose query may hold a secret: shown without it, and never looked for

    @property
    def asked_for(self) -> bool:
        """Whether rows can be looked for by it."""
        return self.kind in _ASKED_FOR and not self.partly


class Through(NamedTuple):
    """A filter by what other rows lead to: hosts by the categories that they carry."""

    label: str
    table: str  # of the rows between
    here: str  # their link to this table
    there: str  # their link to what is looked for


@dataclass(frozen=True)
class Table:
    """A table, for people."""

    model: type[Base]
    title: str  # of many
    one: str
    group: Group
    shown: str  # attributes, in order
    listed: str = ""  # those of the list; empty: all that are shown
    key: str = ""  # by which a row is known in files; empty: by its number
    other_key: str = ""  # where a part of the key has no value
    label: str = ""  # by which people know it; empty: as the key
    search: str = ""  # what the search looks into
    kept_back: str = ""  # attributes that nobody is shown
    sets: str = ""  # attributes that are bitmaps
    partly: str = ""  # addresses that are shown without their query
    named: Mapping[str, str] = field(default_factory=dict)  # attribute -> label, where its name says too little
    through: Mapping[str, Through] = field(default_factory=dict)  # name of the filter -> what it looks through
    large: bool = False  # too many rows to look at each: only what has an index can be sorted by
    newest_first: bool = False

    @property
    def name(self) -> str:
        """The database's."""
        return str(self.model.__tablename__)

    @property
    def about(self) -> str:
        """What a row is, in a sentence."""
        return (self.model.__doc__ or "").strip().splitlines()[0]

    @cached_property
    def columns(self) -> dict[str, Column]:
        """What is shown, by attribute."""
        return {name: self._column(name) for name in self.shown.split()}

    @cached_property
    def in_list(self) -> tuple[Column, ...]:
        """The columns of the list."""
        return tuple(self.columns[name] for name in (self.listed or self.shown).split())

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        """What a row is known by in files."""
        return tuple(self.columns[name] for name in self.key.split())

    @cached_property
    def label_columns(self) -> tuple[Column, ...]:
        """What people know a row by."""
        return tuple(self.columns[name] for name in (self.label or self.key).split())

    @cached_property
    def searched(self) -> tuple[Column, ...]:
        """What the search looks into."""
        return tuple(self.columns[name] for name in (self.search or self.label or self.key).split())

    @cached_property
    def filters(self) -> tuple[Column, ...]:
        """What can be filtered by."""
        return tuple(column for column in self.columns.values() if column.asked_for and column.name not in _DELETION)

    @cached_property
    def sortable(self) -> frozenset[str]:
        """What the list can be ordered by."""
        found = {column.name for column in self.columns.values() if column.asked_for}
        return frozenset(found & self._indexed() if self.large else found)

    @cached_property
    def primary(self) -> tuple[InstrumentedAttribute[Any], ...]:
        """The columns of the primary key."""
        mapper = inspect(self.model)
        return tuple(getattr(self.model, mapper.get_property_by_column(column).key) for column in mapper.primary_key)

    @property
    def deletable_softly(self) -> bool:
        """Whether deleted rows are kept for a while, out of sight."""
        return "deleted_at" in inspect(self.model).column_attrs

    def attribute(self, name: str) -> InstrumentedAttribute[Any]:
        """The model's attribute."""
        found: InstrumentedAttribute[Any] = getattr(self.model, name)
        return found

    def _indexed(self) -> set[str]:
        """Attributes that an index, or a key, begins with."""
        mapper, table = inspect(self.model), self.model.__table__
        first = {next(iter(index.columns)) for index in getattr(table, "indexes", ())}
        first |= {
            next(iter(constraint.columns)) for constraint in getattr(table, "constraints", ()) if _has(constraint)
        }
        return {mapper.get_property_by_column(column).key for column in first}

    def _column(self, name: str) -> Column:
        attribute = inspect(self.model).column_attrs[name]
        column = attribute.columns[0]
        target = next((key.column.table.name for key in column.foreign_keys if key.column.name == "id"), "")
        kind = next((kind for type_, kind in _KINDS if isinstance(column.type, type_)), Kind.TEXT)
        kind = Kind.LINK if target else Kind.SET if name in self.sets.split() else kind
        words = name.removesuffix("_id").removesuffix("_at").replace("_", " ")
        return Column(
            name,
            self.named.get(name) or words[:1].upper() + words[1:],
            kind,
            bool(column.nullable),
            str(attribute.doc or "").replace("None", "none"),
            target,
            tuple(column.type.enums) if isinstance(column.type, Enum) else (),
            name in self.partly.split(),
        )


def _has(constraint: Any) -> bool:
    return type(constraint).__name__ in ("UniqueConstraint", "PrimaryKeyConstraint") and bool(len(constraint.columns))


_CONTENT = (
    Table(
        content.Product,
        "Products",
        "product",
        Group.CONTENT,
        "id name public sort_order",
        "name public sort_order",
        "name",
    ),
    Table(
        content.Version,
        "Versions",
        "version",
        Group.CONTENT,
        "id product_id name display_name codename is_test display sort_order",
        "product_id name display_name codename is_test display sort_order",
        "product_id name",
        search="product_id name display_name codename",
    ),
    Table(content.Arch, "Arches", "arch", Group.CONTENT, "id name public primary", "name public primary", "name"),
    Table(
        content.Category,
        "Categories",
        "category",
        Group.CONTENT,
        "id product_id name topdir public admin_only canonical_host source sentinels max_stale_days "
        "max_propagation_days max_vanished_share last_scanned_at list_fingerprint vanished created_at updated_at",
        "name product_id topdir public admin_only last_scanned_at",
        "name",
        search="name topdir product_id",
        named={"topdir": "Top directory", "admin_only": "Only by administrators"},
    ),
    Table(
        content.Directory,
        "Directories",
        "directory",
        Group.CONTENT,
        "id category_id path readable mtime file_count listing_digest sample created_at changed_at",
        "path category_id readable file_count changed_at",
        "category_id path",
        label="path",
        search="path",
        large=True,
        named={"mtime": "Changed on the master (Unix seconds)", "file_count": "Files"},
    ),
    Table(
        content.FileDetail,
        "Important files",
        "file",
        Group.CONTENT,
        "id directory_id filename content_id timestamp size md5 sha1 sha256 sha512 first_seen_at",
        "filename directory_id timestamp size sha256 first_seen_at",
        "directory_id filename content_id",
        label="filename content_id",
        search="filename",
        large=True,
    ),
    Table(
        content.Repository,
        "Repositories",
        "repository",
        Group.CONTENT,
        "id prefix version_id arch_id category_id directory_id enabled pinned created_at updated_at",
        "prefix arch_id version_id category_id directory_id enabled pinned",
        "prefix arch_id",
        "directory_id arch_id",
    ),
    Table(
        content.RepositoryRedirect,
        "Repository redirects",
        "redirect",
        Group.CONTENT,
        "id from_prefix to_prefix",
        "from_prefix to_prefix",
        "from_prefix",
        search="from_prefix to_prefix",
    ),
    Table(
        content.RepositoryRule,
        "Repository rules",
        "rule",
        Group.CONTENT,
        "id category_id position pattern prefix version arch directory flags comment",
        "category_id position pattern prefix version arch comment",
        "category_id position",
        search="category_id pattern prefix comment",
    ),
    Table(
        hosts.DirectoryHost,
        "Reserved directories",
        "reservation",
        Group.CONTENT,
        "directory_id host_id",
        key="directory_id host_id",
    ),
)
_MIRRORS = (
    Table(
        sites.Site,
        "Sites",
        "site",
        Group.MIRRORS,
        "id name org_url private all_sites_can_pull downstream_comments weekly_report state state_reason state_since "
        "state_by created_by created_at updated_at deleted_at deleted_by",
        "name org_url private state created_by created_at",
        "name",
        search="name org_url",
        named={"org_url": "Web address", "all_sites_can_pull": "All sites may pull"},
        through={"member": Through("Has the member", "site_member", "site_id", "user_id")},
    ),
    Table(
        sites.SiteMember,
        "Members of sites",
        "member",
        Group.MIRRORS,
        "id site_id user_id role created_at",
        "site_id user_id role created_at",
        "site_id user_id",
    ),
    Table(
        sites.SiteInvitation,
        "Invitations",
        "invitation",
        Group.MIRRORS,
        "id site_id email role invited_by created_at expires_at",
        "site_id email role invited_by expires_at",
        "site_id email",
        kept_back="token_hash",
    ),
    Table(
        sites.SiteJoinRequest,
        "Requests to join",
        "request",
        Group.MIRRORS,
        "id site_id user_id message created_at",
        "site_id user_id message created_at",
        "site_id user_id",
    ),
    Table(
        sites.SitePassword,
        "Check-in passwords",
        "password",
        Group.MIRRORS,
        "id site_id created_at expires_at",
        label="site_id",
        kept_back="password_hash",
    ),
    Table(
        sites.SiteUpstream,
        "Sites that mirror from others",
        "upstream",
        Group.MIRRORS,
        "upstream_id downstream_id created_at",
        key="upstream_id downstream_id",
    ),
    Table(
        hosts.Host,
        "Hosts",
        "host",
        Group.MIRRORS,
        "id site_id name country bandwidth_mbps max_connections private crawl_private asn_clients latitude longitude "
        "has_ipv4 has_ipv6 comment robot_email state state_reason state_since state_by last_checked_in_at "
        "last_crawled_at last_crawl_seconds created_at updated_at deleted_at deleted_by",
        "name site_id country bandwidth_mbps private state last_crawled_at",
        "site_id name",
        label="name",
        search="name site_id",
        named={
            "bandwidth_mbps": "Mbit/s",
            "has_ipv4": "Reached by IPv4",
            "has_ipv6": "Reached by IPv6",
            "asn_clients": "Preferred for its own networks",
            "crawl_private": "May be asked although private",
        },
        through={"carries": Through("Carries the category", "host_category", "host_id", "category_id")},
    ),
    Table(
        hosts.HostCategory,
        "Categories of hosts",
        "category of a host",
        Group.MIRRORS,
        "id host_id category_id always_up_to_date created_at updated_at",
        "host_id category_id always_up_to_date created_at",
        "host_id category_id",
    ),
    Table(
        hosts.HostCategoryUrl,
        "URLs of hosts",
        "URL",
        Group.MIRRORS,
        "id host_category_id url private tried_at problem certificate_ends_at created_at",
        "url host_category_id private problem",
        "url",
        search="url host_category_id",
        named={"url": "URL", "host_category_id": "Host and category", "certificate_ends_at": "Certificate ends"},
    ),
    Table(
        hosts.HostNetblock,
        "Networks of hosts",
        "network",
        Group.MIRRORS,
        "id host_id netblock name family first_address last_address",
        "netblock host_id name family",
        "host_id netblock",
        label="netblock",
        search="netblock name host_id",
        named={"netblock": "Network", "family": "IP version"},
    ),
    Table(
        hosts.HostAsn,
        "Autonomous systems of hosts",
        "autonomous system",
        Group.MIRRORS,
        "id host_id asn kind name",
        "asn host_id kind name",
        "host_id asn",
        search="name host_id",
        named={"asn": "Number"},
    ),
    Table(
        hosts.HostCountry,
        "Countries of hosts",
        "country of a host",
        Group.MIRRORS,
        "id host_id country kind",
        "host_id country kind",
        "host_id country kind",
    ),
    Table(
        hosts.HostAclAddress,
        "Addresses that may pull",
        "address",
        Group.MIRRORS,
        "id host_id address",
        "address host_id",
        "host_id address",
        label="address",
        search="address host_id",
    ),
    Table(
        hosts.Maintenance,
        "Maintenance windows",
        "maintenance window",
        Group.MIRRORS,
        "id host_id starts_at ends_at reason announced_by created_at",
        "host_id starts_at ends_at reason announced_by",
        label="host_id starts_at",
        search="host_id reason announced_by",
        named={"starts_at": "Starts", "ends_at": "Ends"},
        newest_first=True,
    ),
)
_PLACES = (
    Table(
        geography.CountryContinent,
        "Continents of countries",
        "continent of a country",
        Group.PLACES,
        "id country continent",
        "country continent",
        "country",
        search="country continent",
    ),
    Table(
        geography.EmbargoedCountry,
        "Embargoed countries",
        "embargoed country",
        Group.PLACES,
        "id country",
        "country",
        "country",
    ),
    Table(
        geography.NetblockCountry,
        "Countries of networks",
        "country of a network",
        Group.PLACES,
        "id netblock country family first_address last_address",
        "netblock country family",
        "netblock",
        search="netblock country",
        named={"netblock": "Network", "family": "IP version"},
    ),
    Table(hosts.Location, "Location groups", "location group", Group.PLACES, "id name", "name", "name"),
    Table(
        hosts.HostLocation,
        "Hosts of location groups",
        "host of a location group",
        Group.PLACES,
        "location_id host_id",
        key="location_id host_id",
    ),
)
_PEOPLE = (
    Table(
        accounts.User,
        "Users",
        "user",
        Group.PEOPLE,
        "id name display_name email role active last_login_at email_confirmed_at created_at updated_at",
        "name display_name email role active last_login_at",
        "name",
        search="name display_name email",
        kept_back="password_hash",
        named={"email": "E-mail address", "last_login_at": "Last signed in"},
        through={"member_of": Through("Member of the site", "site_member", "user_id", "site_id")},
    ),
    Table(
        accounts.Identity,
        "Identities of users elsewhere",
        "identity",
        Group.PEOPLE,
        "id user_id issuer subject created_at came_from_id",
        "user_id issuer subject created_at",
        "issuer subject",
        search="issuer subject user_id",
    ),
    Table(
        accounts.Group,
        "Groups",
        "group",
        Group.PEOPLE,
        "id name display_name",
        "name display_name",
        "name",
        search="name display_name",
    ),
    Table(
        accounts.GroupMember,
        "Members of groups",
        "member of a group",
        Group.PEOPLE,
        "group_id user_id",
        key="group_id user_id",
    ),
    Table(
        accounts.LoginSession,
        "Sign-ins",
        "sign-in",
        Group.PEOPLE,
        "id user_id identity_id created_at seen_at expires_at address user_agent source role strong",
        "user_id source address seen_at expires_at",
        label="user_id created_at",
        search="user_id address source",
        kept_back="token_hash provider_session id_token",
        newest_first=True,
        named={"seen_at": "Last seen", "expires_at": "Ends"},
    ),
    Table(
        accounts.AccountToken,
        "Links in mails",
        "link in a mail",
        Group.PEOPLE,
        "id purpose user_id email created_at expires_at",
        label="purpose email",
        kept_back="token_hash",
        newest_first=True,
    ),
    Table(
        accounts.SecondFactor,
        "One-time codes",
        "one-time code",
        Group.PEOPLE,
        "user_id created_at confirmed_at",
        label="user_id",
        kept_back="secret last_step",
    ),
    Table(
        accounts.RecoveryCode,
        "Recovery codes",
        "recovery code",
        Group.PEOPLE,
        "id user_id",
        label="user_id",
        kept_back="code_hash",
    ),
    Table(
        accounts.ApiToken,
        "API tokens",
        "API token",
        Group.PEOPLE,
        "id user_id site_id name scopes role created_by created_at expires_at last_used_at revoked_at",
        "name user_id site_id scopes expires_at last_used_at revoked_at",
        label="name",
        search="name user_id site_id",
        kept_back="token_hash",
        newest_first=True,
    ),
    Table(
        accounts.KeptAnswer,
        "Answers that are kept for programs",
        "kept answer",
        Group.PEOPLE,
        "id status created_at expires_at",
        label="created_at",
        kept_back="key_hash request_hash headers body",
        newest_first=True,
    ),
    Table(
        accounts.AuditEvent,
        "Changes",
        "change",
        Group.PEOPLE,
        "id at actor_id actor address site_id action object_type object_id object_name before after",
        "at actor action object_name site_id address",
        label="action object_name",
        search="actor action object_name",
        large=True,
        newest_first=True,
        named={"at": "When", "actor": "Who", "actor_id": "User", "action": "Did what", "object_name": "With what"},
    ),
)
_STATE = (
    Table(
        state.HostCategoryState,
        "What hosts have",
        "state",
        Group.STATE,
        "host_category_id directories_up_to_date directories_total up_to_date established_at source",
        "host_category_id directories_up_to_date directories_total established_at source",
        label="host_category_id",
        sets="up_to_date",
        named={"up_to_date": "Directories in the bitmap"},
    ),
    Table(
        state.HostCategoryCrawl,
        "What crawls have to ask",
        "crawl's memory",
        Group.STATE,
        "host_category_id ask_again sampled unknown unknown_since unknown_tries synced_at sync_seconds",
        label="host_category_id",
        sets="ask_again sampled unknown",
        named={"ask_again": "To ask again", "sampled": "Asked in this cycle", "unknown": "Without an answer"},
    ),
    Table(
        state.CrawlSchedule,
        "When crawls are due",
        "turn",
        Group.STATE,
        "host_category_id tier asked_at changes_until interval_seconds next_due_at",
        label="host_category_id tier",
        search="host_category_id",
    ),
    Table(
        state.HostCategoryHealth,
        "Health of hosts",
        "health",
        Group.STATE,
        "host_category_id health reason since failures failing_since successes last_ok_at last_tried_at",
        "host_category_id health reason since failures last_ok_at",
        label="host_category_id",
        search="host_category_id reason",
    ),
    Table(
        state.HealthChange,
        "Changes of health",
        "change of health",
        Group.STATE,
        "id host_category_id at health reason",
        "at host_category_id health reason",
        label="host_category_id at",
        search="reason",
        large=True,
        newest_first=True,
        named={"at": "When"},
    ),
    Table(
        state.RepositoryMirrorState,
        "Metadata on hosts",
        "state of a repository",
        Group.STATE,
        "host_category_id repository_id file_detail_id verdict lag_seconds checked_at",
        "host_category_id repository_id verdict lag_seconds checked_at",
        label="host_category_id repository_id",
        search="verdict",
        large=True,
    ),
    Table(
        state.CrawlRun,
        "Runs",
        "run",
        Group.STATE,
        "id kind arguments started_at finished_at outcome counts",
        "kind started_at finished_at outcome",
        label="kind started_at",
        search="outcome",
        newest_first=True,
    ),
    Table(
        state.CrawlResult,
        "Results of crawls",
        "result of a crawl",
        Group.STATE,
        "id run_id host_category_id tier started_at seconds requests log outcome reason counts evidence",
        "started_at host_category_id tier seconds requests outcome reason",
        label="host_category_id started_at",
        search="outcome reason",
        large=True,
        newest_first=True,
    ),
    Table(
        state.Job,
        "Jobs",
        "job",
        Group.STATE,
        "id kind host_category_id arguments state requested_by created_at started_at finished_at lease_until result",
        "kind host_category_id state requested_by created_at finished_at",
        label="kind created_at",
        search="kind requested_by",
        newest_first=True,
    ),
)
_NEWS = (
    Table(
        outbox.Event,
        "Events",
        "event",
        Group.NEWS,
        "id at kind site_id host_id payload dedupe_key held spread_at",
        "at kind site_id host_id held spread_at",
        label="kind at",
        search="kind",
        large=True,
        newest_first=True,
        named={"at": "When"},
    ),
    Table(
        outbox.Delivery,
        "Deliveries",
        "delivery",
        Group.NEWS,
        "id event_id channel target state attempts next_try_at delivered_at last_error",
        "event_id channel target state attempts next_try_at delivered_at",
        label="channel target",
        search="target last_error",
        large=True,
        newest_first=True,
    ),
    Table(
        outbox.Webhook,
        "Webhooks",
        "webhook",
        Group.NEWS,
        "id site_id url kinds enabled created_at created_by",
        "url site_id kinds enabled created_by",
        label="site_id created_at",
        search="site_id created_by",
        kept_back="secret",
        partly="url",
        named={"url": "Address", "kinds": "What it hears"},
    ),
    Table(
        banners.Banner,
        "Banners",
        "banner",
        Group.NEWS,
        "id text level audience starts_at ends_at created_at created_by",
        "text level audience starts_at ends_at created_by",
        label="text",
        newest_first=True,
    ),
)
_NUMBERS = (
    Table(
        statistics.AccessStatistic,
        "Requests by period",
        "count of requests",
        Group.NUMBERS,
        "level dimension start name requests clients",
        label="level dimension start name",
        search="name",
        large=True,
    ),
    Table(
        statistics.AccessDay,
        "Days that are counted",
        "day",
        Group.NUMBERS,
        "day touched_at",
        label="day",
        kept_back="salt",
        newest_first=True,
    ),
    Table(
        statistics.AccessTally,
        "Counts of open days",
        "count of a day",
        Group.NUMBERS,
        "day dimension name requests clients",
        label="day dimension name",
        search="name",
        kept_back="sketch",
        large=True,
    ),
    Table(
        statistics.AccessLogRead,
        "Logs that were read",
        "log",
        Group.NUMBERS,
        "id name length lines malformed read_at",
        "name length lines malformed read_at",
        label="name",
        kept_back="head beginning digest",
        newest_first=True,
    ),
    Table(
        statistics.PropagationStatistic,
        "How fast updates spread",
        "moment of spreading",
        Group.NUMBERS,
        "repository_id at same_day one_day two_days older unknown mirrors_mean",
        label="repository_id at",
        large=True,
        newest_first=True,
        named={"at": "When", "mirrors_mean": "Mirrors, mean of a week"},
    ),
    Table(
        statistics.PropagationVersion,
        "How versions of metadata spread",
        "version",
        Group.NUMBERS,
        "repository_id timestamp published_at measured_at mirrors mirrors_reached requests_reached mirrors_50 "
        "mirrors_80 mirrors_90 mirrors_95 requests_50 requests_80 requests_90 requests_95",
        "repository_id published_at mirrors mirrors_reached requests_reached mirrors_80 requests_80",
        label="repository_id timestamp",
        large=True,
        newest_first=True,
    ),
)
TABLES: dict[str, Table] = {
    table.name: table for table in (*_CONTENT, *_MIRRORS, *_PLACES, *_PEOPLE, *_STATE, *_NEWS, *_NUMBERS)
}


def find(name: str) -> Table:
    """The table of that name. Raises NotFound."""
    if name not in TABLES:
        raise NotFound("There is no such table.")
    return TABLES[name]


def grouped() -> Iterator[tuple[Group, list[Table]]]:
    """Every table, by group."""
    for group in Group:
        yield group, [table for table in TABLES.values() if table.group is group]
