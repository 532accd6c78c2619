"""Reports by mail: text, HTML with its charts inside, PDF where it is wanted; a mail of its own for each address."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import EmailMessage, MIMEPart
from typing import cast

from mm_lib.outbox.mail import MailSender, private_letter
from mm_lib.outbox.message import one_line
from mm_lib.outbox.sending import SendError
from mm_lib.reports import charts, rendering
from mm_lib.reports.document import Chart, Document
from mm_lib.settings import Settings


def compose(document: Document, to: str, settings: Settings, *, attach_pdf: bool = False) -> EmailMessage:
    """The mail. Charts are parts of it: mail readers fetch nothing. Raises Refused for a wrong address."""
    subject = f"[{one_line(settings.frontend.site_name)}] {one_line(document.title)}"
    message = private_letter(to, subject, rendering.markdown(document), settings)
    names = {chart: f"chart{place}@report" for place, chart in enumerate(document.charts)}

    def source(chart: Chart) -> str:
        return f"cid:{names[chart]}"

    message.add_alternative(rendering.html(document, source), subtype="html")
    page = cast("MIMEPart", cast("list[object]", message.get_payload())[1])
    for chart, name in names.items():
        page.add_related(charts.png(chart), "image", "png", cid=f"<{name}>", disposition="inline")
    if attach_pdf:
        from mm_lib.reports import pdf

        message.add_attachment(pdf.render(document), "application", "pdf", filename="report.pdf")
    return message


def send(
    letters: Sequence[tuple[Document, Sequence[str]]], settings: Settings, *, attach_pdf: bool = False
) -> list[tuple[str, str]]:
    """Send each report to its addresses; the addresses that got none, and why. One that fails costs no other."""
    sender = MailSender(settings.mail, settings.outbox.timeout)
    failed = []
    try:
        for document, addresses in letters:
            for address in addresses:
                try:
                    message = compose(document, address, settings, attach_pdf=attach_pdf)
                    sender.send_message(message, address)
                except SendError as error:
                    failed.append((address, str(error)))
    finally:
        sender.close()
    return failed
