"""One-time codes and recovery codes: which are right, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from sqlalchemy.orm import Session

from mm_lib.database import transaction
from mm_lib.model.accounts import User
from mm_lib.services import second_factor, sign_ins
from mm_lib.services.accounts import create_user
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.second_factor import STEP_SECONDS

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def ada(session: Session) -> User:
    with transaction(session):
        return create_user(session, "ada", "correct horse battery")


def code_at(secret: str, moment: datetime) -> str:
    return pyotp.TOTP(secret).at(moment)


def switch_on(session: Session, user: User) -> tuple[str, list[str]]:
    secret = second_factor.prepare(session, user.id, NOW)
    return secret, second_factor.confirm(session, user.id, code_at(secret, NOW), NOW)


def test_codes_count_only_after_a_first_one(session: Session, ada: User) -> None:
    secret = second_factor.prepare(session, ada.id, NOW)
    assert not second_factor.is_on(session, ada.id)
    assert not second_factor.check(session, ada.id, code_at(secret, NOW), NOW)
    with pytest.raises(InvalidValue, match="right time"):
        second_factor.confirm(session, ada.id, "000000", NOW)
    assert len(second_factor.confirm(session, ada.id, code_at(secret, NOW), NOW)) == 10
    assert second_factor.is_on(session, ada.id)


def test_each_beginning_has_a_secret_of_its_own_and_another_try_the_same(session: Session, ada: User) -> None:
    """Whoever saw the page of a beginning that led nowhere must not know the codes of a later one."""
    first, second = (second_factor.prepare(session, ada.id, NOW) for _ in range(2))
    assert first != second
    assert second_factor.prepare(session, ada.id, NOW, again=True) == second
    with pytest.raises(InvalidValue, match="right time"):
        second_factor.confirm(session, ada.id, code_at(first, NOW), NOW)


def test_a_secret_is_not_shown_again_once_it_counts(session: Session, ada: User) -> None:
    switch_on(session, ada)
    with pytest.raises(InvalidValue, match="on already"):
        second_factor.prepare(session, ada.id, NOW)
    with pytest.raises(NotFound):
        second_factor.confirm(session, ada.id, "000000", NOW)


def test_clocks_may_differ_by_one_step(session: Session, ada: User) -> None:
    secret, _ = switch_on(session, ada)
    for number, (steps, right) in enumerate(((-2, False), (-1, True), (0, True), (1, True), (2, False)), 1):
        now = LATER + timedelta(hours=number)
        typed = code_at(secret, now + timedelta(seconds=steps * STEP_SECONDS))
        assert second_factor.check(session, ada.id, f" {typed[:3]} {typed[3:]} ", now) is right, steps


def test_no_code_works_twice_nor_an_older_one_after_it(session: Session, ada: User) -> None:
    secret, _ = switch_on(session, ada)
    older, code = code_at(secret, LATER - timedelta(seconds=STEP_SECONDS)), code_at(secret, LATER)
    assert second_factor.check(session, ada.id, code, LATER)
    assert not second_factor.check(session, ada.id, code, LATER)
    assert not second_factor.check(session, ada.id, older, LATER)


def test_other_codes_are_wrong(session: Session, ada: User) -> None:
    switch_on(session, ada)
    for typed in ("", "000000", "\u0661\u0662\u0663\u0664\u0665\u0666", "x" * 1000, "\0"):
        assert not second_factor.check(session, ada.id, typed, LATER), typed


def test_each_recovery_code_works_once(session: Session, ada: User) -> None:
    _, codes = switch_on(session, ada)
    assert len(set(codes)) == second_factor.recovery_codes_left(session, ada.id) == 10
    assert second_factor.check(session, ada.id, codes[0].upper().replace("-", " "), LATER)
    assert not second_factor.check(session, ada.id, codes[0], LATER)
    assert second_factor.recovery_codes_left(session, ada.id) == 9


def test_codes_of_somebody_else_are_wrong(session: Session, ada: User) -> None:
    bob = create_user(session, "bob", None)
    _, codes = switch_on(session, ada)
    switch_on(session, bob)
    assert not second_factor.check(session, bob.id, codes[0], LATER)


def test_switching_off_ends_codes_and_sign_ins(session: Session, ada: User) -> None:
    _, codes = switch_on(session, ada)
    token = sign_ins.start(session, ada.id, NOW, timedelta(hours=8))
    assert second_factor.switch_off(session, ada)
    assert not second_factor.is_on(session, ada.id)
    assert not second_factor.check(session, ada.id, codes[0], LATER)
    assert sign_ins.find(session, token, NOW, timedelta(hours=8)) is None
    assert not second_factor.switch_off(session, ada)


def test_the_address_for_the_device_names_installation_and_user() -> None:
    address = second_factor.address("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP", "ada", "Test Mirrors")
    assert address == "otpauth://totp/Test%20Mirrors:ada?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Test%20Mirrors"
