"""A site with two people and a host, an outbox, and a clock that the test turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import User
from mm_lib.model.hosts import Host
from mm_lib.model.outbox import Delivery, Event, Webhook
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.outbox.deliver import deliver
from mm_lib.services import outbox, webhooks
from mm_lib.services.outbox import Kind
from mm_lib.settings import Settings
from tests import factories


class World:
    """What every test of the outbox works with."""

    def __init__(self, engine: Engine, session: Session) -> None:
        self.sessions = make_sessions(engine)
        self.session = session
        self.now = datetime.now(UTC)
        self.settings = Settings()
        with transaction(session):
            self.host: Host = factories.host(session, "mirror.example.org")
            self.host.robot_email = "robot@example.org"
            self.site: Site = self.host.site
            for name, role in (("ann", MemberRole.OWNER), ("bob", MemberRole.ADMIN), ("eve", MemberRole.VIEWER)):
                person = User(name=name, email=f"{name}@example.org")
                session.add(SiteMember(site=self.site, user=person, role=role))

    def set(self, section: str, **values: Any) -> None:
        """Change settings."""
        changed = type(getattr(self.settings, section)).model_validate(
            {**getattr(self.settings, section).model_dump(), **values}
        )
        self.settings = self.settings.model_copy(update={section: changed})

    @contextmanager
    def transactions(self) -> Iterator[Session]:
        """As mm_lib.cli.common.Program has them."""
        with self.sessions() as session, transaction(session):
            yield session

    def deliver(self, **options: Any) -> Counter[str]:
        """One round at the time that the clock shows."""
        found = deliver(self.transactions, self.settings, now=lambda: self.now, rng=Random(1), **options)
        self.session.expire_all()
        return found

    def later(self, **time: float) -> None:
        """Turn the clock."""
        self.now += timedelta(**time)

    def webhook(self, url: str, *, site: str | None = None, kinds: tuple[str, ...] = ()) -> Webhook:
        with transaction(self.session):
            made = webhooks.add_webhook(self.session, url, site=site, kinds=kinds)
            made.created_at = self.now
            return made

    def happens(self, kind: Kind = Kind.FAILING, **options: Any) -> int | None:
        """An event of the crawler about the host."""
        with transaction(self.session):
            payload = {
                "agent": "mm-crawler",
                "host": outbox.host_body(self.host),
                "site": outbox.site_body(self.session, self.site),
                "crawled_at": self.now.isoformat(),
                "reason": "could not be reached: https://mirror.example.org/fedora: no connection",
                "categories": [
                    {
                        "name": "Fedora Linux",
                        "health": "quarantined",
                        "reason": "could not be reached",
                        "url": "https://mirror.example.org/fedora/",
                        "expected": "an answer that is no error",
                        "found": "503\r\nnot what you think",
                    }
                ],
            }
            ids = {"site_id": self.site.id, "host_id": self.host.id}
            return outbox.emit(self.session, kind, payload, **{**ids, "at": self.now, **options})

    def deliveries(self) -> list[Delivery]:
        return list(self.session.scalars(select(Delivery).order_by(Delivery.id)))

    def events(self) -> list[Event]:
        return list(self.session.scalars(select(Event).order_by(Event.id)))


@pytest.fixture
def world(engine: Engine, session: Session) -> World:
    return World(engine, session)
