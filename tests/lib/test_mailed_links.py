"""Links in mails: what they prove, how long, how often, and what nobody learns from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import AccountToken, TokenPurpose, User
from mm_lib.services import accounts, mailed_links, sign_ins
from mm_lib.services.accounts import create_user
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOURS = timedelta(hours=2)
PASSWORD = "a completely new one"


@pytest.fixture
def ada(session: Session) -> User:
    with transaction(session):
        return create_user(session, "ada", "correct horse battery", email="Ada@example.org")


def reset(session: Session, name: str = "ada") -> str:
    found = mailed_links.offer_password(session, name, NOW, HOURS)
    assert found is not None
    return found[1]


def test_the_database_keeps_only_the_hash_of_a_link(session: Session, ada: User) -> None:
    token = reset(session)
    (row,) = session.scalars(select(AccountToken))
    assert row.token_hash == sign_ins.token_hash(token)


def test_a_link_gives_a_new_password_once_and_ends_all_sign_ins(session: Session, ada: User) -> None:
    signed_in = sign_ins.start(session, ada.id, NOW, HOURS)
    token = reset(session)
    assert mailed_links.change_password(session, token, NOW, PASSWORD) is ada
    assert accounts.authenticate(session, "ada", PASSWORD, NOW)
    assert sign_ins.find(session, signed_in, NOW, HOURS) is None
    with pytest.raises(NotFound, match="Ask for a new one"):
        mailed_links.change_password(session, token, NOW, "another long password")


def test_name_or_address_may_be_typed_in_any_case(session: Session, ada: User) -> None:
    for typed in (" ADA ", "Ada@example.org", "ada@EXAMPLE.org"):
        assert reset(session, typed)


def test_using_one_link_ends_the_others(session: Session, ada: User) -> None:
    first, second = reset(session), reset(session)
    mailed_links.change_password(session, second, NOW, PASSWORD)
    with pytest.raises(NotFound):
        mailed_links.look(session, first, TokenPurpose.RESET, NOW)


def test_a_link_is_too_old_after_its_hours(session: Session, ada: User) -> None:
    token = reset(session)
    assert mailed_links.look(session, token, TokenPurpose.RESET, NOW + HOURS - timedelta(seconds=1))
    with pytest.raises(NotFound):
        mailed_links.change_password(session, token, NOW + HOURS, PASSWORD)


def test_a_password_that_cannot_be_used_leaves_the_link(session: Session, ada: User) -> None:
    token = reset(session)
    with pytest.raises(InvalidValue):
        mailed_links.change_password(session, token, NOW, "short")
    assert mailed_links.change_password(session, token, NOW, PASSWORD)


def test_a_link_for_one_purpose_is_no_link_for_another(session: Session, ada: User) -> None:
    with pytest.raises(NotFound):
        mailed_links.make_account(session, reset(session), NOW, "grace", PASSWORD)


def test_a_link_of_an_account_that_changed_since_does_not_work(session: Session, ada: User) -> None:
    token = reset(session)
    ada.email = "new@example.org"
    session.flush()
    with pytest.raises(NotFound):
        mailed_links.change_password(session, token, NOW, PASSWORD)


def test_no_link_is_made_for_what_is_no_local_account_that_may_sign_in(session: Session, ada: User) -> None:
    create_user(session, "ldap-person", None, email="person@example.org")
    create_user(session, "no-address", PASSWORD)
    for name in ("nobody", "nobody@example.org", "person@example.org", "ldap-person", "no-address", "", "a\0b"):
        assert mailed_links.offer_password(session, name, NOW, HOURS) is None
    ada.active = False
    assert mailed_links.offer_password(session, "ada", NOW, HOURS) is None


def test_an_address_that_two_accounts_have_chooses_none(session: Session, ada: User) -> None:
    create_user(session, "ada2", PASSWORD, email="ada@example.org")
    assert mailed_links.offer_password(session, "ada@example.org", NOW, HOURS) is None


def test_a_mailbox_is_not_flooded(session: Session, ada: User) -> None:
    for _ in range(mailed_links.MAX_OPEN):
        reset(session)
    assert mailed_links.offer_password(session, "ada", NOW, HOURS) is None
    assert mailed_links.offer_password(session, "ada", NOW + HOURS, HOURS) is not None


def offer(session: Session) -> str:
    token = mailed_links.offer_account(session, "grace@example.org", NOW, HOURS)
    assert token is not None
    return token


def test_whoever_reads_an_address_makes_an_account_with_it(session: Session) -> None:
    user = mailed_links.make_account(session, offer(session), NOW, "Grace", PASSWORD, display_name="Grace H.")
    assert (user.name, user.email, user.display_name) == ("grace", "grace@example.org", "Grace H.")
    assert accounts.authenticate(session, "grace", PASSWORD, NOW) is user


def test_a_link_makes_one_account(session: Session) -> None:
    token = offer(session)
    mailed_links.make_account(session, token, NOW, "grace", PASSWORD)
    with pytest.raises(NotFound):
        mailed_links.make_account(session, token, NOW, "grace2", PASSWORD)


def test_a_name_that_is_taken_leaves_the_link(session: Session, ada: User) -> None:
    token = offer(session)
    with pytest.raises(AlreadyExists):
        mailed_links.make_account(session, token, NOW, "ada", PASSWORD)
    assert mailed_links.make_account(session, token, NOW, "grace", PASSWORD)


def test_an_address_with_an_account_gets_no_second_one(session: Session, ada: User) -> None:
    assert mailed_links.offer_account(session, "ADA@example.org", NOW, HOURS) is None


def test_what_is_no_address_is_refused(session: Session) -> None:
    for address in ("", "ada", "ada@", "a@b\nBcc: c@example.org", "a\0@example.org"):
        with pytest.raises(InvalidValue):
            mailed_links.offer_account(session, address, NOW, HOURS)
