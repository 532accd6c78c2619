"""Local accounts: what may be a name, an address, a password; who is let in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import Role, User
from mm_lib.services import accounts, sign_ins
from mm_lib.services.accounts import Refusal, SignInRefused, create_user
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"


@pytest.fixture
def ada(session: Session) -> User:
    with transaction(session):
        return create_user(session, "ada", PASSWORD, role=Role.ADMIN, email="Ada@Example.ORG", display_name=" Ada ")


def refusal(session: Session, name: str, password: str) -> Refusal:
    with pytest.raises(SignInRefused) as caught:
        accounts.authenticate(session, name, password, NOW)
    assert str(caught.value) == "User name and password do not match an account."
    return caught.value.reason


def test_passwords_are_kept_as_argon2id(ada: User) -> None:
    assert (ada.password_hash or "").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_user_is_kept_normalised(ada: User) -> None:
    assert (ada.name, ada.email, ada.display_name) == ("ada", "Ada@example.org", "Ada")


def test_name_and_password_let_in_and_are_noted(session: Session, ada: User) -> None:
    assert accounts.authenticate(session, " ADA ", PASSWORD, NOW).id == ada.id
    assert ada.last_login_at == NOW


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("name", "password", "reason"),
    [
        ("ada", "wrong", Refusal.WRONG_PASSWORD),
        ("ada", "", Refusal.WRONG_PASSWORD),
        ("ada", "x" * 100_000, Refusal.WRONG_PASSWORD),
        ("bob", PASSWORD, Refusal.UNKNOWN_NAME),
        ("", PASSWORD, Refusal.UNKNOWN_NAME),
        ("ada\x00", PASSWORD, Refusal.UNKNOWN_NAME),
    ],
)
def test_refusals_have_a_reason_for_the_log(session: Session, name: str, password: str, reason: Refusal) -> None:
    assert refusal(session, name, password) is reason


def test_a_disabled_account_is_refused(session: Session, ada: User) -> None:
    ada.active = False
    assert refusal(session, "ada", PASSWORD) is Refusal.DISABLED


def test_an_account_without_password_is_refused_here(session: Session) -> None:
    create_user(session, "guest", None)
    assert refusal(session, "guest", PASSWORD) is Refusal.NO_LOCAL_PASSWORD


def test_an_unknown_name_costs_a_hash_like_a_wrong_password(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []
    real = accounts._matches
    monkeypatch.setattr(
        accounts, "_matches", lambda stored, typed: bool(verified.append(stored)) or real(stored, typed)
    )
    refusal(session, "nobody", PASSWORD)
    assert verified[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_hashes_with_old_parameters_are_renewed_at_sign_in(session: Session, ada: User) -> None:
    ada.password_hash = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    accounts.authenticate(session, "ada", PASSWORD, NOW)
    assert "m=65536" in ada.password_hash


@pytest.mark.usefixtures("ada")
def test_the_same_characters_from_another_keyboard_are_the_same_password(session: Session) -> None:
    accounts.set_password(session, "ada", "re\u0301sume\u0301 of a mirror")
    assert accounts.authenticate(session, "ada", "r\u00e9sum\u00e9 of a mirror", NOW)


@pytest.mark.parametrize("name", ["a", "-ada", ".ada", "ada lovelace", "adä", "a" * 65, "", "ada/../bob"])
def test_names_have_a_syntax(session: Session, name: str) -> None:
    with pytest.raises(InvalidValue, match="name"):
        create_user(session, name, None)


@pytest.mark.parametrize("password", ["", "short", "x" * 11, "aaaaaaaaaaaaaaaa", "grace-hopper", "x1y" * 400])
def test_weak_or_endless_passwords_are_refused(session: Session, password: str) -> None:
    with pytest.raises(InvalidValue, match="password"):
        create_user(session, "grace-hopper", password)


@pytest.mark.parametrize("email", ["nobody", "a@b@c", "a b@example.org", "a@example..org"])
def test_addresses_have_a_syntax(session: Session, email: str) -> None:
    with pytest.raises(InvalidValue, match="email"):
        create_user(session, "grace", None, email=email)


@pytest.mark.usefixtures("ada")
def test_names_are_taken_whatever_their_case(session: Session) -> None:
    with pytest.raises(AlreadyExists):
        create_user(session, "ADA", PASSWORD)


def test_a_new_password_ends_all_sign_ins(session: Session, ada: User) -> None:
    token = sign_ins.start(session, ada.id, NOW, timedelta(hours=8))
    accounts.set_password(session, "ada", "a completely new one")
    assert sign_ins.find(session, token, NOW, timedelta(hours=1)) is None
    assert accounts.authenticate(session, "ada", "a completely new one", NOW)


def test_a_password_for_nobody_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound, match="mm-admin user list"):
        accounts.set_password(session, "nobody", PASSWORD)


@pytest.mark.usefixtures("ada")
def test_the_list_of_users_has_no_secrets(session: Session) -> None:
    create_user(session, "guest", None)
    rows = accounts.list_users(session)
    assert [(row["name"], row["role"], row["local"]) for row in rows] == [
        ("ada", "admin", True),
        ("guest", "user", False),
    ]
    assert "argon2" not in repr(rows)


def test_a_role_an_address_and_the_right_to_sign_in_can_be_changed(session: Session, ada: User) -> None:
    token = sign_ins.start(session, ada.id, NOW, timedelta(hours=8))
    accounts.set_user(session, "ada", role=Role.AUDITOR, email="ada@new.example.org", active=False)
    assert (ada.role, ada.email) == (Role.AUDITOR, "ada@new.example.org")
    assert refusal(session, "ada", PASSWORD) is Refusal.DISABLED
    accounts.set_user(session, "ada", active=True)
    assert sign_ins.find(session, token, NOW, timedelta(hours=1)) is None
