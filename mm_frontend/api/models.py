"""What the API takes and answers. Inputs refuse what they do not know; outputs are made from rows in one place each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from mm_lib.model.base import State
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategoryUrl,
    HostCountry,
    HostNetblock,
    Maintenance,
)
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.model.state import Health, JobState
from mm_lib.services.explanations import Explanation
from mm_lib.services.hosts import MAX_BANDWIDTH, MAX_CONNECTIONS
from mm_lib.services.jobs import Check
from mm_lib.services.overview import CategoryOverview, RepositoryOverview

LARGEST_ASN = 4_294_967_295


def clean(text: str) -> str:
    """Text that every database can hold. Raises ValueError."""
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


# The length first: what a validator has gone over is counted in "items" by the message.
ShortText = Annotated[str, Field(max_length=255), AfterValidator(clean)]
Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(clean)]
LongText = Annotated[str, Field(max_length=2000), AfterValidator(clean)]
Address = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(clean)]
Reason = Annotated[str, Field(max_length=500), AfterValidator(clean)]
CountryCode = Annotated[str, Field(pattern="^[A-Za-z]{2}$", description="ISO 3166, two letters.")]
Asn = Annotated[int, Field(ge=1, le=LARGEST_ASN)]
_BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)
# A moment that databases and calendars have, also in every zone.
Moment = Annotated[
    AwareDatetime,
    Field(ge=_BEGINNING, lt=datetime(9999, 1, 1, tzinfo=UTC)),
    AfterValidator(lambda moment: moment.astimezone(UTC)),  # as it is read later
]


class Input(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """What was sent, of what may be left out."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Output(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(from_attributes=True)


class Stated(Output):
    """Whether something takes part, and why not."""

    state: State
    state_reason: str
    state_since: datetime
    state_by: str


class Switch(Input):
    """On or off, and why."""

    on: bool
    reason: Annotated[Reason, Field(min_length=1)]


# -- sites


class SiteOut(Stated):
    """An organisation that runs mirrors."""

    id: int
    name: str
    org_url: str
    private: bool
    all_sites_can_pull: bool
    downstream_comments: str
    weekly_report: bool
    created_by: str
    created_at: datetime


class SiteNew(Input):
    """A new organisation."""

    name: Name
    org_url: Address
    private: bool = False
    all_sites_can_pull: bool = False
    downstream_comments: LongText = ""
    weekly_report: bool = False


class SiteChange(Input):
    """What is to be different."""

    name: Name = ""
    org_url: Address = ""
    private: bool = False
    all_sites_can_pull: bool = False
    downstream_comments: LongText = ""
    weekly_report: bool = False


class MemberOut(Output):
    """Somebody who speaks for a site."""

    id: int
    user: str
    display_name: str
    role: MemberRole
    created_at: datetime


class MemberNew(Input):
    """A user who is to speak for a site."""

    user: Name
    role: MemberRole = MemberRole.ADMIN


class MemberChange(Input):
    """Another role."""

    role: MemberRole


def site_out(site: Site) -> SiteOut:
    """A site."""
    return SiteOut.model_validate(site)


def member_out(member: SiteMember) -> MemberOut:
    """A member."""
    return MemberOut(
        id=member.id,
        user=member.user.name,
        display_name=member.user.display_name,
        role=member.role,
        created_at=member.created_at,
    )


# -- hosts


class HostOut(Stated):
    """A mirror server."""

    id: int
    site_id: int
    name: str
    country: str | None
    bandwidth_mbps: int
    max_connections: int
    private: bool
    crawl_private: bool
    asn: int | None
    asn_clients: bool
    latitude: float | None
    longitude: float | None
    has_ipv4: bool | None
    has_ipv6: bool | None
    comment: str
    robot_email: str
    created_at: datetime
    last_crawled_at: datetime | None
    last_checked_in_at: datetime | None


class HostNew(Input):
    """A new mirror server."""

    name: Name
    country: CountryCode
    bandwidth_mbps: int = Field(100, ge=1, le=MAX_BANDWIDTH)
    max_connections: int = Field(1, ge=1, le=MAX_CONNECTIONS, description="At once by one client.")
    private: bool = False
    crawl_private: bool = False
    asn: Asn | None = None
    asn_clients: bool = True
    latitude: float | None = Field(None, ge=-90, le=90)
    longitude: float | None = Field(None, ge=-180, le=180)
    has_ipv4: bool | None = None
    has_ipv6: bool | None = None
    comment: LongText = ""
    robot_email: ShortText = ""


class HostChange(HostNew):
    """What is to be different."""

    name: Name = ""
    country: CountryCode = ""


def host_out(host: Host) -> HostOut:
    """A host with its own network."""
    own = next((row.asn for row in host.asns if row.kind is AsnKind.OWN), None)
    columns = {name: getattr(host, name) for name in HostOut.model_fields if name != "asn"}
    return HostOut(asn=own, **columns)


# -- what belongs to a host


class UrlOut(Output):
    """An address of a category on a host."""

    id: int
    url: str
    private: bool
    tried_at: datetime | None
    problem: str
    certificate_ends_at: datetime | None


class UrlNew(Input):
    """A new address."""

    url: Address
    private: bool | None = Field(None, description="Administrators only.")


class UrlChange(Input):
    """What is to be different."""

    url: Address = ""
    private: bool | None = None


class CarriedOut(Output):
    """A category on a host."""

    id: int
    category: str
    always_up_to_date: bool
    directories_up_to_date: int
    directories_total: int
    percent: int
    established_at: datetime | None
    health: Health
    health_reason: str
    health_since: datetime | None
    failures: int
    urls: list[UrlOut]


class CarriedNew(Input):
    """A category that the host is to carry."""

    category: Name
    always_up_to_date: bool = Field(False, description="Administrators only.")


class CarriedChange(Input):
    """How it is treated."""

    always_up_to_date: bool = False


class NetblockOut(Output):
    """A network whose clients get the host first."""

    id: int
    netblock: str
    name: str


class NetblockNew(Input):
    """A network, or a DNS name."""

    netblock: Name
    name: ShortText = ""


class NetblockChange(Input):
    """What is to be different."""

    netblock: Name = ""
    name: ShortText = ""


class AsnOut(Output):
    """An autonomous system whose clients get the host first."""

    id: int
    asn: int
    kind: AsnKind
    name: str


class AsnNew(Input):
    """Another autonomous system."""

    asn: Asn
    name: ShortText = ""


class AsnChange(Input):
    """What it is called."""

    name: ShortText = ""


class CountryOut(Output):
    """A country besides the one that the host stands in."""

    id: int
    country: str
    kind: CountryKind


class CountryNew(Input):
    """A country: `allowed`: serve its clients only; `extra`: count as a mirror there, too."""

    country: CountryCode
    kind: CountryKind


class AddressOut(Output):
    """A machine that may pull from the master."""

    id: int
    address: str


class AddressNew(Input):
    """A machine that is to pull from the master."""

    address: Name


class MaintenanceOut(Output):
    """When the host is not handed out."""

    id: int
    starts_at: datetime
    ends_at: datetime
    reason: str
    announced_by: str


class MaintenanceNew(Input):
    """When the host is not to be handed out."""

    starts_at: Moment
    ends_at: Moment
    reason: Reason = ""


class MaintenanceChange(Input):
    """What is to be different."""

    starts_at: Moment = _BEGINNING
    ends_at: Moment = _BEGINNING
    reason: Reason = ""


def carried_out(found: CategoryOverview) -> CarriedOut:
    """A category with its addresses, by number."""
    return CarriedOut(
        id=found.id,
        category=found.name,
        always_up_to_date=found.always_up_to_date,
        directories_up_to_date=found.up_to_date,
        directories_total=found.total,
        percent=found.percent,
        established_at=found.established_at,
        health=found.health,
        health_reason=found.reason,
        health_since=found.since,
        failures=found.failures,
        urls=[url_out(row) for row in sorted(found.urls, key=lambda row: row.id)],
    )


def url_out(row: HostCategoryUrl) -> UrlOut:
    """An address."""
    return UrlOut.model_validate(row)


def netblock_out(row: HostNetblock) -> NetblockOut:
    """A network."""
    return NetblockOut.model_validate(row)


def asn_out(row: HostAsn) -> AsnOut:
    """An autonomous system."""
    return AsnOut.model_validate(row)


def country_out(row: HostCountry) -> CountryOut:
    """A country."""
    return CountryOut.model_validate(row)


def address_out(row: HostAclAddress) -> AddressOut:
    """An address for the master."""
    return AddressOut.model_validate(row)


def maintenance_out(row: Maintenance) -> MaintenanceOut:
    """A window."""
    return MaintenanceOut.model_validate(row)


# -- how a host is doing


class HostRepository(Output):
    """How a repository was on a host when it was last asked for."""

    category: str
    repo: str
    version: str
    arch: str
    verdict: str
    lag_seconds: int | None
    checked_at: datetime
    has: datetime | None = Field(description="When the metadata that the host has was made.")


class CheckNew(Input):
    """What is to be crawled at once."""

    categories: Annotated[list[Name], Field(max_length=100)] = Field(default=[], description="None: all.")


class CheckOut(Output):
    """A check that was asked for."""

    id: int
    category: str
    state: JobState
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: str


class Checks(Output):
    """Some of them."""

    items: list[CheckOut]


class ServedOut(Output):
    """A mirror in an answer."""

    rank: int
    host: str
    site: str
    country: str
    reason: str
    mine: bool


class ExplanationOut(Output):
    """What became of a host in an answer of the redirector."""

    served: bool
    rank: int | None
    reason: str
    urls: list[str]
    client: dict[str, Any]
    about: str
    category: str
    answer: list[ServedOut]
    hidden: int = Field(description="Private mirrors of others in the answer.")


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def host_repository(row: RepositoryOverview) -> HostRepository:
    """A repository on a host."""
    return HostRepository(
        category=row.category,
        repo=row.prefix,
        version=row.version,
        arch=row.arch,
        verdict=row.verdict,
        lag_seconds=row.lag_seconds,
        checked_at=row.checked_at,
        has=_moment(row.has),
    )


def check_out(check: Check) -> CheckOut:
    """A check."""
    return CheckOut.model_validate(check)


def explanation_out(found: Explanation) -> ExplanationOut:
    """An explanation."""
    return ExplanationOut.model_validate(found)
