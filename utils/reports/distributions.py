#!/usr/bin/env python3
"""A report of one kind about each distribution, kept by its last day in a folder, by mail, or both; for cron.

    distributions.py weekly --folder /srv/reports --mail mirrors@example.org

makes /srv/reports/Fedora/weekly/2026-11-29.md, .html and .pdf of the last week that is over, and `latest.html` beside
them, for every product. Run again, it writes the same bytes. It needs nothing but mm-admin, with the extra [reports].
Exit code 1: some report could not be made or mailed; the others were.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

DAILY, WEEKLY, YEAR = KINDS = ("daily", "weekly", "year")
FORMS = ("md", "html", "pdf")
ONE_DAY = timedelta(days=1)


def main(arguments: Sequence[str], today: date) -> int:
    """Make them all."""
    chosen = _parser().parse_args(arguments)
    if not chosen.folder and not chosen.mail:
        _parser().error("say where to: --folder, --mail, or both")
    first, last = last_over(chosen.kind, today)
    if chosen.since or chosen.until:
        first, last = chosen.since or chosen.until, chosen.until or today - ONE_DAY
    failed = False
    for product in chosen.product or _products(chosen.mm_admin):
        report = [chosen.mm_admin, "report", chosen.kind, "--product", product]
        report += ["--since", first.isoformat(), "--until", last.isoformat()]
        for command in _ways(chosen, report, product, last):
            failed |= subprocess.run(command, check=False).returncode != 0
        if chosen.folder:
            _point_to_latest(_place(chosen, product))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--folder", type=Path, help="keep them below this one")
    parser.add_argument("--mail", action="append", default=[], metavar="ADDRESS", help="mail them; can be repeated")
    parser.add_argument("--product", action="append", metavar="NAME", help="only this one; can be repeated")
    parser.add_argument("--form", action="append", choices=FORMS, help="only this one; can be repeated")
    parser.add_argument("--since", type=date.fromisoformat, metavar="YYYY-MM-DD", help="first day")
    parser.add_argument("--until", type=date.fromisoformat, metavar="YYYY-MM-DD", help="last day")
    parser.add_argument("--mm-admin", default="mm-admin", metavar="FILE", help="the program")
    return parser


def last_over(kind: str, today: date) -> tuple[date, date]:
    """The first and the last day of the last day, week (Monday to Sunday) or year that is over."""
    if kind == YEAR:
        return date(today.year - 1, 1, 1), date(today.year - 1, 12, 31)
    if kind == WEEKLY:
        monday = today - timedelta(days=today.weekday() + 7)
        return monday, monday + 6 * ONE_DAY
    return today - ONE_DAY, today - ONE_DAY


def _products(program: str) -> list[str]:
    listed = subprocess.run([program, "product", "list", "--json"], check=True, stdout=subprocess.PIPE)
    return [product["name"] for product in json.loads(listed.stdout)]


def _place(chosen: argparse.Namespace, product: str) -> Path:
    """A product's name may have a slash in it."""
    return Path(chosen.folder, quote(product, safe=" "), chosen.kind)


def _ways(chosen: argparse.Namespace, report: list[str], product: str, last: date) -> Iterator[list[str]]:
    """One command for each file, and one for the mails."""
    if chosen.folder:
        place = _place(chosen, product)
        place.mkdir(parents=True, exist_ok=True)
        for form in chosen.form or FORMS:
            yield [*report, "--output", str(place / f"{last}.{form}")]
    if chosen.mail:
        yield [*report, "--format", "pdf", *(word for address in chosen.mail for word in ("--mail", address))]


def _point_to_latest(place: Path) -> None:
    """One address for the newest report in each form, replaced in one step."""
    for form in FORMS:
        newest = max((file.name for file in place.glob(f"[0-9]*.{form}")), default=None)
        if newest:
            new = place / f".latest.{form}.{os.getpid()}"
            new.symlink_to(newest)
            new.replace(place / f"latest.{form}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], datetime.now(UTC).date()))
