"""Delivers what waits: after the commit, by whoever comes by, and again until it works or a person has to look."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random, SystemRandom

from sqlalchemy.orm import Session

from mm_lib.model.outbox import Channel, DeliveryState
from mm_lib.outbox import queue, spreading
from mm_lib.outbox.amqp import AmqpSender
from mm_lib.outbox.mail import MailSender
from mm_lib.outbox.queue import Claim
from mm_lib.outbox.sending import Down, Refused, Sender, SendError
from mm_lib.outbox.webhook import WebhookSender
from mm_lib.services import outbox
from mm_lib.settings import Settings

Transactions = Callable[[], AbstractContextManager[Session]]
Senders = Mapping[Channel, Sender]

logger = logging.getLogger(__name__)


@contextmanager
def senders(settings: Settings) -> Iterator[Senders]:
    """One for each channel that is set up. Raises SettingsError."""
    timeout = settings.outbox.timeout
    made: dict[Channel, Sender] = {Channel.WEBHOOK: WebhookSender(settings.outbox, settings.crawler.user_agent)}
    if settings.mail.server:
        made[Channel.MAIL] = MailSender(settings.mail, timeout)
    if settings.amqp.url is not None:
        made[Channel.AMQP] = AmqpSender(settings.amqp, timeout)
    try:
        yield made
    finally:
        for sender in made.values():
            sender.close()


def deliver(
    transactions: Transactions,
    settings: Settings,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    rng: Random | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Deliver all that is due, once; how many deliveries were `delivered`, will be tried again (`waiting`), are `dead`.

    What cannot be reached is left alone for the rest of this round. Nothing here raises for a receiver's sake.
    """
    counts: Counter[str] = Counter()
    rng = rng or SystemRandom()
    prepare(transactions, settings, now())
    down: set[queue.Down] = set()
    with senders(settings) as by:
        while not stopped():
            with transactions() as session:
                claimed = queue.claim(session, now(), settings.outbox, settings.frontend, down)
            if claimed is None:
                break
            error = attempt(by, claimed)
            if error is not None and error.down:
                down.add((claimed.channel, claimed.target if claimed.channel is Channel.WEBHOOK else ""))
            ends = queue.Ends(str(error), error.final) if error else None
            with transactions() as session:
                state = queue.settle(session, claimed, ends, now(), settings=settings.outbox, rng=rng)
            if state is not None:
                counts[state.value] += 1
                _log(claimed, error, state)
    return counts


def prepare(transactions: Transactions, settings: Settings, now: datetime) -> None:
    """Make digests and deliveries, and forget what is old and done."""
    with transactions() as session:
        spreading.make_digests(session, settings, now)
        outbox.prune(session, now - timedelta(days=settings.outbox.keep_days))
    more = True
    while more:
        with transactions() as session:
            more = spreading.spread(session, settings, now)


def attempt(by: Senders, claimed: Claim) -> SendError | None:
    """Send it; why it did not work, or None."""
    sender = by.get(claimed.channel)
    if sender is None:
        return Down(f"{claimed.channel} is not set up any more: see the section [{claimed.channel}] of the settings")
    try:
        sender.send(claimed.told, claimed.target, claimed.webhook)
    except SendError as error:
        return error
    except Exception as error:  # a mistake of ours with one event must not stop all others
        logger.exception("event %d could not be told by %s", claimed.told.event_id, claimed.channel)
        return Refused(f"{type(error).__name__}: {error}")
    return None


def _log(claimed: Claim, error: SendError | None, state: DeliveryState) -> None:
    what = f"{claimed.told.kind} of event {claimed.told.event_id} by {claimed.channel} to {claimed.target}"
    if state is DeliveryState.DEAD:
        logger.error("%s was given up: %s. `mm-admin outbox retry` tries it again.", what, error)
    elif error is not None:
        logger.warning("%s will be tried again: %s", what, error)
    else:
        logger.info("%s was delivered", what)
