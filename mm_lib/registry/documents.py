"""What a file of the registry holds: one site with its hosts and all that people enter about them.

The file is the whole truth about what it names: a key that is not there has its default. Left as they are when absent:
`members`, and `has_ipv4` and `has_ipv6`, which the crawler finds out. Every value is brought into the one form in which
the registry has it by the rules that the forms go by, so a file that is read here differs from the registry only
where it means something else. Secrets (passwords, tokens, webhooks) are never part of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mm_lib.rules import urls
from mm_lib.rules.netblocks import parse_netblock
from mm_lib.services.content import clean_email, clean_name, clean_text
from mm_lib.services.errors import InvalidValue
from mm_lib.services.geography import country_code
from mm_lib.services.hosts import MAX_BANDWIDTH, MAX_CONNECTIONS

MAX_NUMBER = 10_000  # of the entries of one list: more is a mistake


def _by(rule: Callable[[str], str]) -> AfterValidator:
    """A rule of the registry as a validator, with its own words."""

    def check(text: str) -> str:
        try:
            return rule(text)
        except InvalidValue as error:
            raise PydanticCustomError("rule", "{message}", {"message": error.message}) from None
        except ValueError as error:
            raise PydanticCustomError("rule", "{message}", {"message": str(error)}) from None

    return AfterValidator(check)


def site_name(text: str) -> str:
    """As the registry spells it: single blanks."""
    return " ".join(clean_name("name", text).split())


def _org_url(text: str) -> str:
    return urls.normalise(text, ("https", "http")) if text.strip() else ""


def acl_address(text: str) -> str:
    """An address without its needless length, or a DNS name."""
    return parse_netblock(text).text.removesuffix("/32").removesuffix("/128")


def _short(field: str, accepted: Any) -> BeforeValidator:
    """Instead of a mapping with one key, its value alone."""
    return BeforeValidator(
        lambda value: value if isinstance(value, dict | BaseModel) else {field: value},
        json_schema_input_type=accepted,
    )


def _pattern(expression: str) -> Any:
    """For editors: about what is allowed; the rules know exactly."""
    return Field(json_schema_extra={"pattern": expression})


Name = Annotated[str, StringConstraints(max_length=1000), _by(lambda text: clean_name("name", text))]
SiteName = Annotated[str, StringConstraints(max_length=1000), _by(site_name)]
Label = Annotated[str, _by(lambda text: clean_text("name", text, 255))]
Reason = Annotated[str, StringConstraints(min_length=1), _by(lambda text: clean_text("reason", text, 500))]
Text = Annotated[str, _by(lambda text: clean_text("text", text))]
Email = Annotated[str, StringConstraints(max_length=1000), _by(lambda text: clean_email("robot_email", text))]
Url = Annotated[str, _by(urls.normalise), _pattern(f"^({'|'.join(urls.MIRROR_SCHEMES)})://[^ ?#@]+$")]
Country = Annotated[str, _by(lambda text: country_code("country", text)), _pattern("^[A-Z]{2}$")]
Network = Annotated[str, _by(lambda text: parse_netblock(text).text), Field(examples=["192.0.2.0/24"])]
AclAddress = Annotated[str, _by(acl_address)]
AsNumber = Annotated[int, Field(ge=1, le=4294967295)]


class _Part(BaseModel):
    """A part of a file: no key that is not known, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Disabled(_Part):
    """Switched off, by whom and why."""

    reason: Reason
    by: Literal["administrator", "owner"] = "administrator"


class Coordinates(_Part):
    """A place in degrees."""

    latitude: Annotated[float, Field(ge=-90, le=90, strict=False, allow_inf_nan=False)]
    longitude: Annotated[float, Field(ge=-180, le=180, strict=False, allow_inf_nan=False)]


class NetblockEntry(_Part):
    """A network, or a DNS name that stands for its addresses, whose clients get the host first."""

    netblock: Network
    name: Label = ""


class AsnEntry(_Part):
    """An autonomous system whose clients get the host first."""

    asn: AsNumber
    name: Label = ""


class MaintenanceEntry(_Part):
    """When the host is neither handed out nor crawled."""

    starts_at: Annotated[AwareDatetime, Field(strict=False)]
    ends_at: Annotated[AwareDatetime, Field(strict=False)]
    reason: Annotated[str, _by(lambda text: clean_text("reason", text, 500))] = ""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise PydanticCustomError("order", "ends_at must be later than starts_at")
        return self


class ReservedEntry(_Part):
    """A directory that only the hosts that name it may serve."""

    category: Name
    path: Annotated[str, _by(lambda text: clean_name("path", text).strip("/"))]


class CategoryEntry(_Part):
    """A category that the host carries, and where it is."""

    category: Name
    always_up_to_date: bool = False
    """A master or a cache: served without a crawl."""
    urls: list[Url] = Field([], max_length=MAX_NUMBER)
    private_urls: list[Url] = Field([], max_length=MAX_NUMBER)
    """For other mirrors and the crawler, never published."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        _refuse_twice("URL", [*self.urls, *self.private_urls])
        return self


Netblocks = list[Annotated[NetblockEntry, _short("netblock", str | NetblockEntry)]]
Asns = list[Annotated[AsnEntry, _short("asn", AsNumber | AsnEntry)]]


class HostEntry(_Part):
    """A mirror server."""

    name: Name
    was: Name | None = None
    """Its name until now: renames it instead of making another one."""
    country: Country | None = None
    bandwidth_mbps: Annotated[int, Field(ge=1, le=MAX_BANDWIDTH)] = 100
    max_connections: Annotated[int, Field(ge=1, le=MAX_CONNECTIONS)] = 1
    """Per client."""
    private: bool = False
    """Served only to its own networks."""
    crawl_private: bool = False
    """It may be crawled although it is private."""
    asn_clients: bool = True
    """Preferred for clients of its autonomous systems."""
    coordinates: Coordinates | None = None
    has_ipv4: bool | None = None
    """Whether it is reached by IPv4. Absent: as the crawler finds."""
    has_ipv6: bool | None = None
    comment: Text = ""
    """Public."""
    robot_email: Email = ""
    disabled: Disabled | None = None
    categories: list[CategoryEntry] = Field([], max_length=MAX_NUMBER)
    netblocks: Netblocks = Field([], max_length=MAX_NUMBER)
    own_asns: Asns = Field([], max_length=MAX_NUMBER)
    peer_asns: Asns = Field([], max_length=MAX_NUMBER)
    extra_countries: list[Country] = Field([], max_length=MAX_NUMBER)
    """It counts as local there, too."""
    allowed_countries: list[Country] = Field([], max_length=MAX_NUMBER)
    """It serves only clients of these."""
    acl_addresses: list[AclAddress] = Field([], max_length=MAX_NUMBER)
    """They may pull from the master."""
    locations: list[Name] = Field([], max_length=MAX_NUMBER)
    """Location groups that clients can ask for."""
    maintenance: list[MaintenanceEntry] = Field([], max_length=MAX_NUMBER)
    reserved_directories: list[ReservedEntry] = Field([], max_length=MAX_NUMBER)

    @model_validator(mode="after")
    def _once(self) -> Self:
        _refuse_twice("category", [entry.category for entry in self.categories])
        _refuse_twice("netblock", [entry.netblock for entry in self.netblocks])
        _refuse_twice("AS number", [entry.asn for entry in (*self.own_asns, *self.peer_asns)])
        _refuse_twice("extra country", self.extra_countries)
        _refuse_twice("allowed country", self.allowed_countries)
        _refuse_twice("address", self.acl_addresses)
        _refuse_twice("location", self.locations)
        _refuse_twice("maintenance", [(entry.starts_at, entry.ends_at) for entry in self.maintenance])
        _refuse_twice("directory", [(entry.category, entry.path) for entry in self.reserved_directories])
        return self


class SiteFile(_Part):
    """A site of MirrorManager's registry, with its hosts."""

    name: SiteName
    was: SiteName | None = None
    """Its name until now: renames it instead of making another one."""
    org_url: Annotated[str, _by(_org_url)] = ""
    private: bool = False
    """None of its hosts is shown or served to the public."""
    all_sites_can_pull: bool = False
    downstream_comments: Text = ""
    weekly_report: bool = False
    """Those who speak for it get a report by mail each week."""
    disabled: Disabled | None = None
    upstreams: list[SiteName] = Field([], max_length=MAX_NUMBER)
    """Sites that it mirrors from."""
    members: dict[Name, Literal["owner", "admin", "viewer"]] | None = None
    """User name: role. Absent: left as they are."""
    hosts: list[HostEntry] = Field([], max_length=MAX_NUMBER)

    @model_validator(mode="after")
    def _once(self) -> Self:
        _refuse_twice("host", [host.name for host in self.hosts] + [host.was for host in self.hosts if host.was])
        _refuse_twice("URL", list(site_urls(self)))
        _refuse_twice("upstream", self.upstreams)
        return self


def site_urls(site: SiteFile) -> Iterable[str]:
    """Every URL of its hosts."""
    for host in site.hosts:
        for category in host.categories:
            yield from category.urls
            yield from category.private_urls


def _refuse_twice(kind: str, values: list[Any]) -> None:
    seen = set()
    for value in values:
        if value in seen:
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
            raise PydanticCustomError("twice", "{kind} {value} stands here twice", {"kind": kind, "value": str(shown)})
        seen.add(value)


def for_files(site: SiteFile) -> SiteFile:
    """Without what the crawler found out: it changes by itself, and nobody would review that."""
    found = {"has_ipv4": None, "has_ipv6": None}
    hosts = [host if host.private and not host.crawl_private else host.model_copy(update=found) for host in site.hosts]
    return site.model_copy(update={"hosts": hosts})


# -- as plain values


def plain(site: SiteFile) -> dict[str, Any]:
    """As a file has it: no defaults, the short form where there is one; lists in one order, whatever order they had."""
    values = site.model_dump(mode="json", exclude_defaults=True)
    if "upstreams" in values:
        values["upstreams"].sort()
    if "members" in values:
        values["members"] = dict(sorted(values["members"].items()))
    values["hosts"] = sorted(
        (_plain_host(host) for host in values.get("hosts", ())), key=lambda host: str(host["name"])
    )
    if not values["hosts"]:
        del values["hosts"]
    return values


_SHORT = {"netblocks": "netblock", "own_asns": "asn", "peer_asns": "asn"}
_SORTED = ("extra_countries", "allowed_countries", "acl_addresses", "locations")


def _plain_host(host: dict[str, Any]) -> dict[str, Any]:
    for field, key in _SHORT.items():
        if field in host:
            entries = sorted(host[field], key=lambda entry: _network_order(entry[key]))
            host[field] = [entry[key] if set(entry) == {key} else entry for entry in entries]
    for field in _SORTED:
        if field in host:
            host[field].sort()
    if "maintenance" in host:
        host["maintenance"].sort(key=lambda entry: datetime.fromisoformat(entry["starts_at"]))
    if "reserved_directories" in host:
        host["reserved_directories"].sort(key=lambda entry: (entry["category"], entry["path"]))
    for category in host.get("categories", ()):
        for field in ("urls", "private_urls"):
            if field in category:
                category[field].sort(key=lambda url: (urls.preference(url), url))
    if "categories" in host:
        host["categories"].sort(key=lambda entry: entry["category"])
    return host


def _network_order(key: Any) -> tuple[int, Any]:
    """Numbers as numbers; networks and names as text."""
    return (0, key) if isinstance(key, int) else (1, key)
