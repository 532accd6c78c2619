"""A private mirror tells what it carries, and its word counts: a directory that is there is good.

Presence is one bitmap per category that the host carries, as the crawler keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from pyroaring import BitMap
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, undefer

from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth, HostCategoryState, StateSource
from mm_lib.rules.checkin import Report, full_path, shown
from mm_lib.services import hosts, site_passwords
from mm_lib.services.errors import NotAllowed, NotFound

BY = "check-in"  # who decided, where a state names somebody
ROWS = 5_000  # of the database that are looked at together
_SWITCHED_OFF = "the mirror's own check-in says that it is not active"


class WrongPassword(NotAllowed):
    """No such site, or not its password: which of them is not told."""

    def __init__(self) -> None:
        super().__init__("Config file site name or password incorrect.")


class UnknownHost(NotFound):
    """The site has no such host."""

    def __init__(self) -> None:
        super().__init__("Config file host name for site not found.")


class NotPrivate(NotAllowed):
    """Public mirrors are crawled: what they say of themselves must not count for more."""

    def __init__(self) -> None:
        super().__init__("Only private mirrors are allowed to use report_mirror.")


class Counted(NamedTuple):
    """What a check-in changed of one category, in directories."""

    category: str
    updated: int
    added: int
    removed: int
    unknown: int  # not known on the master, so they say nothing


@dataclass(frozen=True)
class CheckedIn:
    """What came of a check-in."""

    host: str
    at: datetime
    state: State
    categories: list[Counted]
    ignored: list[str]  # categories that the host does not carry here


def open_site(session: Session, name: str, password: str, now: datetime) -> Site:
    """The site that name and password belong to. Raises WrongPassword."""
    site = find_site(session, name)
    if not site_passwords.matches(session, site, password, now) or site is None:
        raise WrongPassword
    return site


def find_site(session: Session, name: str) -> Site | None:
    """The site of exactly this name, if there is one."""
    return session.scalar(select(Site).where(Site.name == name)) if name else None


def check_in(session: Session, site: Site, report: Report, now: datetime) -> CheckedIn:
    """Believe a report of one of the site's hosts. Raises UnknownHost, NotPrivate."""
    host = _host(session, site, report.host)
    # First of all a write: from here to the commit nobody else stores anything of this host, on either database.
    session.execute(
        update(Host).where(Host.id == host.id).values(last_checked_in_at=now, updated_at=Host.updated_at),
        execution_options={"synchronize_session": False},
    )
    session.refresh(host)
    carried = {row.category.name.lower(): row for row in _carried(session, host)}
    counted = [_believe(session, carried[name], paths, now) for name, paths in report.trees.items() if name in carried]
    _switch(session, host, report.active)
    if not host.crawl_private:
        _take_out_of_quarantine(session, [carried[name] for name in report.trees if name in carried], now)
    session.flush()
    ignored = [shown(name) for name in report.trees if name not in carried]
    return CheckedIn(host.name, now, host.state, counted, ignored)


def _host(session: Session, site: Site, name: str) -> Host:
    host = session.scalar(select(Host).where(Host.site_id == site.id, Host.name == name))
    if host is None:
        raise UnknownHost
    if not host.private:
        raise NotPrivate
    return host


def _carried(session: Session, host: Host) -> Iterable[HostCategory]:
    return session.scalars(select(HostCategory).join(Category).where(HostCategory.host_id == host.id))


def _believe(session: Session, carried: HostCategory, paths: Iterable[str], now: datetime) -> Counted:
    """Keep which of the category's directories are there."""
    category = carried.category
    topdir = category.topdir
    said = {full_path(topdir, path) for path in paths}
    found, total = _compare(session, category, said), _expected(session, category)
    query = select(HostCategoryState).where(HostCategoryState.host_category_id == carried.id)
    state = session.scalar(query.options(undefer(HostCategoryState.up_to_date)))
    before = BitMap.deserialize(state.up_to_date) if state is not None else BitMap()
    if state is None:
        state = HostCategoryState(host_category_id=carried.id)
        session.add(state)
    state.up_to_date, state.directories_up_to_date, state.directories_total = found.serialize(), len(found), total
    state.established_at, state.source = now, StateSource.CHECK_IN
    return Counted(category.name, len(found & before), len(found - before), len(before - found), len(said) - len(found))


def _compare(session: Session, category: Category, said: Set[str | None]) -> BitMap:
    """The directories that the master has, too.

    By the driver's own cursor, some at a time: rows of SQLAlchemy would take five times as long for 150,000.
    """
    found = BitMap()
    query = select(Directory.path, Directory.id).where(Directory.category_id == category.id)
    with session.connection().execute(query) as result:
        assert result.cursor is not None
        while rows := result.cursor.fetchmany(ROWS):
            found.update([id_ for path, id_ in rows if path in said])
    return found


def _expected(session: Session, category: Category) -> int:
    """How many directories mirrors should have."""
    query = select(func.count()).where(Directory.category_id == category.id, Directory.readable)
    return session.scalar(query) or 0


def _switch(session: Session, host: Host, active: bool | None) -> None:
    """The owner's word on whether it takes part; an administrator's stands above it."""
    if active is True and host.state in (State.OWNER_DISABLED, State.AUTO_DISABLED):
        hosts.set_state(session, host, State.ACTIVE, "", BY)
    elif active is False and host.state is State.ACTIVE:
        hosts.set_state(session, host, State.OWNER_DISABLED, _SWITCHED_OFF, BY)


def _take_out_of_quarantine(session: Session, carried: Iterable[HostCategory], now: datetime) -> None:
    """It came there by a crawl when it was public; as no crawl asks it any more, none would let it out."""
    ids = [row.id for row in carried]
    query = select(HostCategoryHealth).where(
        HostCategoryHealth.host_category_id.in_(ids), HostCategoryHealth.health != Health.ACTIVE
    )
    for row in session.scalars(query):
        row.health, row.reason, row.since, row.failures, row.failing_since = Health.ACTIVE, BY, now, 0, None
        session.add(HealthChange(host_category_id=row.host_category_id, at=now, health=row.health, reason=BY))
