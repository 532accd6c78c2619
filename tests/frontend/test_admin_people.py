"""Users' pages: roles, accounts, sign-ins, second factors, addresses, and two accounts of one person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent, Identity, LoginSession, Role, SecondFactor, User
from mm_lib.model.sites import MemberRole, SiteMember
from mm_lib.services import identities, sign_ins
from mm_lib.services.accounts import create_user
from mm_lib.services.identities import Person
from tests.frontend import admin_world, world
from tests.frontend.admin_world import Stage

NOW = datetime.now(UTC)
ISSUER = "https://id.example.org"


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with admin_world.stage(sqlite_template, tmp_path_factory.mktemp("people")) as made:
        yield made


@pytest.fixture
def session(stage: Stage) -> Iterator[Session]:
    with stage.sessions() as session:
        yield session


def make(session: Session, name: str, **fields: object) -> int:
    with transaction(session):
        user = create_user(session, name, None)
        for key, value in fields.items():
            setattr(user, key, value)
        session.flush()
        return user.id


def again(session: Session, id_: int) -> User:
    session.expire_all()
    return session.get_one(User, id_)


def from_elsewhere(session: Session, name: str, subject: str) -> int:
    with transaction(session):
        return identities.enter(session, Person(ISSUER, subject, name), NOW).user.id


def id_of(session: Session, name: str) -> int:
    return session.scalars(select(User.id).where(User.name == name)).one()


def test_users_are_found_by_parts_of_what_is_known_of_them(stage: Stage, session: Session) -> None:
    make(session, "needle", display_name="Nora Needle", email="nora@haystack.example")
    from_elsewhere(session, "thread", "subject-4711")
    for path, found in (
        ("text=nora", "needle"),
        ("text=haystack", "needle"),
        ("text=4711", "thread"),
        ("role=auditor", "auditor"),
        ("text=needle&state=active", "needle"),
    ):
        assert "1 user. " in stage.page(f"/admin/users?{path}") and found in stage.page(f"/admin/users?{path}")
    assert "No user matches." in stage.page("/admin/users?text=needle&state=disabled")
    assert stage.browser("super").get("/admin/users?text=%00&role=x&page=99").status_code == 400


def test_a_role_is_given_with_an_audit_event(stage: Stage, session: Session) -> None:
    id_ = make(session, "promoted")
    assert stage.send(f"/admin/users/{id_}/role", role="auditor").location == f"/admin/users/{id_}"
    assert again(session, id_).role is Role.AUDITOR
    event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None and (event.actor, event.object_name) == ("super", "promoted")
    assert (event.before, event.after) == ({"role": "user"}, {"role": "auditor"})


def test_nobody_takes_the_own_rights_or_closes_the_own_account(stage: Stage, session: Session) -> None:
    """So that one administrator is always left."""
    id_ = id_of(session, "super")
    assert "/role" not in stage.browser("super").get(f"/admin/users/{id_}").text
    for path, form in (("role", {"role": "user"}), ("state", {"on": "0"})):
        answer = stage.send(f"/admin/users/{id_}/{path}", **form)
        assert (answer.status_code, "Not to yourself" in world.text(answer)) == (422, True)
    user = again(session, id_)
    assert (user.role, user.active) == (Role.ADMIN, True)


def test_a_disabled_account_is_signed_out_and_can_be_enabled_again(stage: Stage, session: Session) -> None:
    id_ = make(session, "closed")
    with transaction(session):
        sign_ins.start(session, id_, NOW, timedelta(hours=1))
    stage.send(f"/admin/users/{id_}/state", on="0")
    assert again(session, id_).active is False
    assert session.scalars(select(LoginSession).where(LoginSession.user_id == id_)).all() == []
    assert "disabled" in stage.page(f"/admin/users/{id_}")
    stage.send(f"/admin/users/{id_}/state", on="1")
    assert again(session, id_).active is True


def test_all_sign_ins_of_somebody_are_ended(stage: Stage, session: Session) -> None:
    id_ = make(session, "everywhere")
    with transaction(session):
        for _ in range(2):
            sign_ins.start(session, id_, NOW, timedelta(hours=1))
    assert "Open sign-ins 2" in stage.page(f"/admin/users/{id_}")
    stage.send(f"/admin/users/{id_}/sign-ins/end")
    assert "Open sign-ins 0" in stage.page(f"/admin/users/{id_}")


def test_one_time_codes_are_reset_after_a_question(stage: Stage, session: Session) -> None:
    id_ = make(session, "lost-phone")
    with transaction(session):
        session.add(SecondFactor(user_id=id_, secret="JBSWY3DPEHPK3PXP", created_at=NOW, confirmed_at=NOW))
    page = stage.browser("super").get(f"/admin/users/{id_}").text
    assert "JBSWY3DPEHPK3PXP" not in page and "Reset one-time codes" in page
    assert "Be sure that it is really they" in stage.page(f"/admin/users/{id_}/code/off")
    stage.send(f"/admin/users/{id_}/code/off")
    assert session.get(SecondFactor, id_, populate_existing=True) is None


def test_an_address_is_confirmed_and_then_suggests_who_may_be_the_same_person(stage: Stage, session: Session) -> None:
    one = make(session, "twin-one", email="twin@example.org")
    two = make(session, "twin-two", email="Twin@example.org", email_confirmed_at=NOW)
    assert "Perhaps it is the same person" not in stage.page(f"/admin/users/{one}")
    answer = stage.send(f"/admin/users/{one}/mail/confirm", email="another@example.org")
    assert "it is twin@example.org by now" in world.text(answer)
    stage.send(f"/admin/users/{one}/mail/confirm", email="twin@example.org")
    assert again(session, one).email_confirmed_at is not None
    assert "twin-two . Perhaps it is the same person" in stage.page(f"/admin/users/{one}")
    assert "twin-one" in stage.page(f"/admin/users/{two}/link")


def test_linking_shows_both_accounts_and_what_goes_where_before_it_is_done(stage: Stage, session: Session) -> None:
    kept, closed = from_elsewhere(session, "grace", "s-1"), from_elsewhere(session, "grace", "s-2")
    site = stage.registry.ids["site_id"]
    with transaction(session):
        session.add(SiteMember(site_id=site, user_id=kept, role=MemberRole.VIEWER))
        session.add(SiteMember(site_id=site, user_id=closed, role=MemberRole.OWNER))
        session.get_one(User, closed).role = Role.AUDITOR
    path = f"/admin/users/{kept}/link?other=grace-2"
    page = stage.page(path)
    assert "Signing in as s-2 at https://id.example.org opens grace." in page
    assert "grace is owner of Example University (was viewer)." in page
    assert "The role auditor of grace-2 does not move; grace stays user." in page
    assert again(session, closed).active is True
    assert stage.send(path, closed="grace-2", kept="grace").location == f"/admin/users/{kept}"
    assert again(session, closed).active is False
    subjects = session.scalars(select(Identity.subject).where(Identity.user_id == kept).order_by(Identity.id)).all()
    assert subjects == ["s-1", "s-2"]
    role = select(SiteMember.role).where(SiteMember.user_id == kept, SiteMember.site_id == site)
    assert session.scalars(role).one() is MemberRole.OWNER


def test_the_other_account_can_be_the_one_that_is_kept(stage: Stage, session: Session) -> None:
    one, _ = make(session, "left"), make(session, "right")
    page = stage.browser("super").get(f"/admin/users/{one}/link?other=right&keep=other").text
    assert 'name="closed" type="hidden" value="left"' in page and 'name="kept" type="hidden" value="right"' in page


@pytest.mark.parametrize(("other", "told"), [("nobody-here", "There is no user"), ("lonely", "is the same user")])
def test_what_cannot_be_linked_is_explained(stage: Stage, session: Session, other: str, told: str) -> None:
    if other == "lonely":
        make(session, "lonely")
    id_ = id_of(session, "lonely") if other == "lonely" else id_of(session, "owner")
    answer = stage.browser("super").get(f"/admin/users/{id_}/link?other={other}")
    assert (answer.status_code, told in world.text(answer)) == (422, True)


def test_an_account_that_is_disabled_is_not_the_one_to_keep(stage: Stage, session: Session) -> None:
    id_ = make(session, "asleep", active=False)
    answer = stage.browser("super").get(f"/admin/users/{id_}/link?other=owner")
    assert (answer.status_code, "asleep is disabled, so nobody could sign in" in world.text(answer)) == (422, True)
    assert stage.browser("super").get(f"/admin/users/{id_}/link?other=owner&keep=other").status_code == 200


def test_nobody_closes_the_own_account_by_linking(stage: Stage, session: Session) -> None:
    id_ = make(session, "alias")
    answer = stage.send(f"/admin/users/{id_}/link?other=super", closed="super", kept="alias")
    assert "close your own account" in world.text(answer)
    assert again(session, id_of(session, "super")).active is True


def test_linked_people_are_told_apart_again(stage: Stage, session: Session) -> None:
    kept, closed = from_elsewhere(session, "joined", "j-1"), from_elsewhere(session, "joined", "j-2")
    stage.send(f"/admin/users/{kept}/link?other=joined-2", closed="joined-2", kept="joined")
    identity = session.scalars(select(Identity).where(Identity.subject == "j-2")).one()
    with transaction(session):
        sign_ins.start(session, kept, NOW, timedelta(hours=1), source=sign_ins.Source("oidc.x", identity.id))
    answer = stage.send(f"/admin/identities/{identity.id}/apart")
    assert answer.location == f"/admin/users/{closed}"
    session.expire_all()
    assert (identity.user_id, identity.came_from_id, again(session, closed).active) == (closed, None, True)
    assert session.scalars(select(LoginSession).where(LoginSession.user_id == kept)).all() == []


def test_the_only_way_in_is_not_taken_away(stage: Stage, session: Session) -> None:
    from_elsewhere(session, "single", "only-1")
    identity = session.scalars(select(Identity.id).where(Identity.subject == "only-1")).one()
    answer = stage.send(f"/admin/identities/{identity}/apart")
    assert (answer.status_code, "signs in by nothing else" in world.text(answer)) == (422, True)


def test_auditors_look_and_are_offered_no_change(stage: Stage, session: Session) -> None:
    id_ = id_of(session, "owner")
    page = stage.browser("auditor").get(f"/admin/users/{id_}").text
    assert "Example University" in page
    assert not [part for part in ("/role", "/state", "/link", "/sign-ins/end") if f"/admin/users/{id_}{part}" in page]
