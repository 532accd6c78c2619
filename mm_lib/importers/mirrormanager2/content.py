"""What is mirrored: products, versions, arches, categories, directories, repositories, important files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mm_lib.importers import pickles
from mm_lib.importers.mirrormanager2.source import Source, flag, text
from mm_lib.importers.mirrormanager2.writer import Ids, Keys, Values, Writer
from mm_lib.importers.report import Outcome, Report
from mm_lib.model.content import (
    Arch,
    Category,
    Directory,
    FileDetail,
    Product,
    Repository,
    RepositoryRedirect,
    Version,
)

_HASHES = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_NAMING_ORDER = ("sha256", "sha512", "sha1", "md5")  # as mm_crawler.master.history names contents
_HEXADECIMAL = frozenset("0123456789abcdef")
_LONGEST = 255  # characters of a name
_LATEST = 253402300799  # the last second that a datetime can hold


@dataclass
class Content:
    """Where everything of the source is with us."""

    categories: dict[int, int] = field(default_factory=dict)
    topdirs: dict[int, str] = field(default_factory=dict)  # by our category
    versions: dict[int, int] = field(default_factory=dict)
    arches: dict[int, int] = field(default_factory=dict)
    repositories: dict[int, int] = field(default_factory=dict)
    directories: dict[int, dict[int, int]] = field(default_factory=dict)  # our category -> directory -> ours
    anywhere: dict[int, int] = field(default_factory=dict)  # directory -> ours, in the first category that has it


def take(source: Source, writer: Writer) -> Content:
    """All of it."""
    content = Content()
    products = _products(source, writer)
    content.versions = _versions(source, writer, products)
    content.arches = _arches(source, writer)
    _categories(source, writer, products, content)
    _directories(source, writer, content)
    _repositories(source, writer, content)
    _redirects(source, writer)
    _files(source, writer, content)
    return content


def _products(source: Source, writer: Writer) -> dict[int, int]:
    names = {}
    for row in source.rows("product", "id", "name", "publiclist"):
        if name := _name(row, "product", writer.report):
            names[row.id] = {"name": name, "public": flag(row.publiclist, True)}
    writer.put("product", Product, ["name"], names.values())
    found = writer.ids(Product, "name")
    return {id_: found[(row["name"],)] for id_, row in names.items()}


def _versions(source: Source, writer: Writer, products: Ids) -> dict[int, int]:
    columns = ("id", "product_id", "name", "codename", "is_test", "display", "display_name", "sortorder")
    rows = {}
    for row in source.rows("version", *columns):
        name = _name(row, "version", writer.report)
        product = products.get(row.product_id)
        if name and product is None:
            writer.report.refused("version", f"version {row.id}", name, "its product is not there")
        elif name and product:
            rows[row.id] = {
                "product_id": product,
                "name": name,
                "codename": text(row.codename),
                "display_name": text(row.display_name),
                "is_test": flag(row.is_test),
                "display": flag(row.display, True),
                "sort_order": row.sortorder or 0,
            }
    writer.put("version", Version, ["product_id", "name"], rows.values())
    found = writer.ids(Version, "product_id", "name")
    return {id_: found[row["product_id"], row["name"]] for id_, row in rows.items()}


def _arches(source: Source, writer: Writer) -> dict[int, int]:
    rows = {}
    for row in source.rows("arch", "id", "name", "publiclist", "primary_arch"):
        if name := _name(row, "arch", writer.report):
            public, primary = flag(row.publiclist, True), flag(row.primary_arch, True)
            rows[row.id] = {"name": name, "public": public, "primary_arch": primary}
    writer.put("arch", Arch, ["name"], rows.values())
    found = writer.ids(Arch, "name")
    return {id_: found[(row["name"],)] for id_, row in rows.items()}


def _categories(source: Source, writer: Writer, products: Ids, content: Content) -> None:
    columns = ("id", "product_id", "name", "canonicalhost", "publiclist", "admin_only", "topdir_id")
    taken = list(source.rows("category", *columns))
    wanted = {row.topdir_id for row in taken}
    tops = {row.id: row.name for row in source.rows("directory", "id", "name") if row.id in wanted}
    rows = {}
    for row in taken:
        name = _name(row, "category", writer.report)
        product = products.get(row.product_id)
        where = f"category {row.id}"
        if name and product is None:
            writer.report.refused("category", where, name, "its product is not there")
            continue
        if not name:
            continue
        if row.topdir_id not in tops:
            writer.report.repaired("category", where, name, "has no top directory; taken with that of the whole tree")
        rows[row.id] = {
            "name": name,
            "product_id": product,
            "topdir": str(tops.get(row.topdir_id, "")).strip("/"),
            "public": flag(row.publiclist, True),
            "admin_only": flag(row.admin_only),
            "canonical_host": text(row.canonicalhost),
        }
    writer.put("category", Category, ["name"], rows.values())
    found = writer.ids(Category, "name")
    content.categories = {id_: found[(row["name"],)] for id_, row in rows.items()}
    content.topdirs = {found[(row["name"],)]: str(row["topdir"]) for row in rows.values()}


def _name(row: Any, table: str, report: Report) -> str:
    name = text(row.name)[:_LONGEST]
    if not name:
        report.refused(table, f"{table} {row.id}", "", "has no name")
    elif name != row.name:
        report.repaired(table, f"{table} {row.id}", name, f"its name was {row.name!r}")
    return name


# -- directories


def _directories(source: Source, writer: Writer, content: Content) -> None:
    """Each in every category that it belongs to; those of none belong where their path leads."""
    belongs: dict[int, list[int]] = defaultdict(list)
    order = ("directory_id", "category_id")
    for row in source.rows("category_directory", "directory_id", "category_id", order_by=order):
        if row.category_id in content.categories:
            belongs[row.directory_id].append(content.categories[row.category_id])
        else:
            writer.report.refused(
                "category_directory", f"category_directory {row.directory_id}", "", "its category is not there"
            )
    writer.report.count(Outcome.TAKEN, "category_directory", sum(map(len, belongs.values())))
    there = {
        (row.category_id, row.path): (row.id, row.mtime, row.readable, row.listing_digest is not None)
        for row in writer.known(Directory, "id", "category_id", "path", "mtime", "readable", "listing_digest")
    }
    places = _Places(source, writer, content, belongs, there)
    writer.insert(Directory, places.new())
    places.change()
    _find_directories(writer, content, places.paths)


@dataclass
class _Places:
    """The source's directories on their way into ours."""

    source: Source
    writer: Writer
    content: Content
    belongs: Mapping[int, list[int]]
    there: Mapping[tuple[int, str], tuple[int, int, bool, bool]]
    paths: dict[int, list[tuple[int, str]]] = field(default_factory=dict)  # directory -> our categories, path
    changed: list[tuple[int, Values]] = field(default_factory=list)

    def new(self) -> Iterator[Values]:
        """The rows that are not with us; all others are noted on the way."""
        report, met = self.writer.report, Keys(self.writer.report, "directory")
        for row in self.source.rows("directory", "id", "name", "files", "readable", "ctime"):
            path, where = str(row.name or "").strip("/"), f"directory {row.id}"
            if path != row.name:
                report.repaired("directory", where, path, "had slashes around its name")
            for category in self._categories(row.id, path):
                if not met.free((category, path), where, path):
                    continue
                self.paths.setdefault(row.id, []).append((category, path))
                values = {"readable": flag(row.readable, True), "mtime": int(row.ctime or 0)}
                before = self.there.get((category, path))
                if before is None:
                    report.count(Outcome.TAKEN, "directory")
                    yield {"category_id": category, "path": path} | values | self._listing(row)
                elif before[3] or (values["mtime"], values["readable"]) == before[1:3]:
                    report.count(Outcome.UNCHANGED, "directory")  # a scan of ours knows better than the source
                else:
                    report.count(Outcome.CHANGED, "directory")
                    self.changed.append((before[0], values | self._listing(row)))

    def _categories(self, id_: int, path: str) -> list[int]:
        if id_ in self.belongs:
            return self.belongs[id_]
        above = [
            category
            for category, topdir in self.content.topdirs.items()
            if not topdir or f"{path}/".startswith(f"{topdir}/")
        ]
        where, report = f"directory {id_}", self.writer.report
        if not above:
            report.refused("directory", where, path, "belongs to no category, and lies below none")
            return []
        report.repaired("directory", where, path, "belonged to no category; taken into the one that it lies below")
        return [max(above, key=lambda category: len(self.content.topdirs[category]))]

    def _listing(self, row: Any) -> Values:
        try:
            sample = sample_of(row.files)
        except ValueError as error:
            reason = f"its list of files {error}; the next scan fills it anew"
            self.writer.report.repaired("directory.files", f"directory {row.id}", row.name, reason)
            sample = []
        return {"sample": sample, "file_count": len(sample)}

    def change(self) -> None:
        """Write what differs."""
        table = Directory.__table__
        for id_, values in self.changed:
            self.writer.connection.execute(
                table.update().where(table.c.id == id_).values(**values)  # type: ignore[attr-defined]
            )


def _find_directories(writer: Writer, content: Content, paths: Mapping[int, list[tuple[int, str]]]) -> None:
    ids = writer.ids(Directory, "category_id", "path")
    content.directories = {category: {} for category in content.topdirs}
    for directory, places in paths.items():
        for category, path in places:
            content.directories[category][directory] = ids[category, path]
        content.anywhere[directory] = ids[places[0]]


def sample_of(packed: object) -> list[list[Any]]:
    """The files of a directory that a crawl asks for, as JSON or as an old pickle has them. Raises ValueError."""
    data = packed.encode() if isinstance(packed, str) else bytes(packed) if packed else b""  # type: ignore[call-overload]
    if not data:
        return []
    try:
        listed = json.loads(data) if data.lstrip()[:1] in (b"[", b"{") else pickles.load(data)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if isinstance(listed, dict):
        listed = [{"name": name, **facts} for name, facts in listed.items() if isinstance(facts, dict)]
    if not isinstance(listed, list):
        raise ValueError(f"is a {type(listed).__name__}")
    return sorted(_file(each) for each in listed)


def _file(listed: object) -> list[Any]:
    if not isinstance(listed, dict) or not isinstance(name := listed.get("name"), str) or not name.isprintable():
        raise ValueError("holds something else than files")
    time = listed.get("timestamp", listed.get("stat"))
    return [name, _whole(listed.get("size")), _whole(time)]


def _whole(value: object) -> int:
    """A size or time, which old lists hold as text; 0 when there is none."""
    if value is None:
        return 0
    if not isinstance(value, int | float | str):
        raise ValueError("holds a size or time that is no number")
    try:
        return min(max(0, int(value)), _LATEST)
    except OverflowError:
        raise ValueError("holds a size or time without end") from None


# -- repositories and files


def _repositories(source: Source, writer: Writer, content: Content) -> None:
    columns = ("id", "name", "prefix", "category_id", "version_id", "arch_id", "directory_id", "disabled")
    met = Keys(writer.report, "repository")
    named: list[Values] = []
    nameless: list[Values] = []
    keys = {}
    for row in source.rows("repository", *columns):
        values = _repository(row, content, writer.report)
        if values is None:
            continue
        prefix = values["prefix"]
        key = (prefix, values["arch_id"]) if prefix else (values["directory_id"], values["arch_id"])
        if met.free(key, f"repository {row.id}", str(row.name)):
            (named if prefix else nameless).append(values)
            keys[row.id] = key
    writer.put("repository", Repository, ["prefix", "arch_id"], named)
    writer.put("repository", Repository, ["prefix", "directory_id", "arch_id"], nameless)
    found = {}
    for id_, prefix, directory, arch in writer.known(Repository, "id", "prefix", "directory_id", "arch_id"):
        found[(prefix, arch) if prefix else (directory, arch)] = id_
    content.repositories = {id_: found[key] for id_, key in keys.items()}


def _repository(row: Any, content: Content, report: Report) -> Values | None:
    where, name = f"repository {row.id}", str(row.name)
    category, version = content.categories.get(row.category_id), content.versions.get(row.version_id)
    arch, prefix = content.arches.get(row.arch_id), text(row.prefix) or None
    for what, there in (("category", category), ("version", version), ("arch", arch)):
        if there is None:
            report.refused("repository", where, name, f"has no {what}")
            return None
    assert category
    directory = content.directories[category].get(row.directory_id) or content.anywhere.get(row.directory_id)
    enabled = not flag(row.disabled)
    if directory is None and prefix is None:
        report.refused("repository", where, name, "has neither a prefix nor a directory: it says nothing")
        return None
    if directory is None and enabled:
        report.repaired("repository", where, name, "has no directory; switched off")
        enabled = False
    return {
        "prefix": prefix,
        "arch_id": arch,
        "version_id": version,
        "category_id": category,
        "directory_id": directory,
        "enabled": enabled,
    }


def _redirects(source: Source, writer: Writer) -> None:
    rows = {}
    met = Keys(writer.report, "repository_redirect")
    for row in source.rows("repository_redirect", "id", "from_repo", "to_repo"):
        start, end, where = text(row.from_repo), text(row.to_repo), f"repository_redirect {row.id}"
        if not start or not end or start == end or max(len(start), len(end)) > _LONGEST:
            writer.report.refused("repository_redirect", where, start, f"leads to {end or 'nothing'}")
        elif met.free((start,), where, start):
            rows[start] = {"from_prefix": start, "to_prefix": end}
    writer.put("repository_redirect", RepositoryRedirect, ["from_prefix"], rows.values())


def _files(source: Source, writer: Writer, content: Content) -> None:
    columns = ("id", "directory_id", "filename", "timestamp", "size", *_HASHES)
    found: dict[tuple[int, str, str], Values] = {}
    for row in source.rows("file_detail", *columns):
        values = _file_detail(row, content, writer.report)
        if values is None:
            continue
        key = (values["directory_id"], values["filename"], values["content_id"])
        before = found.get(key)
        if before is not None:
            writer.report.repaired(
                "file_detail", f"file_detail {row.id}", row.filename, "is there twice; the newest counts"
            )
        if before is None or values["timestamp"] > before["timestamp"]:
            found[key] = values
    writer.put(
        "file_detail", FileDetail, ["directory_id", "filename", "content_id"], found.values(), keep=["first_seen_at"]
    )


def _file_detail(row: Any, content: Content, report: Report) -> Values | None:
    where, directory, name = f"file_detail {row.id}", content.anywhere.get(row.directory_id), str(row.filename or "")
    if directory is None or not name:
        report.refused("file_detail", where, name, "has no name" if directory else "its directory is not there")
        return None
    if len(name) > _LONGEST:
        report.refused("file_detail", where, name, f"its name has more than {_LONGEST} characters")
        return None
    hashes = {kind: _hash(getattr(row, kind), length) for kind, length in _HASHES.items()}
    if any(getattr(row, kind) and not hashes[kind] for kind in _HASHES):
        report.repaired("file_detail", where, name, "one of its hashes is none; left out")
    known = next((kind for kind in _NAMING_ORDER if hashes[kind]), None)
    if known is None:
        report.refused("file_detail", where, name, "has no hash, so that nothing can be checked by it")
        return None
    timestamp = min(max(int(row.timestamp or 0), 0), _LATEST)
    return {
        "directory_id": directory,
        "filename": name,
        "content_id": f"{known}:{hashes[known]}",
        "timestamp": timestamp,
        "size": max(int(row.size or 0), 0),
        **hashes,
        "first_seen_at": datetime.fromtimestamp(timestamp, UTC),
    }


def _hash(value: object, length: int) -> str | None:
    found = text(value).lower()
    return found if len(found) == length and _HEXADECIMAL.issuperset(found) else None
