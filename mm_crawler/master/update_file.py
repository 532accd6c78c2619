"""mm-crawler update-file: read one important file again, without a scan."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler.master import history
from mm_crawler.master.formats import FormatError
from mm_crawler.master.history import FoundFile
from mm_crawler.master.important import Findings, collect_one
from mm_crawler.master.known import below
from mm_crawler.master.record import known_files
from mm_crawler.master.scanned import SourceError, join
from mm_crawler.master.signatures import GnuPGKeyring
from mm_crawler.master.source import open_source, parse_source
from mm_lib.cli.changing import audited, carry_out
from mm_lib.cli.common import Failure, Program, example
from mm_lib.model.content import Category, Directory, FileDetail
from mm_lib.services.changes import Change, Plan, Values
from mm_lib.services.errors import InvalidValue, NotFound, ServiceError

_HASHES = ("md5", "sha1", "sha256", "sha512")


class Unusable(ServiceError):
    """The file cannot be believed or read."""


@dataclass(frozen=True)
class Place:
    """An important file of a category that is scanned."""

    category: Category
    directory_id: int
    path: str  # below the topdir

    @property
    def full(self) -> str:
        """Below the content root."""
        return join(self.category.topdir, self.path) if self.category.topdir else self.path


@click.command("update-file")
@click.argument("path")
@click.option("--category", "category_name", help="Needed where several categories have the path.")
@audited
@click.pass_obj
@example("mm-crawler update-file pub/fedora/linux/updates/44/Everything/x86_64/repodata/repomd.xml")
def update_file(program: Program, path: str, category_name: str | None, by: str | None, dry_run: bool) -> None:
    """Read one repomd.xml, summary or Release file of the master again, and record its new version at once.

    PATH is the file's path with the category's topdir, or where it lies on this machine. Its directory must be known
    from a scan.
    """
    with program.reading() as session:
        place = find(session, path, category_name)
    try:
        findings = _read(program, place)
    except (SourceError, FormatError) as error:
        raise Failure(str(error), 1) from error
    for problem in (*findings.refused.values(), *findings.problems):
        raise Unusable(problem)
    plan = carry_out(program, by, dry_run, lambda session: make_plan(session, place, findings.files, datetime.now(UTC)))
    if not plan.changes:
        click.echo(f"{place.full}: unchanged")


def find(session: Session, path: str, category_name: str | None = None) -> Place:
    """Which category's file it is. Raises NotFound, InvalidValue."""
    places = []
    for category in session.scalars(select(Category).order_by(Category.name)):
        if not category.source or category_name not in (None, category.name):
            continue
        inside = _inside(category, path)
        if inside is None:
            continue
        folder = inside.rpartition("/")[0]
        full = join(category.topdir, folder) if folder else category.topdir
        query = select(Directory.id).where(Directory.category_id == category.id, Directory.path == full)
        if (id_ := session.scalar(query)) is not None:
            places.append(Place(category, id_, inside))
    if not places:
        where = f"The category {category_name!r}" if category_name else "No category that is scanned"
        raise NotFound(f"{where} knows no directory for {path}. `mm-crawler master` finds new ones.")
    if len(places) > 1:
        names = ", ".join(place.category.name for place in places)
        raise InvalidValue("category", f"{path} is in several ({names}); say which with --category")
    return places[0]


def _inside(category: Category, path: str) -> str | None:
    """The path below the topdir, if it is there."""
    if path.startswith("/") and (top := category.source.get("path")):
        return str(Path(path).relative_to(top)) if Path(path).is_relative_to(top) else None
    inside = below(category.topdir, path.strip("/"))
    return None if inside.startswith("/") else inside


def _read(program: Program, place: Place) -> Findings:
    source = parse_source(place.category.source)
    settings = program.settings.crawler
    with (
        closing(open_source(source, settings)) as tree,
        GnuPGKeyring(source.keyring) if source.keyring else nullcontext() as keyring,
    ):
        return collect_one(tree.read, place.path, settings.max_metadata_bytes, keyring)


def make_plan(session: Session, place: Place, found: list[FoundFile], now: datetime) -> Plan:
    """What the file changes in its history."""
    folder = place.path.rpartition("/")[0]
    known = known_files(session, {place.directory_id: folder})
    wanted = history.plan(found, known)
    rows = {row.id: row for versions in known.values() for row in versions}
    result = Plan("update-file", place.full)
    for file in wanted.insert:
        values: Values = {"timestamp": file.timestamp, "size": file.size, "first_seen_at": now}
        values |= {kind: file.hashes.get(kind) for kind in _HASHES}
        result.changes.append(_change(place, history.content_id(file.hashes), None, values))
    for id_ in wanted.delete:
        row = session.get_one(FileDetail, id_)
        values = {name: getattr(row, name) for name in ("timestamp", "size", "first_seen_at", *_HASHES)}
        result.changes.append(_change(place, rows[id_].content_id, values, None))
    for id_, size, hashes in wanted.update:
        version = rows[id_]
        was = _whole(version.size, version.content_id, version.hashes)
        becomes = _whole(size, history.content_id(hashes), hashes)
        what = f"{place.full} {version.content_id[:19]}…"
        result.changes.append(Change("file", {"id": id_}, was, becomes, what, ("recorded", "completed")))
    return result


def _whole(size: int, content_id: str, hashes: Mapping[str, str]) -> Values:
    return {"size": size, "content_id": content_id, **{kind: hashes.get(kind) for kind in _HASHES}}


def _change(place: Place, content_id: str, was: Values | None, becomes: Values | None) -> Change:
    filename = place.path.rpartition("/")[2]
    key = {"directory_id": place.directory_id, "filename": filename, "content_id": content_id}
    shown = ("recorded", "withdrawn") if was else ("not recorded", "recorded")
    return Change("file", key, was, becomes, f"{place.full} {content_id[:19]}…", shown)
