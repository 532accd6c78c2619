"""Mail by SMTP, to one address each: nobody learns the others' addresses, and one that is wrong costs no other."""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from mm_lib.model.outbox import Webhook
from mm_lib.outbox.message import Told, letter
from mm_lib.outbox.sending import Down, Refused, SendError
from mm_lib.settings import MailSettings, Settings

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class MailSender:
    """One connection to the mail server, made when the first mail goes out."""

    def __init__(self, settings: MailSettings, timeout: float) -> None:
        self._settings = settings
        self._timeout = timeout
        self._connection: smtplib.SMTP | None = None

    def send(self, told: Told, target: str, webhook: Webhook | None) -> None:  # noqa: ARG002  the protocol has it
        """Hand the mail to the server. Raises SendError."""
        self.send_message(compose(told, target, self._settings.sender), target)

    def send_message(self, message: EmailMessage, target: str) -> None:
        """Hand a mail to the server. Raises SendError."""
        try:
            self._connected().send_message(message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError) as error:
            raise _refusal(error, target) from error
        except smtplib.SMTPResponseException as error:
            raise _answer(error.smtp_code, error.smtp_error) from error
        except (OSError, smtplib.SMTPException) as error:
            self._connection = None
            raise Down(f"the mail server {self._settings.server} cannot be used: {error}") from error

    def close(self) -> None:
        """Say goodbye."""
        if self._connection is not None:
            try:
                self._connection.quit()
            except (OSError, smtplib.SMTPException):
                self._connection.close()
            self._connection = None

    def _connected(self) -> smtplib.SMTP:
        if self._connection is None:
            try:
                self._connection = self._connect()
            except (OSError, smtplib.SMTPException) as error:
                raise Down(f"the mail server {self._settings.server} cannot be used: {error}") from error
        return self._connection

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.server, settings.port, timeout=self._timeout, context=context
            )
        else:
            connection = smtplib.SMTP(settings.server, settings.port, timeout=self._timeout)
        try:
            if settings.security == "starttls":
                connection.starttls(context=context)
            if settings.user:
                self._sign_in(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _sign_in(self, connection: smtplib.SMTP) -> None:
        settings = self._settings
        if settings.security == "none" and settings.server not in _LOOPBACK:
            raise Down("mail.user is set, but a password is sent only with mail.security starttls or tls")
        connection.login(settings.user, settings.password.get_secret_value() if settings.password else "")


def private_letter(to: str, subject: str, text: str, settings: Settings) -> EmailMessage:
    """A mail that is no event: for one person, and kept nowhere. Raises Refused for a wrong address."""
    message = _addressed(settings.frontend.site_name, settings.mail.sender, to)
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=settings.mail.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


def compose(told: Told, target: str, sender: str) -> EmailMessage:
    """The mail. Its Message-ID is the same in each try, so that a reader shows one that came twice once."""
    message = _addressed(told.product, sender, target)
    subject, text = letter(told)
    message["Subject"] = subject
    message["Date"] = format_datetime(told.at)
    message["Message-ID"] = f"<event-{told.event_id}.{told.at:%Y%m%d%H%M%S}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday notices do not answer
    message.set_content(text)
    return message


def _addressed(product: str, sender: str, target: str) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = Address(product, addr_spec=sender)
        message["To"] = Address(addr_spec=target)
    except (ValueError, IndexError) as error:
        raise Refused(f"{sender!r} or {target!r} is no mail address: {error}") from None
    return message


def _refusal(error: smtplib.SMTPException, target: str) -> SendError:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = error.recipients.get(target, (450, b"refused"))
        return _answer(code, said)
    return Refused(str(error))  # an address with letters that the server cannot take


def _answer(code: int, said: bytes | str) -> SendError:
    """5xx about a mail or its receiver is for ever; about us (530, 535) it is a setting that somebody has to change."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    told = f"the mail server answered {code} {text}"
    if code in (421, 530, 534, 535, 538):
        return Down(told)
    return Refused(told) if code >= 500 else SendError(told)
