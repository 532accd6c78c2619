"""The report to those who speak for a site: what its mirrors served, how they were, and what to fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import User
from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.model.statistics import AccessDimension, StatisticLevel
from mm_lib.reports import mirrors, requests
from mm_lib.reports.distribution import Period, title_of
from mm_lib.reports.document import (
    Block,
    Bullets,
    Document,
    Section,
    Table,
    Text,
    change,
    chart,
    days,
    duration,
    number,
    percent,
)
from mm_lib.reports.mirrors import Mirror, midnight
from mm_lib.services import overview

NOT_COUNTED = (
    "How often your mirrors were handed out first is not known for this period: only the redirector's log in JSON "
    "lines has it."
)
SAME_NAME = "Hosts of other sites have this name, too; logs do not tell them apart."


@dataclass(frozen=True)
class _Counted:
    """How often hosts were handed out first, for all reports of a run."""

    total: int
    now: Mapping[str, int]  # requests by host
    before: Mapping[str, int]
    shared: frozenset[str]  # names that hosts of several sites have
    curves: Mapping[str, list[tuple[str, int]]]  # by site


def subscribed(session: Session) -> list[Site]:
    """Sites that take part and want reports, by name."""
    return list(session.scalars(select(Site).where(Site.weekly_report, Site.state == State.ACTIVE).order_by(Site.name)))


def addresses(session: Session, site: Site) -> list[str]:
    """Of those who speak for the site, each once."""
    people = (
        select(User.email)
        .join(SiteMember, SiteMember.user_id == User.id)
        .where(SiteMember.site_id == site.id, SiteMember.role != MemberRole.VIEWER, User.active)
    )
    found = [address.strip() for address in session.scalars(people)]
    return sorted({address.lower(): address for address in found if address}.values())


def reports(
    session: Session, sites: Sequence[Site], period: Period, steps: tuple[StatisticLevel, date]
) -> list[Document]:
    """One for each site."""
    every = mirrors.mirrors(session, period.span)
    counted = _count(session, period, steps, every)
    return [_report(session, site, period, [one for one in every if one.site_id == site.id], counted) for site in sites]


def _count(session: Session, period: Period, steps: tuple[StatisticLevel, date], every: Sequence[Mirror]) -> _Counted:
    found = requests.counted(session, AccessDimension.HOST, period.span, None)
    then = requests.counted(session, AccessDimension.HOST, period.compared, None)
    twice = select(Host.name).group_by(Host.name).having(func.count() > 1)
    shared = frozenset(session.scalars(twice))
    whose = {mirror.name: str(mirror.site_id) for mirror in every if mirror.name not in shared}
    curves = requests.steps(session, AccessDimension.HOST, (*steps, period.span.last), whose)
    now, before = ({row.name: row.requests for row in figures.rows} for figures in (found, then))
    return _Counted(found.requests, now, before, shared, curves)


def _report(session: Session, site: Site, period: Period, own: Sequence[Mirror], counted: _Counted) -> Document:
    todo = [f"{mirror.name}: {what}" for mirror in own for what in (*mirror.to_do(), *_behind(session, mirror))]
    todo = todo or ["Nothing. Thank you for running a mirror."]
    said = f"Days are those of UTC. Compared with {days(period.compared.first, period.compared.last)}."
    sections = (
        Section("What to fix", 2, (Bullets(tuple(todo)),)),
        Section("What you served", 2, tuple(_served(site, own, counted))),
        Section("How your mirrors were", 2, tuple(_health(own))),
    )
    asked = "You get this because your site asked for weekly reports; its form is where to change that."
    introduction = (Text(said), *((Text(asked),) if site.weekly_report else ()))
    title = title_of(site.name, period)
    return Document(title, midnight(period.span.last) + timedelta(days=1), introduction, sections)


def _behind(session: Session, mirror: Mirror) -> Iterator[str]:
    """Repositories that were not as on the master when they were last asked for."""
    host = session.get_one(Host, mirror.host_id)
    for category, found in overview.freshness(overview.repositories(session, host), most=1).items():
        if found.up_to_date < found.total:
            worst = found.worst[0]
            lag = f", {duration(worst.lag_seconds)} behind" if worst.lag_seconds else ""
            yield (
                f"{category}: {found.total - found.up_to_date} of {found.total} repositories were not as on the master "
                f"when they were last looked at, the worst {worst.prefix} {worst.arch} ({worst.verdict}{lag})"
            )


def _served(site: Site, own: Sequence[Mirror], counted: _Counted) -> Iterator[Block]:
    if not counted.now:
        yield Text(NOT_COUNTED)
        return
    names = [mirror.name for mirror in own if mirror.name not in counted.shared]
    now, before = (sum(known.get(name, 0) for name in names) for known in (counted.now, counted.before))
    share = now / counted.total if counted.total else None
    yield Text(
        f"Your mirrors were handed out first {number(now)} times ({change(now, before)}): {percent(share)} of all "
        "requests."
    )
    curve = counted.curves.get(str(site.id), [])
    if len(curve) > 1:
        yield chart(f"Handed out first: mirrors of {site.name}", "times", curve)
    if own:
        columns = ("Mirror", "First", "Share", "Change")
        yield Table("By mirror", columns, tuple(_row(mirror, counted) for mirror in own), frozenset((1, 2, 3)))
    if any(mirror.name in counted.shared for mirror in own):
        yield Text(f"–: {SAME_NAME}")


def _row(mirror: Mirror, counted: _Counted) -> tuple[str, ...]:
    if mirror.name in counted.shared:
        return mirror.name, "–", "–", "–"
    now, before = (known.get(mirror.name, 0) for known in (counted.now, counted.before))
    return mirror.name, number(now), percent(now / counted.total), change(now, before)


def _health(own: Sequence[Mirror]) -> Iterator[Block]:
    rows = tuple(
        (mirror.name, each.category, each.health.value, number(each.outages), percent(each.uptime))
        for mirror in own
        for each in mirror.carried
    )
    if not rows:
        yield Text("Your mirrors carry nothing.")
        return
    columns = ("Mirror", "Category", "At the end", "Outages", "Uptime")
    yield Table("Health by category", columns, rows, frozenset((3, 4)))
    yield Text("Uptime is the share of the time in which clients could be sent there.")
