"""Addresses that events are posted to: make, list, switch and remove them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.outbox import Webhook
from mm_lib.model.sites import Site
from mm_lib.rules import urls
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound
from mm_lib.services.outbox import Kind
from mm_lib.services.sites import find_site

SECRET_PREFIX = "whsec_"  # noqa: S105  how Standard Webhooks marks one
KINDS = tuple(kind.value for kind in Kind if kind is not Kind.TEST)


def add_webhook(
    session: Session, url: str, *, site: str | None = None, kinds: Sequence[str] = (), created_by: str = ""
) -> Webhook:
    """Post events to this URL: those of one site, or all. Its new secret is in the row.

    Raises NotFound, AlreadyExists, InvalidValue.
    """
    address = _address(url)
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise InvalidValue("kinds", f"there is no {unknown[0]!r}; there are {', '.join(KINDS)}")
    site_id = find_site(session, site).id if site is not None else None
    same = select(Webhook.id).where(Webhook.url == address, Webhook.site_id.is_not_distinct_from(site_id))
    if session.scalar(same):
        raise AlreadyExists(f"Events are posted to {address} already.")
    secret = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    row = Webhook(site_id=site_id, url=address, secret=secret, kinds=sorted(set(kinds)), created_by=created_by)
    session.add(row)
    session.flush()
    return row


def _address(text: str) -> str:
    """As it is to be asked: a query may hold the receiver's own token, so it stays. Raises InvalidValue."""
    address = text.strip()
    try:
        urls.normalise(address.partition("?")[0], ("https", "http"))
    except ValueError as error:
        raise InvalidValue("url", str(error)) from None
    if "#" in address or len(address) > urls.MAX_LENGTH or not address.isprintable() or " " in address:
        raise InvalidValue("url", f"must have no fragment, no blank and at most {urls.MAX_LENGTH} characters")
    return address


def find_webhook(session: Session, id_: int) -> Webhook:
    """The webhook with this id. Raises NotFound."""
    row = session.get(Webhook, id_)
    if row is None:
        raise NotFound(f"There is no webhook {id_}. `mm-admin webhook list` shows them.")
    return row


def list_webhooks(session: Session, site_id: int | None = None) -> list[dict[str, Any]]:
    """All webhooks, or those of one site; without their secrets."""
    query = select(Webhook, Site.name).outerjoin(Site, Site.id == Webhook.site_id).order_by(Webhook.id)
    rows = session.execute(query if site_id is None else query.where(Webhook.site_id == site_id))
    return [
        {
            "id": row.id,
            "site": site,
            "url": row.url,
            "kinds": row.kinds,
            "enabled": row.enabled,
            "created_at": row.created_at,
            "created_by": row.created_by,
        }
        for row, site in rows
    ]
