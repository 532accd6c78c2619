"""What a site is told of a crawl: one event per change of the whole host, written with the result that it tells of.

failing: the first category of a host leaves the next cache; recovered: none is left out any more; disabled, re-enabled:
the host is switched. So an outage is told once, however many crawls and categories notice it. Suspect is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_crawler.report import CategoryReport, Evidence, HostDecision, HostPast, HostReport
from mm_lib.model.base import State
from mm_lib.model.content import Category
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.outbox import Event
from mm_lib.model.state import Health
from mm_lib.services import outbox
from mm_lib.services.outbox import Kind

AGENT = "mm-crawler"
_CHANGES = (Kind.FAILING, Kind.RECOVERED)
_NO_EXPLANATION = ("redirect", "ok")  # kinds of evidence that explain no failure


class Flapping(NamedTuple):
    """After so many changes within these hours, further ones wait for a digest."""

    changes: int
    hours: float


def announce(
    session: Session, report: HostReport, decision: HostDecision, past: HostPast, flapping: Flapping
) -> Kind | None:
    """Write the event of what changed for the host, if anything did, in the transaction of the result."""
    kind = what_happened(decision, past)
    if kind is None:
        return None
    host = session.get_one(Host, report.host_id)
    at = report.started_at + timedelta(seconds=report.seconds)
    told = list(_categories(session, report, decision, kind))
    payload = {
        "agent": AGENT,
        "host": outbox.host_body(host),
        "site": outbox.site_body(session, host.site),
        "crawled_at": at.isoformat(timespec="seconds"),
        "reason": decision.disable_reason or decision.enable_reason or _reason(kind, told),
        "categories": told,
    }
    held = kind in _CHANGES and _flaps(session, host.id, at, flapping)
    outbox.emit(session, kind, payload, site_id=host.site_id, host_id=host.id, at=at, held=held)
    return kind


def what_happened(decision: HostDecision, past: HostPast) -> Kind | None:
    """The one thing that a site is told of this crawl; None: nothing changed for the host as a whole."""
    if decision.disable_reason:
        return Kind.DISABLED
    if decision.enable_reason:
        return Kind.REENABLED
    if past.state is not State.ACTIVE:
        return None  # nobody is sent to it anyway, and whoever switched it off knows
    before = {id_: each.health for id_, each in past.categories.items() if not each.always_up_to_date}
    after = before | {each.host_category_id: each.health for each in decision.categories}
    was_ill, is_ill = (Health.QUARANTINED in health.values() for health in (before, after))
    if was_ill == is_ill:
        return None
    return Kind.FAILING if is_ill else Kind.RECOVERED


def _categories(session: Session, report: HostReport, decision: HostDecision, kind: Kind) -> Iterator[dict[str, Any]]:
    """Those that failed, or those that came back, with the reason and an example of what was found."""
    reports = {each.host_category_id: each for each in report.categories}
    names = _names(session, report.host_id)
    for each in decision.categories:
        ill = each.health is Health.QUARANTINED
        if ill if kind in (Kind.DISABLED, Kind.FAILING) else each.health_changed and not ill:
            yield {
                "name": names[each.host_category_id],
                "health": each.health.value,
                "reason": each.reason,
                **_example(reports[each.host_category_id], wanted=ill),
            }


def _example(report: CategoryReport, *, wanted: bool) -> Mapping[str, str]:
    examples = (evidence for kind, evidence in report.evidence if kind not in _NO_EXPLANATION)
    example: Evidence | None = next(examples, None) if wanted else None
    return example._asdict() if example else {}


def _names(session: Session, host_id: int) -> dict[int, str]:
    query = select(HostCategory.id, Category.name).join(Category, Category.id == HostCategory.category_id)
    return {row.id: row.name for row in session.execute(query.where(HostCategory.host_id == host_id))}


def _reason(kind: Kind, told: list[dict[str, Any]]) -> str:
    if kind is Kind.RECOVERED:
        return "all that it carries is offered to clients again"
    return "; ".join(f"{each['name']} {each['reason']}" for each in told)


def _flaps(session: Session, host_id: int, at: datetime, flapping: Flapping) -> bool:
    """So many changes lately that one more is no news. The host's row is locked, so nobody else counts meanwhile."""
    lately = (Event.host_id == host_id, Event.kind.in_(_CHANGES), Event.at > at - timedelta(hours=flapping.hours))
    count = session.scalar(select(func.count()).select_from(Event).where(*lately)) or 0
    return count >= flapping.changes
