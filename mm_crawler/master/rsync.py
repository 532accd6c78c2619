"""A master tree from an rsync server: one listing of everything, then the important files that changed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Timer
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from mm_crawler.master.filelist import ListTree
from mm_crawler.master.important import read_file
from mm_crawler.master.listing import MAX_KEPT, Converted, convert, lines_of, unescape
from mm_crawler.master.scanned import (
    Content,
    Excludes,
    FileProblem,
    Look,
    Memory,
    ScannedDirectory,
    ScannedFile,
    SourceError,
    parent,
)
from mm_lib.settings import CrawlerSettings

PARTIAL = (23, 24)
_SILENCE = 300  # seconds in which nothing comes, after which rsync gives up
_ERRORS = 1 << 16  # bytes of rsync's messages that are looked at
_MEANING = {
    1: "it does not understand an option; is it older than 3.1?",
    2: "the server speaks a protocol that it does not know",
    3: "the files could not be selected",
    4: "the server does not support what was asked for",
    5: "the server refused: the module is unknown, needs a password or is busy",
    6: "it could not write to its log",
    10: "the connection failed",
    11: "a file could not be read or written",
    12: "what came is not rsync's protocol",
    13: "it found an error in itself",
    14: "its processes could not talk to each other",
    20: "it was interrupted",
    21: "waiting for its child failed",
    22: "there was not enough memory",
    25: "too much would be deleted",
    30: "nothing came for a long time",
    35: "the connection was not made in time",
    127: "rsync is not installed; Debian's package is called rsync",
}
_COMPLAINT = re.compile(r'(?P<what>\w+)(?:\(| |: )"(?P<path>[^\n]*)" \(in [^)\n]*\)(?P<denied>.*\((?:1|13)\)$)?')
MISSING = re.compile(r'link_stat "/?(?P<path>[^\n]*)" \(in [^)\n]*\) failed: .*\(2\)$')  # named, but not there
_SUMMING_UP = ("rsync error: ", "rsync: [Receiver] ", "rsync: [receiver] ")


class RsyncContents:
    """Single files of a module, fetched into a folder of ours."""

    def __init__(self, url: str, settings: CrawlerSettings, timeout: float = 3600) -> None:
        self.url = url
        self._settings = settings
        self._timeout = timeout
        self._folder = TemporaryDirectory(prefix="mm-master-")
        self._targets: Mapping[str, ScannedFile] = {}

    def top_time(self) -> int:
        """The listing says it."""
        return 0

    def follow(self, links: Sequence[bytes]) -> None:
        """Learn what is behind links, all in one question."""
        if not links:
            return
        listed = Path(self._folder.name) / "links"
        with listed.open("w+b") as stream:
            self.list_into(stream, ["--copy-links", *self._from(links)])
            stream.seek(0)
            self._targets = dict(_plain_files(stream))

    def target(self, path: str) -> ScannedFile | None:
        """What was learnt of a link."""
        return self._targets.get(path)

    def prepare(self, paths: Sequence[str], limit: int) -> None:
        """Fetch them. Raises SourceError; files that are missing are found out when they are read."""
        if not paths:
            return
        names = [path.encode("utf-8", "surrogateescape") for path in paths]
        options = ["--copy-links", "--times", "--no-implied-dirs", f"--max-size={limit}", *self._from(names)]
        code, errors = self.run(options, [str(self._fetched)])
        if code not in (0, *PARTIAL):
            raise SourceError(explain(self.url, code, errors))

    def read(self, path: str, limit: int) -> Content:
        """A file that was fetched, else fetch it now. Raises FileProblem."""
        place = self._fetched / path
        if not place.is_file():
            try:
                self.prepare([path], limit)
            except SourceError as error:
                raise FileProblem(str(error)) from None
        if not place.is_file():
            raise FileProblem(f"cannot be fetched from {self.url}, or has more than the {limit} bytes that are read")
        return read_file(str(place), limit)

    def exists(self, path: str) -> bool:
        """Whether the server lists it. Raises SourceError."""
        if ".." in path.split("/"):
            raise SourceError(f"{path} is above {self.url}, where rsync cannot look")
        with TemporaryFile() as stream:
            options = ["--dirs", *self._from([path.encode("utf-8", "surrogateescape")])]
            _, code, errors = self.list_into(stream, options)
            stream.seek(0)
            rows = stream.read().splitlines()
        if code not in (0, *PARTIAL):
            raise SourceError(explain(self.url, code, errors))
        return any(row.endswith(b"\t" + path.encode("utf-8", "surrogateescape")) for row in rows)

    def close(self) -> None:
        """Remove what was fetched."""
        self._folder.cleanup()

    @property
    def _fetched(self) -> Path:
        place = Path(self._folder.name) / "fetched"
        place.mkdir(exist_ok=True)
        return place

    def _from(self, names: Iterable[bytes]) -> list[str]:
        file = Path(self._folder.name) / "names"
        file.write_bytes(b"".join(name + b"\0" for name in names))
        return ["--from0", f"--files-from={file}"]

    # -- the program

    def list_into(self, target: BinaryIO, options: Sequence[str]) -> tuple[Converted, int, str]:
        """Write a listing's rows; what came of it, rsync's exit code and its messages. Raises SourceError."""
        options = ["--list-only", "--links", *options]
        with TemporaryFile() as messages:
            with self._start(options, [self._folder.name], subprocess.PIPE, messages) as process:
                killer = Timer(self._timeout, process.kill)
                killer.start()
                try:
                    assert process.stdout is not None
                    converted = convert(lines_of(process.stdout), target)
                except BaseException:
                    process.kill()
                    raise
                finally:
                    code = process.wait()
                    late = killer.finished.is_set()
                    killer.cancel()
            if late:
                raise SourceError(f"{self.url}: the listing was not complete after {self._timeout:.0f} seconds")
            return converted, code, _read_messages(messages)

    def run(self, options: Sequence[str], target: Sequence[str]) -> tuple[int, str]:
        """Run rsync; its exit code and messages. Raises SourceError."""
        with TemporaryFile() as messages, self._start(options, target, subprocess.DEVNULL, messages) as process:
            try:
                code = process.wait(self._timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise SourceError(f"{self.url}: files were not fetched after {self._timeout:.0f} seconds") from None
            except BaseException:
                process.kill()
                raise
            return code, _read_messages(messages)

    def _start(
        self, options: Sequence[str], target: Sequence[str], output: int, messages: BinaryIO
    ) -> subprocess.Popen[bytes]:
        limits = [f"--contimeout={max(1, int(self._settings.connect_timeout))}", f"--timeout={_SILENCE}"]
        command = ["rsync", "--no-human-readable", "--no-motd", *limits, *options, "--", self.url, *target]
        # In C every byte that is not ASCII is escaped; times are those of the zone.
        kept = {name: os.environ[name] for name in ("PATH", "RSYNC_PASSWORD") if name in os.environ}
        environment = kept | {"LC_ALL": "C", "TZ": "UTC"}
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=messages, env=environment, text=False
            )
        except FileNotFoundError:
            raise SourceError(f"{self.url}: {_MEANING[127]}") from None


class RsyncTree:
    """The tree of a module, or of a directory in it."""

    def __init__(self, url: str, timeout: float, settings: CrawlerSettings, excludes: Excludes) -> None:
        self._contents = RsyncContents(url, settings, timeout)
        self._excludes = excludes
        self.prepare, self.read = self._contents.prepare, self._contents.read
        self.exists, self.close = self._contents.exists, self._contents.close

    def directories(self, memory: Memory) -> Iterator[ScannedDirectory]:
        """Every directory. Raises SourceError."""
        contents = self._contents
        with TemporaryDirectory(prefix="mm-master-") as folder:
            kept = Path(folder) / "list"
            with kept.open("wb") as target:
                converted, code, errors = contents.list_into(target, ["--recursive", *LEFT_OUT])
            problems = converted.problems
            looks: dict[str, Look] = {}
            if code in PARTIAL:
                looks, said = hidden(errors, inside_module(contents.url))
                problems = [*problems, *said]
            elif code:
                raise SourceError(explain(contents.url, code, errors))
            contents.follow(converted.links)
            tree = ListTree(kept, contents, self._excludes, looks=looks)
            tree.note(problems, converted.left_out - len(converted.problems))
            yield from tree.directories(memory)


LEFT_OUT = ("--exclude=.snapshot/", "--exclude=*.~tmp~/")


def explain(url: str, code: int, errors: str) -> str:
    """What rsync's exit code means, with the first of its messages."""
    first = next((line for line in errors.splitlines() if line.startswith(("@ERROR", "rsync: "))), "")
    said = f": {first}" if first else ""
    return f"{url} cannot be listed, {_MEANING.get(code, 'rsync failed')} (exit code {code}{said})"


def hidden(errors: str, inside: str) -> tuple[dict[str, Look], list[str]]:
    """Which directories of a partial listing are not complete, and what to say about it.

    `inside` is where the top lies in its module. Raises SourceError when the top itself cannot be listed.
    """
    looks: dict[str, Look] = {}
    problems: list[str] = []
    lines = complaints(errors)
    for line in lines:
        match = _COMPLAINT.search(line)
        path = below_top(match["path"], inside) if match else None
        if match is None or path is None:
            looks[""] = Look.FAILED  # who knows what is missing where
        elif match["what"] == "change_dir" or (match["what"] == "opendir" and not path):
            raise SourceError(f"the top directory cannot be listed: {line}")
        elif match["what"] == "opendir" and match["denied"]:
            looks[path] = Look.CLOSED
            continue
        else:
            looks[path if match["what"] in ("opendir", "readdir") else parent(path)] = Look.FAILED
        problems.append(f"rsync says: {line[:300]}")
    if not lines or len(errors) >= _ERRORS:
        looks[""] = Look.FAILED
        problems.append("rsync could not list everything; what is missing is taken as there")
    return looks, problems[:MAX_KEPT]


def complaints(errors: str) -> list[str]:
    """The messages that are about something, without those that sum up."""
    return [line for line in errors.splitlines() if line and not line.startswith(_SUMMING_UP)]


def below_top(path: str, inside: str) -> str | None:
    """The path below the top, None for one that is elsewhere."""
    path = unescape(path.encode()).decode("utf-8", "surrogateescape").strip("/")
    if not inside:
        return path
    if path == inside:
        return ""
    return path.removeprefix(f"{inside}/") if path.startswith(f"{inside}/") else None


def inside_module(url: str) -> str:
    """Where an rsync URL lies in its module."""
    return unquote(urlsplit(url).path).strip("/").partition("/")[2]


def _plain_files(rows: Iterable[bytes]) -> Iterator[tuple[str, ScannedFile]]:
    for row in rows:
        fields = row.rstrip(b"\n").split(b"\t", 3)
        if len(fields) == 4 and fields[1] == b"f":
            path = fields[3].decode("utf-8", "surrogateescape")
            yield path, ScannedFile(path.rpartition("/")[2], int(fields[2]), int(fields[0]))


def _read_messages(messages: BinaryIO) -> str:
    messages.seek(0)
    return messages.read(_ERRORS).decode("utf-8", "replace")
