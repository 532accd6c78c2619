"""What must not be in the database cannot get in (the defects of backend.md 1.3 and frontend.md 0)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import ApiToken, AuditEvent, LoginSession, User
from mm_lib.model.base import State
from mm_lib.model.content import Category, Directory, FileDetail, Product, Repository
from mm_lib.model.hosts import CountryKind, Host, HostAsn, HostCategory, HostCategoryUrl, HostCountry, HostNetblock
from mm_lib.model.sites import Site, SiteMember, SitePassword
from mm_lib.model.state import HostCategoryState
from tests import factories as make


def refused(session: Session, row: Any, because: str | None = None) -> None:
    """The database refuses the row; `because` is the constraint that says so."""
    session.add(row)
    with pytest.raises((IntegrityError, StatementError), match=because):
        session.flush()
    session.rollback()


def test_a_directory_has_one_spelling(session: Session) -> None:
    category = make.category(session)
    make.directory(session, category, "releases")
    refused(session, Directory(category_id=category.id, path="pub/fedora/linux/releases", mtime=0))


@pytest.mark.parametrize("path", ["/releases", "releases/"])
def test_a_path_has_no_slash_at_its_ends(session: Session, path: str) -> None:
    category = make.category(session)
    refused(session, Directory(category_id=category.id, path=path, mtime=0))


def test_a_directory_id_is_never_used_again(session: Session) -> None:
    category = make.category(session)
    gone = make.directory(session, category, "gone")
    old = gone.id
    session.delete(gone)
    session.flush()
    assert make.directory(session, category, "new").id > old


def test_many_repositories_of_an_arch_may_have_no_prefix(session: Session) -> None:
    category = make.category(session)
    for name in ("a", "b"):
        make.repository(session, make.directory(session, category, name), None)
    assert session.scalar(select(func.count(Repository.id))) == 2


def test_a_prefix_and_arch_belong_to_one_repository(session: Session) -> None:
    category = make.category(session)
    first = make.repository(session, make.directory(session, category, "a"), "fedora-44")
    copy = {"version_id": first.version_id, "arch_id": first.arch_id, "category_id": category.id}
    refused(session, Repository(prefix="fedora-44", **copy))


def test_an_empty_prefix_cannot_be_stored(session: Session) -> None:
    first = make.repository(session, make.directory(session, make.category(session), "a"), "x")
    copy = {"version_id": first.version_id, "arch_id": first.arch_id, "category_id": first.category_id}
    refused(session, Repository(prefix="", **copy))


def test_any_number_of_hosts_may_allow_a_country(session: Session) -> None:
    for name in ("a", "b"):
        session.add(HostCountry(host_id=make.host(session, name).id, country="US", kind=CountryKind.ALLOWED))
    session.flush()


@pytest.mark.parametrize("country", ["fr", "FRA", "F", ""])
def test_a_country_is_two_capitals(session: Session, country: str) -> None:
    site = make.host(session, "m").site_id
    refused(session, Host(site_id=site, name="x", country=country))


def test_a_person_is_a_member_of_a_site_once(session: Session) -> None:
    site, user = make.host(session, "m").site, User(name="alice")
    session.add_all([user, SiteMember(site=site, user=user)])
    session.flush()
    refused(session, SiteMember(site_id=site.id, user_id=user.id))


def test_site_names_are_unique(session: Session) -> None:
    name = make.host(session, "m").site.name
    refused(session, Site(name=name))


@pytest.mark.parametrize("asn", [0, -1, 4294967296])
def test_an_asn_is_a_32_bit_number(session: Session, asn: int) -> None:
    refused(session, HostAsn(host_id=make.host(session, "m").id, asn=asn, kind="own"))


@pytest.mark.parametrize("bandwidth", [0, -5])
def test_bandwidth_is_positive(session: Session, bandwidth: int) -> None:
    refused(session, Host(site_id=make.host(session, "m").site_id, name="x", bandwidth_mbps=bandwidth))


def test_an_unknown_state_cannot_be_stored(session: Session) -> None:
    refused(session, Host(site_id=make.host(session, "m").site_id, name="x", state="sleeping"))


@pytest.mark.parametrize("unsaid", ["state_reason", "state_by"])
@pytest.mark.parametrize("state", [state for state in State if state is not State.ACTIVE])
def test_nothing_is_switched_off_without_a_reason_and_a_name(session: Session, state: State, unsaid: str) -> None:
    told = {"state": state, "state_reason": "moving house", "state_by": "alice"} | {unsaid: " "}
    site = make.host(session, "m").site_id
    session.commit()
    refused(session, Host(site_id=site, name="x", **told), "ck_host_state_explained")
    refused(session, Site(name="x", **told), "ck_site_state_explained")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "javascript://x/%0aalert(1)", "data:text/html,x", "https://"])
def test_the_link_to_an_organisation_runs_no_script(session: Session, url: str) -> None:
    refused(session, Site(name="x", org_url=url), "ck_site_org_url_scheme")


@pytest.mark.parametrize(
    ("url", "constraint"),
    [
        ("javascript://m/x", "url_scheme"),
        ("file:///etc", "url_scheme"),
        ("m.example.org/x", "url_scheme"),
        ("http://", "url_"),
        ("http://m/x/", "url_normalised"),
        ("http://m/x y", "url_normalised"),
    ],
)
def test_the_address_of_a_mirror_has_one_form(session: Session, url: str, constraint: str) -> None:
    carried = make.carries(session, make.host(session, "m"), make.category(session))
    refused(session, HostCategoryUrl(host_category_id=carried.id, url=url), f"ck_host_category_url_{constraint}")


def test_a_password_in_clear_cannot_be_stored(session: Session) -> None:
    site = make.host(session, "m").site_id
    session.commit()
    refused(session, User(name="alice", password_hash="hunter2"), "ck_user_account_password_hash_is_argon2id")
    refused(session, SitePassword(site_id=site, password_hash="x" * 64), "ck_site_password_password_hash_is_argon2id")


def test_a_token_in_clear_cannot_be_stored(session: Session) -> None:
    user = User(name="alice")
    session.add(user)
    session.commit()
    lifetime = {"token_hash": "s3cret", "user_id": user.id}
    refused(session, ApiToken(name="t", **lifetime), "ck_api_token_token_hash_is_sha256")
    refused(session, LoginSession(expires_at=make.NOW, **lifetime), "ck_login_session_token_hash_is_sha256")


def test_a_file_detail_without_any_hash_cannot_be_stored(session: Session) -> None:
    directory = make.directory(session, make.category(session), "a")
    refused(session, FileDetail(directory_id=directory.id, filename="f", content_id="x", timestamp=0, size=1))


def test_the_same_content_is_recorded_once(session: Session) -> None:
    directory = make.directory(session, make.category(session), "a")
    make.file_detail(session, directory, 1)
    with pytest.raises(IntegrityError):
        make.file_detail(session, directory, 2)


def test_a_time_without_zone_is_refused(session: Session) -> None:
    host = make.host(session, "m")
    host.last_crawled_at = datetime(2026, 1, 1)  # noqa: DTZ001  # the mistake that is refused
    with pytest.raises(StatementError, match="without zone"):
        session.flush()


def test_a_time_comes_back_in_utc(session: Session) -> None:
    host = make.host(session, "m")
    host.last_crawled_at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    session.flush()
    session.expire_all()
    assert session.scalar(select(Host.last_crawled_at)) == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_deleting_a_site_takes_everything_below_with_it_in_the_database(session: Session) -> None:
    category = make.category(session)
    host = make.host(session, "m")
    make.carries(session, host, category, [make.directory(session, category, "a")])
    session.add(HostNetblock(host_id=host.id, netblock="lab.example.org"))
    session.flush()
    session.execute(delete(Site))
    for table in (Host, HostCategory, HostCategoryUrl, HostNetblock, HostCategoryState):
        assert session.scalar(select(func.count()).select_from(table)) == 0, table


def test_deleting_a_category_takes_its_tree_and_what_mirrors_have_of_it(session: Session) -> None:
    category = make.category(session)
    directory = make.directory(session, category, "a")
    make.file_detail(session, directory, 1)
    make.repository(session, directory, "r")
    make.carries(session, make.host(session, "m"), category, [directory])
    session.execute(delete(Category))
    for table in (Directory, FileDetail, Repository, HostCategory, HostCategoryState):
        assert session.scalar(select(func.count()).select_from(table)) == 0, table
    assert session.scalar(select(func.count(Host.id))) == 1


def test_a_repository_outlives_its_directory(session: Session) -> None:
    directory = make.directory(session, make.category(session), "a")
    make.repository(session, directory, "r")
    session.execute(delete(Directory))
    session.expire_all()
    assert session.scalar(select(Repository)).directory_id is None  # type: ignore[union-attr]


def test_what_happened_outlives_who_did_it(session: Session) -> None:
    user = User(name="alice")
    session.add(user)
    session.flush()
    session.add(AuditEvent(actor_id=user.id, actor="alice", action="host.add", object_type="host", object_id=1))
    session.flush()
    session.execute(delete(User))
    session.expire_all()
    event = session.scalar(select(AuditEvent))
    assert event is not None
    assert (event.actor_id, event.actor) == (None, "alice")


def test_an_api_token_belongs_to_a_user_or_a_site_but_not_both(session: Session) -> None:
    site, user = make.host(session, "m").site, User(name="alice")
    session.add(user)
    session.flush()
    session.commit()
    refused(session, ApiToken(name="t", token_hash="x" * 64))
    refused(session, ApiToken(name="t", token_hash="x" * 64, user_id=user.id, site_id=site.id))


def test_a_transaction_that_fails_leaves_nothing(session: Session) -> None:
    def fail() -> None:
        with transaction(session):
            session.add(Product(name="Fedora"))
            session.flush()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert session.scalar(select(func.count(Product.id))) == 0
