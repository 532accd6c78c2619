"""What hosts carry: categories, URLs, and the large table of directories that are up to date, as one bitmap each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyroaring import BitMap

from mm_lib.importers.mirrormanager2.content import Content
from mm_lib.importers.mirrormanager2.source import MAX_INTEGER, Source, flag, moment
from mm_lib.importers.mirrormanager2.writer import Ids, Keys, Values, Writer
from mm_lib.importers.report import Outcome
from mm_lib.model.content import Directory
from mm_lib.model.hosts import HostCategory, HostCategoryUrl
from mm_lib.model.state import HostCategoryHealth, HostCategoryState, StateSource
from mm_lib.rules import urls

Progress = Callable[[str, int], None]  # what is read, and how much of it


@dataclass(frozen=True)
class Carried:
    """A category on a host."""

    id: int  # ours
    category: int  # ours
    seen_at: datetime | None  # when the host was last crawled, or checked in
    failures: int


def take(source: Source, writer: Writer, hosts: Ids, content: Content, progress: Progress) -> None:
    """All of it."""
    carried = _categories(source, writer, hosts, content)
    _urls(source, writer, carried)
    _health(writer, carried.values())
    _State(source, writer, content, carried, progress).take()


def _categories(source: Source, writer: Writer, hosts: Ids, content: Content) -> dict[int, Carried]:
    met, rows = Keys(writer.report, "host_category"), {}
    owners, places = {}, {}
    for row in source.rows("host_category", "id", "host_id", "category_id", "always_up2date"):
        where, pair = f"host_category {row.id}", (hosts.get(row.host_id), content.categories.get(row.category_id))
        if None in pair:
            writer.report.refused("host_category", where, "", "its host or category is not there")
        elif met.free(pair, where, ""):
            owners[row.id], places[row.id] = row.host_id, row.category_id
            rows[row.id] = {
                "host_id": pair[0],
                "category_id": pair[1],
                "always_up_to_date": flag(row.always_up2date),
            }
    writer.put("host_category", HostCategory, ["host_id", "category_id"], rows.values())
    found = writer.ids(HostCategory, "host_id", "category_id")
    facts = {row.id: row for row in source.rows("host", "id", "last_crawled", "last_checked_in", "crawl_failures")}
    carried = {}
    for id_, row in rows.items():
        host = facts[owners[id_]]
        seen = max(filter(None, (moment(host.last_crawled), moment(host.last_checked_in))), default=None)
        ours = found[row["host_id"], row["category_id"]]
        carried[id_] = Carried(
            ours, content.categories[places[id_]], seen, min(max(host.crawl_failures or 0, 0), MAX_INTEGER)
        )
    return carried


def _urls(source: Source, writer: Writer, carried: Mapping[int, Carried]) -> None:
    report = writer.report
    met, rows = Keys(report, "host_category_url"), []
    others = {row.url: row.host_category_id for row in writer.known(HostCategoryUrl, "url", "host_category_id")}
    for row in source.rows("host_category_url", "id", "host_category_id", "url", "private"):
        where, given, owner = f"host_category_url {row.id}", str(row.url or ""), carried.get(row.host_category_id)
        if owner is None:
            report.refused("host_category_url", where, given, "nobody carries it")
            continue
        try:
            url = urls.normalise(given)
        except ValueError as error:
            report.refused("host_category_url", where, given, str(error))
            continue
        if not met.free((url,), where, url):
            continue
        if others.get(url, owner.id) != owner.id:
            report.refused("host_category_url", where, url, "another host has it here already")
            continue
        if url != given.rstrip("/"):
            report.repaired("host_category_url", where, given, f"is {url}")
        rows.append({"host_category_id": owner.id, "url": url, "private": flag(row.private)})
    writer.put("host_category_url", HostCategoryUrl, ["url"], rows)


def _health(writer: Writer, carried: Iterable[Carried]) -> None:
    """Failures in a row are counted on where the crawler of the source left off; what ours knows is left alone."""
    known = {row.host_category_id for row in writer.known(HostCategoryHealth, "host_category_id")}
    rows = [
        {"host_category_id": each.id, "failures": each.failures, "last_tried_at": each.seen_at}
        for each in carried
        if each.failures and each.id not in known
    ]
    writer.insert(HostCategoryHealth, rows)
    writer.report.count(Outcome.TAKEN, "host.crawl_failures", len(rows))


@dataclass
class _State:
    """Millions of rows become a bitmap per host and category, one after the other."""

    source: Source
    writer: Writer
    content: Content
    carried: Mapping[int, Carried]
    progress: Progress
    paths: dict[int, dict[str, int]] = field(default_factory=dict)  # our category -> path -> directory, when asked for

    def take(self) -> None:
        """The whole table, one host's category after the other."""
        if "host_category_dir" not in self.source.tables:
            return
        strays: dict[int, list[str]] = defaultdict(list)
        for owner_id, path in self.source.without_directory():
            strays[owner_id].append(path)
        read, totals, existing = 0, self._totals(), self._existing()
        for id_, rows, current, directories in self.source.up_to_date():
            read += rows
            self.progress("host_category_dir", read)
            owner = self.carried.get(id_)
            if owner is None:
                where = f"host_category {id_}"
                self._refuse(rows, where, "nobody carries it: its host, category or itself is not there")
                continue
            self.writer.report.count(Outcome.TAKEN, "host_category_dir (not up to date)", rows - current)
            found = self._bitmap(id_, owner, directories, strays.get(id_, []))
            self._store(owner, found, totals.get(owner.category, 0), existing)

    def _bitmap(self, id_: int, owner: Carried, directories: list[int], paths: list[str]) -> BitMap:
        where, report = f"host_category {id_}", self.writer.report
        places = self.content.directories[owner.category]
        known = [places[directory] for directory in directories if directory in places]
        by_path = [self._by_path(owner.category, path) for path in paths]
        known += [id_ for id_ in by_path if id_ is not None]
        found = BitMap(known)
        report.count(Outcome.TAKEN, "host_category_dir", len(found))
        if twins := len(known) - len(found):
            report.count(Outcome.REPAIRED, "host_category_dir", twins - 1)
            report.repaired("host_category_dir", where, f"{twins} rows", "the same directory under two spellings")
        if strangers := len(directories) + len(paths) - len(known):
            self._refuse(strangers, where, "no such directory in the category: nothing is known of it")
        return found

    def _refuse(self, number: int, where: str, reason: str) -> None:
        self.writer.report.count(Outcome.REFUSED, "host_category_dir", number - 1)
        self.writer.report.refused("host_category_dir", where, f"{number} rows", reason)

    def _by_path(self, category: int, path: str) -> int | None:
        """The directory with this path below the top directory, which stands there in one of two spellings."""
        if category not in self.paths:
            known = self.writer.known(Directory, "category_id", "path", "id")
            self.paths[category] = {name: id_ for of, name, id_ in known if of == category}
        topdir = self.content.topdirs[category]
        return self.paths[category].get("/".join(part for part in (topdir, path.strip("/")) if part))

    def _totals(self) -> dict[int, int]:
        """Readable directories by category."""
        found: dict[int, int] = {}
        for category, readable in self.writer.known(Directory, "category_id", "readable"):
            found[category] = found.get(category, 0) + bool(readable)
        return found

    def _existing(self) -> dict[int, Any]:
        columns = ("host_category_id", "source", "established_at", "up_to_date")
        return {row.host_category_id: row for row in self.writer.known(HostCategoryState, *columns)}

    def _store(self, owner: Carried, found: BitMap, total: int, existing: Mapping[int, Any]) -> None:
        """What a crawl or check-in of ours has established is newer than the source, and stays."""
        report, table = self.writer.report, HostCategoryState.__table__
        found.run_optimize()
        values: Values = {
            "up_to_date": found.serialize(),
            "directories_up_to_date": len(found),
            "directories_total": max(total, len(found)),
            "established_at": owner.seen_at or datetime.now(UTC),
            "source": StateSource.IMPORT,
        }
        before = existing.get(owner.id)
        if before is None:
            self.writer.insert(HostCategoryState, [{"host_category_id": owner.id, **values}])
            report.count(Outcome.TAKEN, "state of a host's category")
        elif before.source is not StateSource.IMPORT or before.up_to_date == values["up_to_date"]:
            report.count(Outcome.UNCHANGED, "state of a host's category")
        else:
            query = table.update().where(table.c.host_category_id == owner.id)  # type: ignore[attr-defined]
            self.writer.connection.execute(query.values(**values))
            report.count(Outcome.CHANGED, "state of a host's category")
