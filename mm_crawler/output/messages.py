"""Whoever has crawled delivers what there is to tell, so that a site hears of it also where no timer does it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from mm_lib.cli.common import Program
from mm_lib.settings import SettingsError

logger = logging.getLogger(__name__)


def deliver(program: Program) -> None:
    """Deliver what waits, once. What does not work waits on; it is no failure of the crawl."""
    from mm_lib.outbox.deliver import deliver as deliver_outbox  # urllib3 tries a socket when it is loaded

    try:
        deliver_outbox(program.transaction, program.settings)
    except (SQLAlchemyError, SettingsError) as error:
        logger.warning("no messages were delivered: %s", error)
