"""Every change of the registry is an event of the same transaction: who, what, before and after, never a secret."""

from __future__ import annotations

import getpass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent, SecondFactor, User
from mm_lib.model.hosts import Host, HostAclAddress, HostCategoryUrl
from mm_lib.model.outbox import Event, Webhook
from mm_lib.model.sites import SitePassword
from mm_lib.services import audit, deletion, maintenance, membership, second_factor
from tests import factories as make
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses

ANNE = audit.Actor("anne", None, "192.0.2.7")


def events(session: Session) -> list[AuditEvent]:
    session.flush()
    return list(session.scalars(select(AuditEvent).order_by(AuditEvent.id)))


@pytest.fixture
def host(session: Session) -> Host:
    """A host whose making is forgotten; from now on anne works with the session."""
    host = make.host(session, "m.example.org")
    session.flush()
    audit.sign(session, ANNE)
    return host


def test_a_change_tells_what_changed_and_nothing_else(session: Session, host: Host) -> None:
    host.bandwidth_mbps, host.comment = 2500, host.comment
    [event] = events(session)
    assert (event.actor, event.address, event.action) == ("anne", "192.0.2.7", "change host")
    assert (event.object_id, event.object_name, event.site_id) == (host.id, "m.example.org", host.site_id)
    assert (event.before, event.after) == ({"bandwidth_mbps": 100}, {"bandwidth_mbps": 2500})


def test_what_is_added_and_removed_is_told_whole_and_belongs_to_the_site(session: Session, host: Host) -> None:
    carried = make.carries(session, host, make.category(session), [])
    url = HostCategoryUrl(host_category_id=carried.id, url="https://m.example.org/pub")
    session.add(url)
    session.flush()
    session.delete(url)
    added, removed = events(session)[-2:]
    assert (added.action, removed.action) == ("add host_category_url", "remove host_category_url")
    assert added.after == removed.before
    assert added.after is not None
    assert added.after["url"] == "https://m.example.org/pub"
    assert added.site_id == removed.site_id == host.site_id


def test_an_event_goes_back_with_its_transaction(session: Session, host: Host) -> None:
    with session.begin_nested() as point:
        host.bandwidth_mbps = 1
        session.flush()
        point.rollback()
    assert events(session) == []


def test_a_session_that_nobody_signed_records_nothing(session: Session) -> None:
    make.host(session, "crawled").last_crawl_seconds = 3.0
    assert events(session) == []


def test_of_secrets_only_their_being_there_is_told(session: Session, host: Host) -> None:
    secret = "$argon2id$v=19$secret"
    session.add(SitePassword(site_id=host.site_id, password_hash=secret))
    session.add(User(name="bert", password_hash=secret))
    found = [event.after or {} for event in events(session)]
    assert [after["password_hash"] for after in found] == [audit.HIDDEN, audit.HIDDEN]


def test_the_query_of_a_webhook_is_not_told(session: Session, host: Host) -> None:
    """Receivers keep their secrets there, and viewers read the events of their site."""
    hook = Webhook(site_id=host.site_id, url="https://hooks.example.org/in?token=s3cret", secret="whsec_x")
    session.add(hook)
    session.flush()
    hook.url = "https://hooks.example.org/in?token=n3w"
    session.flush()
    session.delete(hook)
    told = [(event.object_name, event.before, event.after) for event in events(session)]
    assert len(told) == 3
    assert "s3cret" not in str(told)
    assert "n3w" not in str(told)
    assert "https://hooks.example.org/in?" in str(told)


def test_an_operation_that_records_itself_gets_no_second_event(session: Session, host: Host) -> None:
    with audit.told_otherwise(session):
        host.bandwidth_mbps = 5
    assert events(session) == []
    host.bandwidth_mbps = 6
    assert len(events(session)) == 1


def test_a_site_that_goes_leaves_an_event_without_it(session: Session, host: Host) -> None:
    session.delete(host.site)
    found = {event.action: event.site_id for event in events(session)}
    assert found["remove site"] is None
    assert set(found.values()) == {None}


def test_what_is_done_to_a_deleted_host_belongs_to_its_site(session: Session, host: Host) -> None:
    deletion.delete_site(session, host.site, "anne", make.NOW)
    host_id, site_id = host.id, host.site_id
    session.expunge_all()
    session.add(HostAclAddress(host_id=host_id, address="192.0.2.7"))
    assert [event.site_id for event in events(session)][-1] == site_id


def test_a_host_of_a_deleted_site_can_be_changed_and_is_told_of(session: Session, host: Host) -> None:
    with transaction(session):
        host.site.deleted_at = make.NOW
    session.expunge_all()
    found = session.get_one(Host, host.id)
    with transaction(session):
        found.comment = "left alone"
    assert "host.updated" in session.scalars(select(Event.kind)).all()
    with transaction(session):
        session.delete(session.get_one(Host, host.id))
    assert "host.deleted" in session.scalars(select(Event.kind)).all()


def test_maintenance_requests_and_second_factors_are_recorded(session: Session, host: Host) -> None:
    bert = User(name="bert")
    session.add(bert)
    session.flush()
    maintenance.announce(
        session, host, make.NOW, make.NOW + timedelta(hours=1), reason="disks", by="anne", now=make.NOW
    )
    membership.ask_to_join(session, host.site.name, bert.id, "It's me")
    secret = second_factor.prepare(session, bert.id, make.NOW)
    found = {event.action: (event.object_name, event.site_id, event.after) for event in events(session)}
    assert found["add maintenance"][:2] == ("disks", host.site_id)
    assert found["add site_join_request"][:2] == (str(bert.id), host.site_id)
    assert found["add second_factor"][0] == str(bert.id)
    assert secret not in str(found)
    number = len(events(session))
    assert second_factor.prepare(session, bert.id, make.NOW) != secret
    session.get_one(SecondFactor, bert.id).last_step = 5
    assert len(events(session)) == number, "neither a look at the page again nor the use of a code is a change"


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Admin:
    return Admin(tmp_path, database_url)


def told(admin: Admin) -> list[Any]:
    return [(row["action"], row["subject"], row["actor"]) for row in admin.rows("events")]


def test_commands_are_recorded_with_the_login_name(admin: Admin) -> None:
    admin.ok("product", "add", "Fedora")
    admin.ok("category", "add", "Fedora Linux", "--product", "Fedora")
    by = f"{getpass.getuser()} (mm-admin)"
    assert told(admin) == [("add category", "Fedora Linux", by), ("product add", "Fedora", by)]


def test_loading_rules_is_one_event_per_category_that_changed(admin: Admin) -> None:
    admin.ok("product", "add", "Fedora")
    admin.ok("category", "add", "Fedora Linux", "--product", "Fedora")
    admin.ok("rules", "load", "fedora", "--category", "Fedora Linux")
    admin.ok("rules", "load", "fedora", "--category", "Fedora Linux")
    assert [action for action, _, _ in told(admin)].count("load rules") == 1


def test_the_table_of_what_is_recorded_names_columns_that_exist() -> None:
    for table, name in audit.RECORDED.items():
        assert name in table.__table__.columns, table
