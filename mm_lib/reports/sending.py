"""Reports by mail: text, HTML with its charts inside, PDF where it is wanted; a mail of its own for each address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage, MIMEPart
from typing import cast

from mm_lib.outbox.mail import MailSender, private_letter
from mm_lib.outbox.message import one_line
from mm_lib.outbox.sending import SendError
from mm_lib.reports import charts, pdf, rendering
from mm_lib.reports.document import Chart, Document
from mm_lib.settings import Settings


@dataclass(frozen=True)
class _Rendered:
    """A report in all forms that a mail has, made once for all its readers."""

    title: str
    text: str
    page: str
    pictures: dict[str, bytes]
    pdf: bytes | None


def _render(document: Document, *, attach_pdf: bool) -> _Rendered:
    names = {chart: f"chart{place}@report" for place, chart in enumerate(document.charts)}

    def source(chart: Chart) -> str:
        return f"cid:{names[chart]}"

    return _Rendered(
        one_line(document.title),
        rendering.markdown(document),
        rendering.html(document, source),
        {name: charts.png(chart) for chart, name in names.items()},
        pdf.render(document) if attach_pdf else None,
    )


def _compose(report: _Rendered, to: str, settings: Settings) -> EmailMessage:
    """The mail. Charts are parts of it: mail readers fetch nothing. Raises Refused for a wrong address."""
    subject = f"[{one_line(settings.frontend.site_name)}] {report.title}"
    message = private_letter(to, subject, report.text, settings)
    message.add_alternative(report.page, subtype="html")
    page = cast("MIMEPart", cast("list[object]", message.get_payload())[1])
    for name, picture in report.pictures.items():
        page.add_related(picture, "image", "png", cid=f"<{name}>", disposition="inline")
    if report.pdf is not None:
        message.add_attachment(report.pdf, "application", "pdf", filename="report.pdf")
    return message


def send(
    letters: Sequence[tuple[Document, Sequence[str]]], settings: Settings, *, attach_pdf: bool = False
) -> list[tuple[str, str]]:
    """Send each report to its addresses; the addresses that got none, and why. One that fails costs no other.

    When the server itself fails, no more is tried.
    """
    sender = MailSender(settings.mail, settings.outbox.timeout)
    failed = []
    down: SendError | None = None
    try:
        for document, addresses in letters:
            report = None
            for address in addresses:
                try:
                    if down is not None:
                        raise down
                    report = report or _render(document, attach_pdf=attach_pdf)
                    sender.send_message(_compose(report, address, settings), address)
                except SendError as error:
                    failed.append((address, str(error)))
                    down = error if error.down else None
    finally:
        sender.close()
    return failed
