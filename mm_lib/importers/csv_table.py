"""A table of mirrors as CSV, with a row of headings: the way out of every spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft, refused, truth

COLUMNS = {
    "host": "host",
    "name": "host",
    "hostname": "host",
    "site": "site",
    "sponsor": "site",
    "organisation": "site",
    "organization": "site",
    "site_url": "site_url",
    "sponsor_url": "site_url",
    "country": "country",
    "country_code": "country",
    "latitude": "latitude",
    "longitude": "longitude",
    "bandwidth_mbps": "bandwidth_mbps",
    "bandwidth": "bandwidth_mbps",
    "private": "private",
    "asn": "asns",
    "asns": "asns",
    "netblocks": "netblocks",
    "subnets": "netblocks",
    "email": "email",
    "comment": "comment",
    "category": "category",
    "url": "urls",
    "urls": "urls",
    "https": "urls",
    "http": "urls",
    "rsync": "urls",
    "ftp": "urls",
}
_LISTS = ("urls", "asns", "netblocks")  # several columns add to them


def parse(text: str, file: str) -> Found:
    """A draft for each row. Commas, semicolons and tabs may stand between the cells."""
    heading = text.lstrip("\n").partition("\n")[0]
    delimiter = max(",;\t", key=heading.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    names: list[str] = []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{file}:{reader.line_num}"
            if not names:
                names = [cell.strip().lower().replace(" ", "_") for cell in row]
                yield from _unknown(names, where)
            else:
                yield from _row(names, row, where)
    except csv.Error as error:
        yield refused("file", f"{file}:{reader.line_num}", file, f"is no CSV from here on: {error}")


def _unknown(names: list[str], where: str) -> Found:
    for name in names:
        if name not in COLUMNS:
            yield refused("column", where, name, f"no column is known by this name; known are {', '.join(COLUMNS)}")


def _row(names: list[str], row: list[str], where: str) -> Found:
    if len(row) > len(names):
        yield refused("cell", where, row[len(names)][:80], "stands beyond the last heading")
    cells: dict[str, str] = {}
    for name, cell in zip(names, row, strict=False):
        field, text = COLUMNS.get(name), cell.strip()
        if not field or not text:
            continue
        if field in _LISTS and field in cells:
            cells[field] += f" {text}"
        elif cells.setdefault(field, text) != text:
            yield refused(field, where, text[:80], f"another column says {cells[field][:80]!r}, which was taken")
    numbers: dict[str, float | None] = {}
    for field in ("latitude", "longitude", "bandwidth_mbps"):
        numbers[field] = _number(cells.get(field, ""))
        if cells.get(field) and numbers[field] is None:
            yield refused(field, where, cells[field], "is no number")
    private = truth(cells["private"]) if "private" in cells else None
    if "private" in cells and private is None:
        yield refused("private", where, cells["private"], "is neither yes nor no")
    yield _draft(cells, numbers, private, where)


def _draft(
    cells: Mapping[str, str], numbers: Mapping[str, float | None], private: bool | None, where: str
) -> MirrorDraft:
    bandwidth = numbers["bandwidth_mbps"]
    return MirrorDraft(
        where,
        tuple(DraftUrl(url, cells.get("category", "")) for url in cells.get("urls", "").split()),
        **{field: cells.get(field, "") for field in ("host", "site", "site_url", "country", "email", "comment")},
        latitude=numbers["latitude"],
        longitude=numbers["longitude"],
        bandwidth_mbps=None if bandwidth is None else int(bandwidth),
        private=private,
        asns=tuple(cells.get("asns", "").replace(",", " ").split()),
        netblocks=tuple(cells.get("netblocks", "").replace(",", " ").split()),
        whole=False,
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e9 else None
