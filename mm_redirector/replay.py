"""`mm-redirector replay`: what another policy or registry would change, by the requests of past access logs."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mm_lib.cache import codec, file
from mm_lib.cache.schema import MAX_BANDWIDTH, MIN_BANDWIDTH, MirrorlistCache
from mm_lib.settings import RedirectorSettings, SettingsError, load
from mm_lib.statistics import lines, reading
from mm_redirector.geo import GeoData
from mm_redirector.index import Index, build
from mm_redirector.replaying import HostChange, Question, Replay, changed, result
from mm_redirector.settings import Policy, policy

HELP = """Run the requests of access logs through the selection twice, as it is and as proposed, and tell what moves.

The proposal is a TOML file: a [redirector] section with the settings that change, [[host]] tables with the name of a
host and removed = true, bandwidth, country or add_countries, and cache = "FILE" for another registry's cache.
"""
EXAMPLE = "Example: mm-redirector replay --logs access.log.1.gz --policy proposed.toml --html replay.html"
ROWS = 25  # of a table on the terminal

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


class ProposedHost(BaseModel):
    """What changes about one host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    removed: bool = False
    bandwidth: int | None = Field(None, ge=MIN_BANDWIDTH, le=MAX_BANDWIDTH)
    country: Country | None = None
    add_countries: tuple[Country, ...] = ()


class Proposal(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redirector: dict[str, Any] = {}
    host: tuple[ProposedHost, ...] = ()
    cache: Path | None = None


def main(arguments: list[str]) -> int:
    """Do it. Raises SettingsError, OSError, CacheError."""
    chosen = _parser().parse_args(arguments)
    settings = load(chosen.config)
    proposal, proposed = read_proposal(chosen.policy, settings.redirector)
    geo = GeoData(settings.geo)
    cache = _read(settings.cache.file)
    other = _read(chosen.policy.parent / proposal.cache if proposal.cache else settings.cache.file)
    changes = {
        host.name: HostChange(host.removed, host.bandwidth, host.country, host.add_countries) for host in proposal.host
    }
    if unknown := changed(other, changes):
        raise SettingsError(f"{chosen.policy}: there is no host {', '.join(unknown)} in the cache")
    before = policy(settings.redirector)
    replay = Replay(_side(cache, before), _side(other, proposed), geo)
    logs = _Logs(chosen.logs)
    replay.add(logs.requests())
    replay.finish()
    found = result(replay, {host.name: host.country for host in (*cache.hosts, *other.hosts)})
    found["lines_without_request"] = logs.lines - found["total"]["requests"]
    if chosen.html:
        chosen.html.write_text(page(found, str(chosen.policy)), encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if chosen.json else text(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mm-redirector replay",
        description=HELP,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file [default: $MM_CONFIG]")
    parser.add_argument("--logs", type=Path, nargs="+", required=True, metavar="FILE", help="logs, or folders of them")
    parser.add_argument("--policy", type=Path, required=True, metavar="FILE", help="what is proposed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page as well")
    return parser


def read_proposal(path: Path, today: RedirectorSettings) -> tuple[Proposal, Policy]:
    """The proposal and its policy: today's settings, with those of the file. Raises SettingsError."""
    try:
        proposal = Proposal.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        return proposal, policy(RedirectorSettings.model_validate(today.model_dump() | proposal.redirector))
    except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from None


def _read(path: Path) -> MirrorlistCache:
    return codec.decode(file.read(path))


def _side(cache: MirrorlistCache, chosen: Policy) -> tuple[Index, Policy]:
    return build(cache, chosen), chosen


class _Logs:
    """The requests in logs, one after the other, and how many lines there were."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = paths
        self.lines = 0

    def requests(self) -> Iterator[tuple[Question, str, str]]:
        """All of them. Raises OSError for a log that cannot be read to its end."""
        for log in reading.logs(self._paths):
            try:
                with log.open() as stream:
                    for portion in reading.portions(stream, reading.Progress.start()):
                        self.lines += portion.count(b"\n")
                        yield from map(_question, lines.requests(portion))
            except reading.UNREADABLE as error:
                raise OSError(f"{log.name} cannot be read: {error}") from None


def _question(asked: lines.Request) -> tuple[Question, str, str]:
    about = asked.asked
    country = about.country if about.country != lines.UNKNOWN_COUNTRY else ""
    return Question(about.repository, about.arch, about.kind), asked.address, country


def text(found: Mapping[str, Any]) -> str:
    """Two tables: the hosts and the client countries that change most."""
    total = found["total"]
    parts = [
        f"{total['requests']} requests; {total['moved']} ({_percent(total['moved'], total)}) go elsewhere first.",
        f"With a near mirror: {total['near_before']} before, {total['near_after']} after;"
        f" {total['lost_near_mirror']} lose it.",
        f"Without an answer: {total['unanswered_before']} before, {total['unanswered_after']} after.",
    ]
    if found["lines_without_request"]:
        parts.append(f"{found['lines_without_request']} lines of the logs were no requests for a repository.")
    if total["kilometres_before"] is not None:
        parts.append(f"Kilometres: {total['kilometres_before']} before, {total['kilometres_after']} after.")
    rows: list[tuple[str, ...]] = [("host", "country", "before", "after", "moved")]
    rows += [
        (
            host["host"],
            host["country"],
            f"{host['share_before']:.3%}",
            f"{host['share_after']:.3%}",
            f"{host['share_after'] - host['share_before']:+.3%}",
        )
        for host in found["hosts"][:ROWS]
    ]
    parts += ["", *_aligned(rows), ""]
    rows = [("clients in", "requests", "moved", "near before", "near after", "lose it", "km before", "km after")]
    rows += [
        (
            row["country"] or "unknown",
            *(str(row[name]) for name in ("requests", "moved", "near_before", "near_after", "lost_near_mirror")),
            *("" if row[name] is None else str(row[name]) for name in ("kilometres_before", "kilometres_after")),
        )
        for row in found["countries"][:ROWS]
    ]
    return "\n".join([*parts, *_aligned(rows)]) + "\n"


def _percent(number: float, total: Mapping[str, Any]) -> str:
    return f"{number / total['requests']:.2%}" if total["requests"] else "none"


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *rest]).rstrip()


def page(found: Mapping[str, Any], name: str) -> str:
    """The same as a page that needs nothing but itself."""
    from jinja2 import Environment  # half a second of start-up, for those who want a page

    source = resources.files("mm_redirector").joinpath("replay.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    return template.render(found=found, name=name)
