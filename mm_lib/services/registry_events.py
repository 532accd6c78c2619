"""Every change of a host or site becomes an event: one per host or site and transaction, whatever rows it took.

A session that is watched (audit.sign() does it) notes which hosts and sites its flushes touch, and writes the events
before it commits. What machines find out is not watched: a crawl writes its own events.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction
from sqlalchemy.orm.attributes import get_history

from mm_lib.model.accounts import ApiToken
from mm_lib.model.hiding import WITH_DELETED
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.model.outbox import Webhook
from mm_lib.model.sites import Site, SitePassword
from mm_lib.services import outbox
from mm_lib.services.outbox import Kind

_AGENT, _TOUCHED = "registry events: agent", "registry events: touched"  # in Session.info
_BEFORE = "registry events: touched before a savepoint"
_NOT_TOLD = (ApiToken, SitePassword, Webhook)  # what they are is nobody's business
_ADDED: dict[type, Kind] = {Host: Kind.HOST_ADDED, Site: Kind.SITE_ADDED}
_DELETED: dict[type, Kind] = {Host: Kind.HOST_DELETED, Site: Kind.SITE_DELETED}  # kept for a while, but out of sight
_Touched = dict[tuple[type[Host | Site], int], Kind]


def watch(session: Session, agent: str) -> None:
    """From now on tell what the session changes as this agent's doing."""
    session.info[_AGENT] = agent


@event.listens_for(Session, "before_flush")
def _tell_deleted(session: Session, _context: object, _instances: object) -> None:
    """Rows that go for good, while they can be described. Hosts that go with their site need no event of their own."""
    if _AGENT not in session.info:
        return
    sites = [row for row in session.deleted if isinstance(row, Site) and row.deleted_at is None]
    for site in sites:
        outbox.site_changed(session, Kind.SITE_DELETED, site, session.info[_AGENT])
    hosts = [row for row in session.deleted if isinstance(row, Host) and row.deleted_at is None]
    for host in [host for host in hosts if host.site not in session.deleted]:
        outbox.host_changed(session, Kind.HOST_DELETED, host, session.info[_AGENT])


@event.listens_for(Session, "after_flush")
def _note(session: Session, _context: object) -> None:
    if _AGENT not in session.info:
        return
    touched: _Touched = session.info.setdefault(_TOUCHED, {})
    for row in session.new:
        if isinstance(row, Host | Site):
            touched[type(row), row.id] = _ADDED[type(row)]
    changed = [row for row in session.dirty if session.is_modified(row)]
    for row in changed:
        if isinstance(row, Host | Site) and get_history(row, "deleted_at").has_changes():
            touched[type(row), row.id] = _DELETED[type(row)] if row.deleted_at else _ADDED[type(row)]
    for owner in _owners(session, [*session.new, *changed, *session.deleted]):
        touched.setdefault(owner, Kind.HOST_UPDATED if owner[0] is Host else Kind.SITE_UPDATED)
    for row in session.deleted:
        if isinstance(row, Host | Site):
            touched.pop((type(row), row.id), None)


def _owners(session: Session, rows: Iterable[object]) -> Iterable[tuple[type[Host | Site], int]]:
    """The host or site that each row is a part of."""
    for row in rows:
        carried = session.get(HostCategory, row.host_category_id) if isinstance(row, HostCategoryUrl) else row
        if isinstance(row, Host | Site):
            yield type(row), row.id
        elif (host_id := getattr(carried, "host_id", None)) is not None:
            yield Host, host_id
        elif (site_id := getattr(row, "site_id", None)) is not None and not isinstance(row, _NOT_TOLD):
            yield Site, site_id


@event.listens_for(Session, "before_commit")
def _tell(session: Session) -> None:
    if _AGENT not in session.info:
        return
    session.flush()
    touched: _Touched = session.info.pop(_TOUCHED, {})
    for (table, id_), kind in touched.items():
        row = session.get(table, id_, execution_options=WITH_DELETED)
        if isinstance(row, Host):
            if touched.get((Site, row.site_id)) is Kind.SITE_DELETED:
                continue  # it went with its site
            outbox.host_changed(session, kind, row, session.info[_AGENT])
        elif isinstance(row, Site):
            outbox.site_changed(session, kind, row, session.info[_AGENT])


@event.listens_for(Session, "after_transaction_create")
def _remember(session: Session, transaction: SessionTransaction) -> None:
    """What was touched before a savepoint: that stays, whatever becomes of the rest."""
    if transaction.nested and _AGENT in session.info:
        # Weak: of a savepoint that is kept nobody says that it is over before it is forgotten.
        known = session.info.setdefault(_BEFORE, WeakKeyDictionary())
        known[transaction] = dict(session.info.get(_TOUCHED, {}))


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, ended: SessionTransaction) -> None:
    before = session.info.get(_BEFORE, {}).get(ended)
    if before is None:
        session.info.pop(_TOUCHED, None)
    else:
        session.info[_TOUCHED] = before
