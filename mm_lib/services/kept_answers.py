"""Answers that are kept for a day: a program that sends a request again (Idempotency-Key) gets the same answer.

The answer is part of the transaction that did the work: there is neither a thing that was made without its answer,
nor an answer for a thing that was not made.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from mm_lib.model.accounts import KeptAnswer
from mm_lib.services.errors import ServiceError

KEPT = timedelta(hours=24)
_WAITING = 0  # the status of an answer that is not there yet


class AnotherRequest(ServiceError):
    """The key was sent before, with another request."""


class InProgress(ServiceError):
    """The same request is being worked on."""


def reserve(session: Session, who: str, key: str, asked: bytes, now: datetime) -> KeptAnswer:
    """The answer that is kept for a key of somebody, or a place for it (is_new). Raises AnotherRequest, InProgress."""
    key_hash, request_hash = _hash(f"{who}\n{key}".encode()), _hash(asked)
    session.execute(delete(KeptAnswer).where(KeptAnswer.expires_at <= now))
    row = _find(session, key_hash)
    if row is None:
        row = KeptAnswer(key_hash=key_hash, request_hash=request_hash, status=_WAITING, body="", expires_at=now + KEPT)
        try:
            with session.begin_nested():
                session.add(row)
            return row
        except IntegrityError:  # the same key at the same moment: the other one is done by now
            row = _find(session, key_hash)
    if row is None or row.status == _WAITING:
        raise InProgress("The same request is being answered. Ask again in a moment.")
    if row.request_hash != request_hash:
        raise AnotherRequest("This key was sent with another request already; use a new one for each.")
    return row


def is_new(row: KeptAnswer) -> bool:
    """Whether there is no answer yet."""
    return row.status == _WAITING


def keep(session: Session, row: KeptAnswer, status: int, headers: dict[str, str], body: str) -> None:
    """Keep the answer, with what was done."""
    row.status, row.headers, row.body = status, headers, body
    session.flush()


def _find(session: Session, key_hash: str) -> KeptAnswer | None:
    return session.scalar(select(KeptAnswer).where(KeptAnswer.key_hash == key_hash))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
