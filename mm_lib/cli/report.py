"""mm-admin report: what a day, a week or a year was like, to a file or by mail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mm_lib.cache.file import publish
from mm_lib.cli.common import Failure, Group, Program, example
from mm_lib.model.statistics import StatisticLevel

if TYPE_CHECKING:
    from mm_lib.reports.document import Document

FORMATS = {".md": "markdown", ".html": "html", ".pdf": "pdf"}
_DAY = click.DateTime(["%Y-%m-%d"])


class _Reports(Group):
    """Says which extra is missing, instead of which module."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            library = str(error.name).partition(".")[0]
            if library not in ("jinja2", "matplotlib", "fpdf"):
                raise
            message = f"Reports need {library}, which is not installed: pip install 'mirrormanager[reports]'"
            raise Failure(message, 1) from error


@click.group(cls=_Reports)
def report() -> None:
    """Reports about distributions and sites, as Markdown, HTML or PDF, to a file or by mail."""


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """What every report can do."""
    for option in (
        click.option("--mail", "addresses", multiple=True, metavar="ADDRESS", help="Mail it; can be repeated."),
        click.option(
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write it to this file. Default: print it.",
        ),
        click.option(
            "--format",
            "form",
            type=click.Choice(tuple(FORMATS.values())),
            help="Default: as the file's name ends, else Markdown. With --mail, pdf is attached.",
        ),
        click.option("--until", type=_DAY, metavar="YYYY-MM-DD", help="Last day. Default: the last that is over."),
        click.option("--since", type=_DAY, metavar="YYYY-MM-DD", help="First day."),
    ):
        command = option(command)
    return command


_products = click.option("--product", "products", multiple=True, help="Only this one; can be repeated. Default: all.")


@report.command()
@_products
@_options
@click.pass_obj
@example("mm-admin report daily --product Fedora --output /srv/reports/fedora.html")
def daily(program: Program, products: tuple[str, ...], **options: Any) -> None:
    """Requests, mirrors and the spreading of updates of yesterday.

    It names private mirrors and why mirrors fail: for administrators. Exit code 1: it could not be written, or one of
    the mails could not be sent.
    """
    _about_products(program, StatisticLevel.DAY, products, options)


@report.command()
@_products
@_options
@click.pass_obj
@example("mm-admin report weekly --mail mirrors@example.org")
def weekly(program: Program, products: tuple[str, ...], **options: Any) -> None:
    """The same for the last week that is over, Monday to Sunday."""
    _about_products(program, StatisticLevel.WEEK, products, options)


@report.command()
@_products
@_options
@click.pass_obj
@example("mm-admin report year --until 2026-12-31 --output year.pdf")
def year(program: Program, products: tuple[str, ...], **options: Any) -> None:
    """The last year that is over, with its months."""
    _about_products(program, StatisticLevel.YEAR, products, options)


def _about_products(program: Program, level: StatisticLevel, products: Sequence[str], options: dict[str, Any]) -> None:
    from mm_lib.reports import distribution, periods  # needs libraries of the extra [reports]

    form = _form(options)
    since, until = _days(options)
    with program.reading() as session:
        period = periods.period(level, since, until, datetime.now(UTC).date())
        found = distribution.report(session, period, products, periods.steps(level, period.span))
    _hand_over(program, found, form, options)


@report.command()
@click.argument("name", metavar="[SITE]", required=False)
@click.option("--members", is_flag=True, help="Mail it to the site's owners and administrators.")
@click.option("--subscribed", is_flag=True, help="Mail every site that wants reports its own, to its members.")
@_options
@click.pass_obj
@example("mm-admin report site --subscribed")
def site(program: Program, name: str | None, members: bool, subscribed: bool, **options: Any) -> None:
    """What a site's mirrors served, how they were, and what to fix; for the last week that is over."""
    from mm_lib.reports import periods
    from mm_lib.reports import site as of_site
    from mm_lib.services.sites import find_site

    if subscribed == bool(name) or (subscribed and (members or options["output"] or options["addresses"])):
        raise click.UsageError("Name a site; or use --subscribed, without --members, --output and --mail.")
    form = _form(options)
    with program.reading() as session:
        week = StatisticLevel.WEEK
        period = periods.period(week, *_days(options), datetime.now(UTC).date())
        sites = of_site.subscribed(session) if name is None else [find_site(session, name)]
        found = of_site.reports(session, sites, period, periods.steps(week, period.span))
        people = [of_site.addresses(session, each) for each in sites]
    if subscribed:
        _mail(program, list(zip(found, people, strict=True)), attach_pdf=form == "pdf")
        return
    if members:
        options["addresses"] = (*options["addresses"], *people[0])
        if not options["addresses"]:
            raise Failure(f"Nobody who speaks for {name} has a mail address.", 1)
    _hand_over(program, found[0], form, options)


def _days(options: dict[str, Any]) -> tuple[date | None, date | None]:
    since, until = (options[name].date() if options[name] else None for name in ("since", "until"))
    return since, until


def _form(options: dict[str, Any]) -> str:
    if options["form"]:
        return str(options["form"])
    output: Path | None = options["output"]
    if output is None:
        return "markdown"
    if output.suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise click.UsageError(f"{output}: the name ends in none of {known}; say which --format it is to have.")
    return FORMATS[output.suffix]


def _hand_over(program: Program, document: Document, form: str, options: dict[str, Any]) -> None:
    output, addresses = options["output"], options["addresses"]
    if output is None and not addresses and form == "pdf" and sys.stdout.isatty():
        raise click.UsageError("A PDF is nothing for a terminal: use --output.")
    if output is not None or not addresses:
        content = _rendered(document, form)
        if output is None:
            click.echo(content, nl=False)
        else:
            publish(output, content, keep_previous=False)
            click.echo(f"{output}: {len(content)} bytes written.")
    if addresses:
        _mail(program, [(document, addresses)], attach_pdf=form == "pdf")


def _rendered(document: Document, form: str) -> bytes:
    from mm_lib.reports import rendering

    if form == "markdown":
        return rendering.markdown(document).encode()
    from mm_lib.reports import charts  # matplotlib takes a while to load

    if form == "html":
        return rendering.html(document, charts.data_address, partial(charts.data_address, dark=True)).encode()
    from mm_lib.reports import pdf

    return pdf.render(document)


def _mail(program: Program, letters: Sequence[tuple[Document, Sequence[str]]], *, attach_pdf: bool) -> None:
    from mm_lib.reports import sending

    if not program.settings.mail.server and any(addresses for _, addresses in letters):
        raise Failure("No mail is sent: mail.server is not set.", 2)
    failed = sending.send(letters, program.settings, attach_pdf=attach_pdf)
    sent = sum(len(addresses) for _, addresses in letters) - len(failed)
    click.echo(f"{sent} mails sent.")
    if failed:
        raise Failure("\n".join(f"{address}: {why}" for address, why in failed), 1)
