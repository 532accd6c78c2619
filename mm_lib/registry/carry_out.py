"""Steps made true by the services that the forms use: what a form refuses is refused here, with the same words.

Nothing is committed here. trial() does the steps in a session that the caller rolls back, to learn what would be
refused; carry_out() does them for good and lets the first refusal end everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.base import Base, State
from mm_lib.model.hosts import (
    AsnKind,
    CountryKind,
    DirectoryHost,
    Host,
    HostAclAddress,
    HostAsn,
    HostCategory,
    Maintenance,
)
from mm_lib.model.sites import MemberRole, Site, SiteMember, SiteUpstream
from mm_lib.registry.steps import Action, Step
from mm_lib.services import (
    deletion,
    host_details,
    hosts,
    locations,
    maintenance,
    membership,
    reservations,
    sites,
)
from mm_lib.services.content import find_category
from mm_lib.services.errors import InvalidValue, NotFound, ServiceError
from mm_lib.services.host_details import Limits

_STATES = {"administrator": State.ADMIN_DISABLED, "owner": State.OWNER_DISABLED, "": State.ACTIVE}
_Row = TypeVar("_Row", bound=Base)


class Refused(ServiceError):
    """A step that the registry does not take."""

    def __init__(self, step: Step, reason: str) -> None:
        super().__init__(f"{step.kind} {step.subject}: {reason}")
        self.step = step
        self.reason = reason


class Refusal(NamedTuple):
    """A step that would be refused, and why."""

    step: Step
    reason: str


@dataclass
class Powers:
    """Who does it, and within which limits. Administrators have none."""

    actor: str
    now: datetime
    limits: Limits | None = None  # how large a network may be
    local: bool = True  # URLs may name machines that are not on the Internet


def trial(
    session: Session, steps: Iterable[Step], powers: Powers, progress: Callable[[], object] = lambda: None
) -> list[Refusal]:
    """What would be refused. The session must be frozen, for SQLite's savepoints, and rolled back afterwards."""
    work = _Work(session, powers, list(steps))
    refused = []
    for step in work.steps:
        try:
            with session.begin_nested():
                work.do(step)
        except ServiceError as error:
            refused.append(Refusal(step, str(error)))
            work.forget(step)
        progress()
    return refused


def carry_out(
    session: Session, steps: Iterable[Step], powers: Powers, progress: Callable[[], object] = lambda: None
) -> None:
    """Do all steps. Raises Refused at the first that is refused."""
    work = _Work(session, powers, list(steps))
    for step in work.steps:
        try:
            work.do(step)
        except Refused:
            raise
        except ServiceError as error:
            raise Refused(step, str(error)) from error
        progress()


@dataclass
class _Work:
    """Steps in a session, with the sites and hosts that they meet."""

    session: Session
    powers: Powers
    steps: list[Step]
    _sites: dict[str, Site] = field(default_factory=dict)
    _hosts: dict[tuple[str, str], Host] = field(default_factory=dict)
    _former: dict[tuple[str, str], str] = field(default_factory=dict)  # (site, new name) -> name until its step

    def __post_init__(self) -> None:
        for step in self.steps:
            if step.action is Action.CHANGE and "name" in step.after:
                key = (step.site, step.after["name"]) if step.kind == "host" else ("", step.after["name"])
                self._former[key] = step.before["name"]

    def do(self, step: Step) -> None:
        """One step. Raises ServiceError."""
        _DO[step.kind](self, step)

    def forget(self, step: Step) -> None:
        """What was just rolled back is not there."""
        if step.kind == "site":
            self._sites.pop(step.site, None)
        elif step.kind == "host":
            self._hosts.pop((step.site, step.host), None)

    # -- finding

    def site(self, name: str) -> Site:
        """The site, under its new or its former name. Raises NotFound."""
        found = self._sites.get(name)
        if found is None:
            names = (name, self._former.get(("", name), name))
            found = self.session.scalars(select(Site).where(Site.name.in_(names))).first()
            if found is None:
                raise NotFound(f"there is no site {name!r}")
            self._sites[name] = found
        return found

    def host(self, step: Step) -> Host:
        """The host of a step, under its new or its former name. Raises NotFound."""
        found = self._hosts.get((step.site, step.host))
        if found is None:
            names = (step.host, self._former.get((step.site, step.host), step.host))
            owner = self.site(step.site)
            query = select(Host).where(Host.site_id == owner.id, Host.name.in_(names))
            found = self.session.scalars(query).first()
            if found is None:
                raise NotFound(f"there is no host {step.host!r}")
            self._hosts[step.site, step.host] = found
        return found

    def carried(self, step: Step, name: str) -> HostCategory:
        """The category of that name on the host. Raises NotFound."""
        for row in self.host(step).categories:
            if row.category.name == name:
                return row
        raise NotFound(f"{step.host} does not carry {name}")

    def one(self, table: type[_Row], *conditions: Any) -> _Row:
        """The one row. Raises NotFound."""
        row = self.session.scalars(select(table).where(*conditions)).first()
        if row is None:
            raise NotFound("it is not there any more")
        return row

    def thing(self, step: Step) -> Site | Host:
        """The host of a step, or else its site."""
        return self.host(step) if step.host else self.site(step.site)


# -- sites and their members


def _site(work: _Work, step: Step) -> None:
    session, powers = work.session, work.powers
    if step.action is Action.REMOVE:
        deletion.delete_site(session, work.site(step.site), powers.actor, powers.now, unlimited=True)
        return
    fields = dict(step.after)
    if step.action is Action.ADD:
        given = _taken_along(fields, ("org_url", "private"))
        site = sites.add_site(session, step.site, created_by=powers.actor, **given)
        work._sites[step.site] = site
    else:
        site = work.site(step.site)
    was_private = site.private
    sites.set_fields(session, site, **fields)
    session.flush()
    if site.private != was_private:
        ids = list(session.scalars(select(Host.id).where(Host.site_id == site.id)))
        host_details.forget_content(session, ids)


def _taken_along(fields: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What a new thing is made with at once, so that it is one event."""
    return {name: fields.pop(name) for name in names if name in fields}


def _state(work: _Work, step: Step) -> None:
    state = _STATES[step.after["by"]]
    hosts.set_state(work.session, work.thing(step), state, step.after["reason"], work.powers.actor)


def _member(work: _Work, step: Step) -> None:
    session, site = work.session, work.site(step.site)
    if step.action is Action.ADD:
        try:
            membership.add(session, site, step.key, MemberRole(step.after["role"]), by_owner=True)
        except InvalidValue:
            raise NotFound(f"there is no user {step.key!r}") from None
        return
    name = select(User.id).where(User.name == step.key).scalar_subquery()
    row = work.one(SiteMember, SiteMember.site_id == site.id, SiteMember.user_id == name)
    if step.action is Action.REMOVE:
        membership.remove(session, row, by_owner=True)
    else:
        membership.set_role(session, row, MemberRole(step.after["role"]))


def _upstream(work: _Work, step: Step) -> None:
    session, site = work.session, work.site(step.site)
    other = work.site(step.key)
    if other.id == site.id:
        raise InvalidValue("upstreams", "a site does not mirror from itself")
    if step.action is Action.ADD:
        session.add(SiteUpstream(upstream_id=other.id, downstream_id=site.id))
        session.flush()
    else:
        condition = (SiteUpstream.upstream_id == other.id, SiteUpstream.downstream_id == site.id)
        host_details.remove(session, work.one(SiteUpstream, *condition))


# -- hosts


def _host(work: _Work, step: Step) -> None:
    session, powers = work.session, work.powers
    if step.action is Action.REMOVE:
        deletion.delete_host(session, work.host(step), powers.actor, powers.now, unlimited=True)
        return
    fields = dict(step.after)
    if fields.get("coordinates") is not None:
        place = fields["coordinates"]
        fields["coordinates"] = (place.latitude, place.longitude)
    if fields.get("country", "") is None:
        raise InvalidValue("country", "a host that has a country must keep one")
    if step.action is Action.ADD:
        given = _taken_along(fields, _AT_ONCE)
        host = hosts.add_host(session, work.site(step.site).name, step.host, created_by=powers.actor, **given)
        work._hosts[step.site, step.host] = host
    else:
        host = work.host(step)
    if fields:
        host_details.edit_fields(session, host, **fields)


_AT_ONCE = ("country", "bandwidth_mbps", "private", "coordinates", "has_ipv4", "has_ipv6")


def _category(work: _Work, step: Step) -> None:
    session = work.session
    if step.action is Action.REMOVE:
        _take_away(session, work.host(step), "categories", work.carried(step, step.key))
        return
    always = bool(step.after.get("always_up_to_date"))
    if step.action is Action.ADD:
        wanted = find_category(session, step.key)
        host_details.add_category(session, work.host(step), wanted.id, always_up_to_date=always, unlimited=True)
    else:
        carried = work.carried(step, step.key)
        host_details.edit_category(session, carried, always_up_to_date=always, unlimited=True)


def _url(work: _Work, step: Step) -> None:
    carried = work.carried(step, step.category)
    row = next((url for url in carried.urls if url.url == step.key), None)
    if step.action is Action.REMOVE:
        _take_away(work.session, carried, "urls", row)
        return
    private = bool(step.after.get("private"))
    host_details.save_url(
        work.session, carried, row, step.key, private=private, local=work.powers.local, unlimited=True
    )


def _netblock(work: _Work, step: Step) -> None:
    session, host = work.session, work.host(step)
    row = next((known for known in host.netblocks if known.netblock == step.key), None)
    if step.action is Action.REMOVE:
        _take_away(session, host, "netblocks", row)
        return
    name, limits = step.after.get("name", ""), work.powers.limits
    # A name without an address now may have one when clients ask; and a transaction must not wait for DNS.
    host_details.save_netblock(session, host, row, step.key, name, limits=limits, resolve=lambda name: [name])


def _asn(work: _Work, step: Step) -> None:
    session, host = work.session, work.host(step)
    if step.action is Action.ADD:
        hosts.add_asn(session, host, step.key, AsnKind(step.after["kind"]), step.after.get("name", ""))
        return
    row: HostAsn = _there(next((known for known in host.asns if known.asn == step.key), None))
    if step.action is Action.REMOVE:
        _take_away(session, host, "asns", row)
        return
    row.kind = AsnKind(step.after.get("kind", row.kind.value))
    host_details.rename_asn(session, row, step.after.get("name", row.name))


def _country(work: _Work, step: Step) -> None:
    session, host = work.session, work.host(step)
    kind = CountryKind(step.kind.partition(" ")[0])
    if step.action is Action.ADD:
        hosts.add_country(session, host, step.key, kind)
        return
    rows = (row for row in host.countries if (row.country, row.kind) == (step.key, kind))
    _take_away(session, host, "countries", next(rows, None))


def _acl(work: _Work, step: Step) -> None:
    host = work.host(step)
    if step.action is Action.ADD:
        host_details.add_acl_address(work.session, host, step.key)
        return
    row = work.one(HostAclAddress, HostAclAddress.host_id == host.id, HostAclAddress.address == step.key)
    host_details.remove(work.session, row)


def _location(work: _Work, step: Step) -> None:
    change = locations.add_host if step.action is Action.ADD else locations.remove_host
    change(work.session, step.key, work.host(step))


def _maintenance(work: _Work, step: Step) -> None:
    session, host, powers = work.session, work.host(step), work.powers
    starts_at, ends_at = step.key
    if step.action is Action.ADD:
        reason = step.after.get("reason", "")
        maintenance.announce(session, host, starts_at, ends_at, reason=reason, by=powers.actor, now=powers.now)
        return
    same = (Maintenance.host_id == host.id, Maintenance.starts_at == starts_at, Maintenance.ends_at == ends_at)
    row = work.one(Maintenance, *same)
    if step.action is Action.REMOVE:
        host_details.remove(session, row)
    else:
        maintenance.change(session, row, starts_at, ends_at, reason=step.after["reason"], now=powers.now)


def _reserved(work: _Work, step: Step) -> None:
    session, host = work.session, work.host(step)
    category, path = step.key
    directory = reservations.find_directory(session, path, category)
    if step.action is Action.ADD:
        reservations.reserve(session, directory, [host])
    else:
        same = (DirectoryHost.directory_id == directory.id, DirectoryHost.host_id == host.id)
        host_details.remove(session, work.one(DirectoryHost, *same))


def _take_away(session: Session, owner: Base, collection: str, row: Base | None) -> None:
    """Delete a row of a collection so that it becomes an event, which it does not when it is only left out."""
    session.delete(_there(row))
    session.flush()
    session.expire(owner, [collection])


def _there(row: _Row | None) -> _Row:
    if row is None:
        raise NotFound("it is not there any more")
    return row


_DO: dict[str, Callable[[_Work, Step], None]] = {
    "site": _site,
    "state": _state,
    "member": _member,
    "upstream": _upstream,
    "host": _host,
    "category": _category,
    "url": _url,
    "netblock": _netblock,
    "asn": _asn,
    "extra country": _country,
    "allowed country": _country,
    "acl address": _acl,
    "location": _location,
    "maintenance": _maintenance,
    "reserved directory": _reserved,
}
