"""What a check-in changes in the database, on SQLite and PostgreSQL; and the passwords of sites."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from argon2 import PasswordHasher, profiles
from pyroaring import BitMap
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_lib.database import make_sessions, transaction
from mm_lib.model.base import State
from mm_lib.model.content import Directory
from mm_lib.model.hosts import Host
from mm_lib.model.sites import Site, SitePassword
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth, HostCategoryState, StateSource
from mm_lib.rules.checkin import Report
from mm_lib.services import checkin, site_passwords
from mm_lib.services.checkin import Counted, NotPrivate, UnknownHost, WrongPassword
from mm_lib.services.errors import InvalidValue
from tests import checkins
from tests import factories as make

NOW = make.NOW
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(site_passwords, "_hasher", lambda: PasswordHasher.from_parameters(profiles.CHEAPEST))
    yield
    site_passwords._hash_of_nobody.cache_clear()


@pytest.fixture
def host(session: Session) -> Host:
    return checkins.registry(session)


def report(*paths: str, active: bool | None = None) -> Report:
    return Report(checkins.HOST, trees={"fedora linux": paths}, active=active)


def stored(session: Session, host: Host) -> HostCategoryState:
    return session.scalars(
        select(HostCategoryState).where(HostCategoryState.host_category_id == host.categories[0].id)
    ).one()


def test_presence_is_one_bitmap_and_what_is_gone_is_taken_out(session: Session, host: Host) -> None:
    first = checkin.check_in(session, host.site, report("", "releases", "/releases/44/", "nowhere"), NOW)
    assert first.categories == [Counted("Fedora Linux", 0, 3, 0, 1)]
    second = checkin.check_in(session, host.site, report("", ".//releases", "updates"), NOW + DAY)
    assert second.categories == [Counted("Fedora Linux", 2, 1, 1, 0)]
    state = stored(session, host)
    names = {f"{checkins.TOPDIR}/{name}".rstrip("/") for name in ("", "releases", "updates")}
    ids = BitMap(session.scalars(select(Directory.id).where(Directory.path.in_(names))))
    assert BitMap.deserialize(state.up_to_date) == ids
    assert (state.directories_up_to_date, state.directories_total) == (3, 5)
    assert (state.established_at, state.source) == (NOW + DAY, StateSource.CHECK_IN)


def test_a_check_in_is_noted_and_is_no_change_of_the_host(session: Session, host: Host) -> None:
    session.refresh(host)
    changed = host.updated_at
    checkin.check_in(session, host.site, report(""), NOW)
    session.refresh(host)
    assert (host.last_checked_in_at, host.updated_at) == (NOW, changed)


def test_paths_that_lead_out_of_the_tree_are_unknown(session: Session, host: Host) -> None:
    done = checkin.check_in(session, host.site, report("../linux/releases", "releases/../updates"), NOW)
    assert done.categories == [Counted("Fedora Linux", 0, 0, 0, 1)]


@pytest.mark.parametrize(
    ("before", "says", "after"),
    [
        (State.ACTIVE, None, State.ACTIVE),
        (State.ACTIVE, False, State.OWNER_DISABLED),
        (State.OWNER_DISABLED, True, State.ACTIVE),
        (State.AUTO_DISABLED, True, State.ACTIVE),
        (State.OWNER_DISABLED, None, State.OWNER_DISABLED),
        (State.ADMIN_DISABLED, True, State.ADMIN_DISABLED),
        (State.ADMIN_DISABLED, False, State.ADMIN_DISABLED),
    ],
)
def test_a_mirror_says_whether_it_is_active_and_administrators_stand_above(
    session: Session, host: Host, before: State, says: bool | None, after: State
) -> None:
    host.state, host.state_reason, host.state_by = before, "test", "test"
    session.flush()
    done = checkin.check_in(session, host.site, Report(checkins.HOST, active=says), NOW)
    assert (done.state, host.state, done.categories) == (after, after, [])


@pytest.mark.parametrize(("crawled", "health"), [(False, Health.ACTIVE), (True, Health.QUARANTINED)])
def test_what_no_crawl_asks_any_more_leaves_quarantine_by_a_check_in(
    session: Session, host: Host, crawled: bool, health: Health
) -> None:
    host.crawl_private = crawled
    row = session.get_one(HostCategoryHealth, host.categories[0].id)
    row.health, row.failures = Health.QUARANTINED, 9
    session.flush()
    checkin.check_in(session, host.site, report(""), NOW)
    assert row.health is health
    assert len(session.scalars(select(HealthChange)).all()) == (0 if crawled else 1)


def test_two_check_ins_of_a_host_wait_for_one_another(session: Session, host: Host, engine: Engine) -> None:
    """The second counts from what the first has stored; neither is lost."""
    site_id, done = host.site_id, []
    session.commit()

    def second() -> None:
        with make_sessions(engine)() as other, transaction(other):
            site = other.get_one(Site, site_id)
            done.append(checkin.check_in(other, site, report("", "updates"), NOW).categories)

    checkin.check_in(session, host.site, report("", "releases"), NOW)
    thread = Thread(target=second)
    thread.start()
    thread.join(0.3)
    assert done == []
    session.commit()
    thread.join(30)
    assert done == [[Counted("Fedora Linux", 1, 1, 1, 0)]]


def test_only_private_hosts_of_this_site_check_in(session: Session, host: Host) -> None:
    other = make.host(session, "other.example.net", private=True)
    with pytest.raises(UnknownHost):
        checkin.check_in(session, other.site, report(""), NOW)
    host.private = False
    session.flush()
    with pytest.raises(NotPrivate):
        checkin.check_in(session, host.site, report(""), NOW)
    assert session.scalars(select(HostCategoryState)).all() == []


def test_an_old_password_works_until_its_time_is_over(session: Session, host: Host) -> None:
    new = site_passwords.change(session, host.site, NOW, overlap=14 * DAY)
    for password, later, opens in (
        (checkins.PASSWORD, 13 * DAY, True),
        (checkins.PASSWORD, 14 * DAY, False),
        (new, 13 * DAY, True),
        (new, 1000 * DAY, True),
        ("wrong", DAY, False),
        ("", DAY, False),
    ):
        assert site_passwords.matches(session, host.site, password, NOW + later) is opens


def test_at_most_two_passwords_work_and_none_once_they_are_withdrawn(session: Session, host: Host) -> None:
    second = site_passwords.change(session, host.site, NOW)
    third = site_passwords.change(session, host.site, NOW + DAY)
    works = [site_passwords.matches(session, host.site, it, NOW + DAY) for it in (checkins.PASSWORD, second, third)]
    assert works == [False, True, True]
    assert site_passwords.withdraw(session, host.site) == 2
    assert not site_passwords.matches(session, host.site, third, NOW + DAY)


def test_two_changes_at_the_same_moment_leave_two_passwords(session: Session, host: Host, engine: Engine) -> None:
    site_id = host.site_id
    session.commit()
    together = Barrier(2)

    def change() -> str:
        with make_sessions(engine)() as own:
            site = own.get_one(Site, site_id)
            together.wait(timeout=10)
            with transaction(own):
                return site_passwords.change(own, site, NOW)

    with ThreadPoolExecutor(2) as pool:
        made = [task.result() for task in [pool.submit(change), pool.submit(change)]]
    session.expire_all()
    site = session.get_one(Site, site_id)
    assert len(site_passwords.current(session, site, NOW)) == 2
    assert all(site_passwords.matches(session, site, password, NOW) for password in made)


def test_a_change_without_overlap_ends_all_others_at_once(session: Session, host: Host) -> None:
    site_passwords.change(session, host.site, NOW, overlap=timedelta())
    assert len(session.scalars(select(SitePassword)).all()) == 1
    assert not site_passwords.matches(session, host.site, checkins.PASSWORD, NOW)


@pytest.mark.parametrize("wrong", [{"password": "short"}, {"overlap": timedelta(days=91)}])
def test_a_change_has_limits(session: Session, host: Host, wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidValue):
        site_passwords.change(session, host.site, NOW, **wrong)  # type: ignore[arg-type]


def test_a_wrong_password_is_refused_like_an_unknown_site(session: Session, host: Host) -> None:
    said = set()
    for site, password in ((checkins.SITE, "wrong"), ("Nobody", checkins.PASSWORD), ("", "")):
        with pytest.raises(WrongPassword) as refusal:
            checkin.open_site(session, site, password, NOW)
        said.add(str(refusal.value))
    assert len(said) == 1
    assert checkin.open_site(session, checkins.SITE, checkins.PASSWORD, NOW) is host.site
