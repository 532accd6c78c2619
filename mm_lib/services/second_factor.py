"""One-time codes (TOTP, RFC 6238) as a second factor of local accounts, and recovery codes for a lost device."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime, timedelta

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from mm_lib.model.accounts import RecoveryCode, SecondFactor, User
from mm_lib.services import sign_ins
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.sign_ins import token_hash

STEP_SECONDS = 30
RECOVERY_CODES = 10

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another


def is_on(session: Session, user_id: int) -> bool:
    """Whether a code is asked for when this user signs in."""
    factor = session.get(SecondFactor, user_id)
    return factor is not None and factor.confirmed_at is not None


def prepare(session: Session, user_id: int, now: datetime, *, again: bool = False) -> str:
    """A new secret for the user's device; it counts when confirm() gets a first code.

    `again`: the one that was prepared last, for another try. Otherwise whoever saw an earlier one could know the codes.
    """
    factor = session.get(SecondFactor, user_id)
    if factor is not None and factor.confirmed_at is not None:
        raise InvalidValue("code", "One-time codes are on already. Switch them off first.")
    if factor is not None and again:
        return factor.secret
    secret = pyotp.random_base32()
    if factor is None:
        session.add(SecondFactor(user_id=user_id, secret=secret, created_at=now, last_step=0))
        session.flush()
    else:  # by the table, which is no event: whoever looks at the page again has changed nothing that counts
        values = {"secret": secret, "created_at": now, "last_step": 0}
        session.execute(update(SecondFactor).where(SecondFactor.user_id == user_id).values(**values))
        session.refresh(factor)
    return secret


def address(secret: str, name: str, issuer: str) -> str:
    """The otpauth: address that the QR code shows."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)


def confirm(session: Session, user_id: int, code: str, now: datetime) -> list[str]:
    """The device shows the right codes: from now on they are asked for. Returns the recovery codes, to be shown once.

    Raises InvalidValue for a wrong code, NotFound when nothing was prepared.
    """
    factor = session.get(SecondFactor, user_id)
    if factor is None or factor.confirmed_at is not None:
        raise NotFound("There is nothing to confirm. Begin on your account page.")
    if not _accept(factor, code, now):
        raise InvalidValue("code", "That code is wrong. Does your device have the right time?")
    factor.confirmed_at = now
    return renew_recovery_codes(session, user_id)


def check(session: Session, user_id: int, code: str, now: datetime) -> bool:
    """Whether the code is right: the device's of this moment, or one of the recovery codes. Each works once."""
    factor = session.get(SecondFactor, user_id, with_for_update=True)
    if factor is None or factor.confirmed_at is None:
        return False
    return _accept(factor, code, now) or _use_recovery_code(session, user_id, code)


def renew_recovery_codes(session: Session, user_id: int) -> list[str]:
    """New recovery codes; the old ones are worth nothing any more."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(user_id=user_id, code_hash=_recovery_hash(code)) for code in codes)
    session.flush()
    return codes


def recovery_codes_left(session: Session, user_id: int) -> int:
    """How many recovery codes were not used yet."""
    return session.scalar(select(func.count()).where(RecoveryCode.user_id == user_id)) or 0


def switch_off(session: Session, user: User) -> bool:
    """No codes are asked for any more, and all sign-ins end; whether there was something to switch off."""
    factor = session.get(SecondFactor, user.id)
    if factor is None:
        return False
    session.delete(factor)
    session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    sign_ins.end_all(session, user.id)
    session.flush()
    return True


def _accept(factor: SecondFactor, code: str, now: datetime) -> bool:
    """The code of now, or of the step before or after: clocks differ. Never one that was used, nor an older one."""
    typed = "".join(code.split())
    totp = pyotp.TOTP(factor.secret)
    for offset in (0, -1, 1):
        moment = now + timedelta(seconds=offset * STEP_SECONDS)
        step = int(moment.timestamp()) // STEP_SECONDS
        if step > factor.last_step and typed.isascii() and hmac.compare_digest(totp.at(moment), typed):
            factor.last_step = step
            return True
    return False


def _recovery_code() -> str:
    """Three groups of five letters: 74 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(3))


def _recovery_hash(code: str) -> str:
    return token_hash("".join(code.split()).replace("-", "").lower())


def _use_recovery_code(session: Session, user_id: int, code: str) -> bool:
    same = (RecoveryCode.user_id == user_id, RecoveryCode.code_hash == _recovery_hash(code))
    return bool(session.scalars(delete(RecoveryCode).where(*same).returning(RecoveryCode.id)).all())
