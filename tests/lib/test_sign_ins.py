"""Sign-ins on the server: how long they last, what they allow, and every way to end them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import Identity, LoginSession, Role, User
from mm_lib.services import sign_ins
from mm_lib.services.accounts import create_user
from mm_lib.services.errors import NotFound
from mm_lib.services.sign_ins import SignedIn, SignIn, Source

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LONG = timedelta(hours=24)
ISSUER = "https://id.example.org"


@pytest.fixture
def ada(session: Session) -> User:
    with transaction(session):
        return create_user(session, "ada", "correct horse battery", role=Role.ADMIN)


def find(session: Session, token: str, now: datetime = NOW) -> SignedIn | None:
    return sign_ins.find(session, token, now, LONG)


def list_own(session: Session, user_id: int) -> list[SignIn]:
    return sign_ins.list_own(session, user_id, NOW, LONG)


def test_a_token_signs_in_until_it_expires(session: Session, ada: User) -> None:
    token = sign_ins.start(session, ada.id, NOW, timedelta(hours=8), address="192.0.2.1", user_agent="x" * 999)
    found = find(session, token, NOW + timedelta(hours=7, minutes=59))
    assert found is not None
    assert (found.name, found.role, found.user_id) == ("ada", Role.ADMIN, ada.id)
    assert find(session, token, NOW + timedelta(hours=8)) is None
    assert find(session, token + "x", NOW) is None


def test_expired_sign_ins_are_forgotten_when_somebody_signs_in(session: Session, ada: User) -> None:
    sign_ins.start(session, ada.id, NOW, timedelta(hours=1))
    sign_ins.start(session, ada.id, NOW + timedelta(hours=2), timedelta(hours=1))
    assert len(session.scalars(select(LoginSession)).all()) == 1


def test_sign_ins_are_listed_with_the_last_used_first_and_can_be_ended(session: Session, ada: User) -> None:
    for minutes in range(3):
        sign_ins.start(session, ada.id, NOW + timedelta(minutes=minutes), timedelta(hours=8))
    first, second, third = list_own(session, ada.id)
    assert first.created_at > second.created_at > third.created_at
    sign_ins.end(session, ada.id, second.id)
    assert [row.id for row in list_own(session, ada.id)] == [first.id, third.id]
    with pytest.raises(NotFound):
        sign_ins.end(session, ada.id, second.id)


def test_nobody_ends_the_sign_in_of_somebody_else(session: Session, ada: User) -> None:
    bob = create_user(session, "bob", None)
    sign_ins.start(session, ada.id, NOW, timedelta(hours=8))
    with pytest.raises(NotFound):
        sign_ins.end(session, bob.id, list_own(session, ada.id)[0].id)


def test_a_deleted_user_leaves_no_sign_in(session: Session, ada: User) -> None:
    sign_ins.start(session, ada.id, NOW, timedelta(hours=8))
    session.delete(ada)
    session.flush()
    assert session.scalars(select(LoginSession)).all() == []


def test_a_sign_in_that_is_not_used_ends(session: Session, ada: User) -> None:
    token = sign_ins.start(session, ada.id, NOW, LONG)
    idle = timedelta(hours=1)
    assert sign_ins.find(session, token, NOW + timedelta(minutes=59), idle)
    sign_ins.note_seen(session, list_own(session, ada.id)[0].id, NOW + timedelta(minutes=59))
    assert sign_ins.find(session, token, NOW + timedelta(minutes=110), idle)
    assert sign_ins.find(session, token, NOW + timedelta(minutes=120), idle) is None
    assert sign_ins.list_own(session, ada.id, NOW + timedelta(minutes=120), idle) == []


def test_all_others_can_be_ended_at_once(session: Session, ada: User) -> None:
    bob = create_user(session, "bob", None)
    bobs = sign_ins.start(session, bob.id, NOW, LONG)
    mine, *others = [sign_ins.start(session, ada.id, NOW, LONG) for _ in range(3)]
    found = find(session, mine)
    assert found is not None
    assert sign_ins.end_others(session, ada.id, found.sign_in_id) == 2
    assert find(session, mine) and find(session, bobs)
    assert [find(session, token) for token in others] == [None, None]


@pytest.mark.parametrize(
    ("own", "source", "expected"),
    [
        (Role.USER, Source("ldap", role=Role.ADMIN), (Role.ADMIN, Role.USER)),
        (Role.AUDITOR, Source("ldap"), (Role.AUDITOR, Role.USER)),
        (Role.ADMIN, Source("ldap", role=Role.AUDITOR), (Role.ADMIN, Role.USER)),
        (Role.ADMIN, Source("local", strong=False), (Role.USER, Role.ADMIN)),
        (Role.USER, Source("oidc.x", role=Role.AUDITOR, strong=False), (Role.USER, Role.AUDITOR)),
    ],
)
def test_what_a_sign_in_allows(
    session: Session, ada: User, own: Role, source: Source, expected: tuple[Role, Role]
) -> None:
    """The stronger of the user's own role and that of the groups, if the sign-in is strong enough for it."""
    ada.role = own
    found = find(session, sign_ins.start(session, ada.id, NOW, LONG, source=source))
    assert found is not None
    assert (found.role, found.waiting_role) == expected


def at_provider(session: Session, user: User, subject: str, sid: str) -> str:
    known = select(Identity).where(Identity.subject == subject)
    identity = session.scalar(known) or Identity(user_id=user.id, issuer=ISSUER, subject=subject)
    session.add(identity)
    session.flush()
    return sign_ins.start(
        session, user.id, NOW, LONG, source=Source("oidc.x", identity.id, provider_session=sid, id_token=f"hint-{sid}")
    )


def test_a_provider_ends_one_of_its_sessions(session: Session, ada: User) -> None:
    first, second = (at_provider(session, ada, "17", sid) for sid in ("one", "two"))
    assert sign_ins.end_at_provider(session, ISSUER, provider_session="one") == 1
    assert find(session, first) is None and find(session, second)


def test_a_provider_ends_all_sign_ins_of_a_person_but_not_those_from_elsewhere(session: Session, ada: User) -> None:
    tokens = [at_provider(session, ada, "17", sid) for sid in ("one", "two")]
    local = sign_ins.start(session, ada.id, NOW, LONG)
    assert sign_ins.end_at_provider(session, "https://other.example.org", subject="17") == 0
    assert sign_ins.end_at_provider(session, ISSUER, subject="18") == 0
    assert sign_ins.end_at_provider(session, ISSUER) == 0
    assert sign_ins.end_at_provider(session, ISSUER, subject="17") == 2
    assert [find(session, token) for token in tokens] == [None, None]
    assert find(session, local)


def test_the_hint_for_the_provider_is_kept_with_the_sign_in(session: Session, ada: User) -> None:
    found = find(session, at_provider(session, ada, "17", "one"))
    assert found is not None
    assert sign_ins.hint(session, found.sign_in_id) == "hint-one"
    assert sign_ins.hint(session, 12345) == ""
