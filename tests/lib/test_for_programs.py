"""What serves programs, where the database decides: kept answers, slices of lists, locks; on SQLite and PostgreSQL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from mm_lib.database import make_sessions
from mm_lib.model.accounts import KeptAnswer, User
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.model.state import CrawlRun, RunKind
from mm_lib.model.statistics import AccessDimension, AccessStatistic, PropagationStatistic, StatisticLevel
from mm_lib.services import access, kept_answers, legacy, listings
from mm_lib.services.access import Reached
from mm_lib.services.errors import NotFound
from mm_lib.services.kept_answers import AnotherRequest, InProgress
from mm_lib.services.listings import Visible
from mm_lib.services.slices import Slice
from tests import factories

NOW = factories.NOW
EVERYTHING = Visible(everything=True)


def test_an_answer_is_kept_for_who_asked_with_the_same_request_for_a_day(session: Session) -> None:
    row = kept_answers.reserve(session, "user 1", "k", b"asked", NOW)
    assert kept_answers.is_new(row)
    kept_answers.keep(session, row, 201, {"ETag": "x"}, "body")
    again = kept_answers.reserve(session, "user 1", "k", b"asked", NOW)
    assert (again.status, again.body, again.headers) == (201, "body", {"ETag": "x"})
    assert kept_answers.is_new(kept_answers.reserve(session, "user 2", "k", b"asked", NOW))
    with pytest.raises(AnotherRequest):
        kept_answers.reserve(session, "user 1", "k", b"other", NOW)
    assert kept_answers.is_new(kept_answers.reserve(session, "user 1", "k", b"other", NOW + kept_answers.KEPT))


def test_a_key_whose_request_is_being_answered_is_refused(session: Session) -> None:
    kept_answers.reserve(session, "user 1", "k", b"asked", NOW)
    with pytest.raises(InProgress):
        kept_answers.reserve(session, "user 1", "k", b"asked", NOW)


def test_the_same_key_at_the_same_moment_waits_and_gets_the_answer_of_the_first(engine: Engine) -> None:
    sessions = make_sessions(engine)
    with sessions() as first, ThreadPoolExecutor(1) as other:
        row = kept_answers.reserve(first, "user 1", "k", b"asked", NOW)
        waiting = other.submit(_second, sessions)
        time.sleep(0.2)
        assert not waiting.done()
        kept_answers.keep(first, row, 201, {}, "body")
        first.commit()
        assert waiting.result(timeout=20) == (201, "body")


def _second(sessions: sessionmaker[Session]) -> tuple[int, str]:
    with sessions() as session:
        row = kept_answers.reserve(session, "user 1", "k", b"asked", NOW)
        return row.status, row.body


def test_what_is_kept_goes_with_the_work_when_that_fails(session: Session) -> None:
    kept_answers.reserve(session, "user 1", "k", b"asked", NOW)
    session.rollback()
    assert session.scalars(select(KeptAnswer)).all() == []


def test_neither_key_nor_request_is_kept_in_clear(session: Session) -> None:
    row = kept_answers.reserve(session, "user 1", "a secret key", b"a secret body", NOW)
    assert "secret" not in f"{row.key_hash} {row.request_hash}"


def test_slices_follow_one_another_in_either_direction(session: Session) -> None:
    for _ in range(5):
        session.add(CrawlRun(kind=RunKind.MIRRORS, started_at=NOW))
    session.flush()
    first = listings.crawl_runs(session, Slice(None, 2))
    rest = listings.crawl_runs(session, Slice(first[-1].id, 9))
    assert [row.id for row in (*first, *rest)] == sorted((row.id for row in (*first, *rest)), reverse=True)
    assert (len(first), len(rest)) == (2, 3)
    sites = [factories.host(session, f"{name}.example.org").site for name in "abc"]
    assert listings.sites(session, EVERYTHING, Slice(sites[0].id, 1)) == [sites[1]]


def test_sites_and_hosts_are_listed_for_who_may_see_them(session: Session) -> None:
    mine, other = factories.host(session, "a.example.org"), factories.host(session, "b.example.org")
    user = User(name="anne")
    session.add(user)
    session.flush()
    session.add(SiteMember(site_id=mine.site_id, user_id=user.id, role=MemberRole.VIEWER))
    session.flush()
    part = Slice(None, 9)
    assert listings.hosts(session, Visible(user_id=user.id), part) == [mine]
    assert listings.hosts(session, Visible(site_id=other.site_id), part) == [other]
    assert listings.hosts(session, Visible(), part) == []
    assert listings.hosts(session, EVERYTHING, part, name="b.example.org") == [other]
    assert listings.hosts(session, EVERYTHING, part, site_id=mine.site_id) == [mine]


def test_figures_of_a_host_whose_name_two_sites_use_are_nobodys(session: Session) -> None:
    host = factories.host(session, "a.example.org")
    session.add(
        AccessStatistic(
            level=StatisticLevel.DAY,
            dimension=AccessDimension.HOST,
            start=date(2026, 11, 1),
            name=host.name,
            requests=5,
            clients=1,
        )
    )
    session.flush()
    figures = listings.host_figures(session, host, StatisticLevel.DAY, date(2026, 10, 1))
    assert [row.requests for row in figures] == [5]
    assert listings.host_figures(session, host, StatisticLevel.DAY, date(2026, 11, 2)) == []
    session.add(factories.host(session, "x.example.org"))
    session.flush()
    session.scalars(select(Site).where(Site.id != host.site_id)).one().hosts[0].name = host.name
    session.flush()
    assert listings.host_figures(session, host, StatisticLevel.DAY, date(2026, 10, 1)) == []


def test_repositories_that_are_off_or_not_public_are_hidden(session: Session) -> None:
    linux, codecs = factories.category(session), factories.category(session, "Codecs", "codecs")
    codecs.admin_only = True
    shown = factories.repository(session, factories.directory(session, linux, "a"), "a")
    off = factories.repository(session, factories.directory(session, linux, "b"), "b", enabled=False)
    secret = factories.repository(session, factories.directory(session, codecs, "c"), "c")
    part = Slice(None, 9)
    assert listings.repositories(session, part, hidden=False) == [shown]
    assert listings.repositories(session, part, hidden=True) == [shown, off, secret]
    assert listings.repositories(session, part, hidden=True, prefix="b", arch="x86_64") == [off]
    assert listings.repository(session, secret.id, hidden=True) is secret
    with pytest.raises(NotFound):
        listings.repository(session, off.id, hidden=False)
    assert [list(row) for row in legacy.repositories(session)] == [["a"], ["b"], ["c"]]


def test_what_is_locked_is_read_anew_and_what_has_gone_is_not_found(session: Session) -> None:
    host = factories.host(session, "a.example.org")
    session.commit()
    with make_sessions(session.get_bind())() as other:  # type: ignore[arg-type]
        other.get_one(type(host), host.id).comment = "by another"
        other.commit()
    access.lock(session, Reached(host.site, host))
    assert host.comment == "by another"
    session.rollback()
    with make_sessions(session.get_bind())() as other:  # type: ignore[arg-type]
        other.delete(other.get_one(type(host), host.id))
        other.commit()
    with pytest.raises(NotFound):
        access.lock(session, Reached(host.site, host))


def test_old_admins_are_found_by_host_first_and_then_by_site(session: Session) -> None:
    host = factories.host(session, "a.example.org")
    host.site.created_by = "carl"
    users = {name: User(name=name) for name in ("anne", "vera")}
    session.add_all(users.values())
    session.flush()
    for name, role in (("anne", MemberRole.ADMIN), ("vera", MemberRole.VIEWER)):
        session.add(SiteMember(site_id=host.site_id, user_id=users[name].id, role=role))
    session.flush()
    assert legacy.mirror_admins(session) == ["anne"]
    for name in ("a.example.org", "Site of a.example.org"):
        assert legacy.mirror_admins(session, name) == ["anne", "carl"]
    for name in ("nowhere", "\0"):
        with pytest.raises(NotFound):
            legacy.mirror_admins(session, name)


def test_propagation_begins_where_it_is_wanted(session: Session) -> None:
    linux = factories.category(session)
    repository = factories.repository(session, factories.directory(session, linux, "a"), "a")
    counts = dict.fromkeys(("same_day", "one_day", "two_days", "older", "unknown"), 0)
    moments = [NOW, NOW - timedelta(hours=1), NOW - timedelta(days=2)]
    session.add_all(PropagationStatistic(repository_id=repository.id, at=moment, **counts) for moment in moments)
    session.flush()
    found = listings.propagation(session, repository.id, NOW - timedelta(days=1))
    assert [row.at for row in found] == [moments[1], moments[0]]
