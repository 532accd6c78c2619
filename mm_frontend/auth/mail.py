"""Mails with links that open accounts: sent at once and kept nowhere, as whoever reads such a mail can use it.

They go out behind the request's back. So a page takes the same time whether there is somebody to write to or not, and
a slow mail server holds nobody up.
"""

from __future__ import annotations

import atexit
import logging
from concurrent.futures import ThreadPoolExecutor

from flask import current_app

from mm_frontend.settings import everything
from mm_lib.outbox.mail import MailSender, private_letter
from mm_lib.outbox.sending import SendError
from mm_lib.settings import Settings

log = logging.getLogger(__name__)

_KEY = "mm_mail"


def send(to: str, subject: str, text: str) -> None:
    """Send a mail soon. That it could not be sent is in the log: the person asks again when none comes."""
    settings = everything()
    _pool().submit(_deliver, to, f"[{settings.frontend.site_name}] {subject}", text, settings)


def is_set_up() -> bool:
    """Whether mails with links can be sent."""
    settings = everything()
    return bool(settings.mail.server and settings.frontend.public_url)


def wait() -> None:
    """Until all mails are out."""
    _pool().submit(lambda: None).result()


def _pool() -> ThreadPoolExecutor:
    """One thread per process, started with the first mail; it ends when the process does, after the last mail."""
    if _KEY not in current_app.extensions:
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mail")
        atexit.register(pool.shutdown)
        current_app.extensions[_KEY] = pool
    found = current_app.extensions[_KEY]
    assert isinstance(found, ThreadPoolExecutor)
    return found


def _deliver(to: str, subject: str, text: str, settings: Settings) -> None:
    sender = MailSender(settings.mail, settings.outbox.timeout)
    try:
        sender.send_message(private_letter(to, subject, text, settings), to)
    except SendError as error:
        log.error("the mail %r could not be sent: %s", subject, error)
    except Exception:  # nobody waits for the outcome, so it would be lost
        log.exception("the mail %r could not be sent", subject)
    else:
        log.info("sent the mail %r", subject)
    finally:
        sender.close()
