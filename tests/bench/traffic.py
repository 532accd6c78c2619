"""What clients ask: a kind of request (case) -> many requests, popular repositories more often than others."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple
from urllib.parse import quote

from tests.bench.data import Geo, World


class Request(NamedTuple):
    """One request."""

    target: str  # path and query
    client: str  # address


class Case(NamedTuple):
    """A kind of request."""

    name: str
    target: Callable[[World, random.Random], Callable[[], str]]
    long: bool = False  # asked of the server whose answers have about 30 kB


def _repository(before: str, after: str = "") -> Callable[[World, random.Random], Callable[[], str]]:
    """Repositories by Zipf's law: the second is asked for half as often as the first."""

    def prepare(world: World, rng: random.Random) -> Callable[[], str]:
        targets = [
            f"{before}repo={quote(prefix)}&arch={arch}{after}"
            for prefix, arch in world.repositories
            if "source" not in prefix  # they are asked for with arch=source, whatever the client's is
        ]
        chances = list(accumulate(1 / rank for rank in range(1, len(targets) + 1)))
        return lambda: rng.choices(targets, cum_weights=chances)[0]

    return prepare


def _path(before: str, after: str = "") -> Callable[[World, random.Random], Callable[[], str]]:
    """Any directory."""
    return lambda world, rng: lambda: before + quote(rng.choice(world.paths)) + after


def _file(world: World, rng: random.Random) -> Callable[[], str]:
    """The metadata of a random repository, or a file that nothing is known about."""
    names = ("repodata/repomd.xml", "repodata/primary.xml.zst")
    return lambda: f"/redirect/{quote(rng.choice(world.repository_paths))}/{rng.choice(names)}"


CASES = {
    case.name: case
    for case in (
        Case("metalink-30k", _repository("/metalink?"), long=True),
        Case("metalink", _repository("/metalink?")),
        Case("mirrorlist", _repository("/mirrorlist?")),
        Case("redirect", _repository("/mirrorlist?", "&redirect=1")),
        Case("redirect-path", _file),
        Case("path", _path("/mirrorlist?path=")),
        Case("apt", _path("/mirrorlist?path=", "&format=apt")),
        Case("country-global", _repository("/mirrorlist?", "&country=global")),
    )
}


def requests(case: Case, world: World, geo: Geo, count: int, *, seed: int = 1, known: int = 0) -> list[Request]:
    """So many requests, each from another client, or all from `known` ones."""
    rng = random.Random(seed)
    target = case.target(world, rng)
    clients: Sequence[str] = geo.clients
    if known:
        clients = rng.sample(clients, known)
    return [Request(target(), clients[number % len(clients)]) for number in range(count)]


Get = Callable[[str, Mapping[str, str]], tuple[int, bytes]]
_MARKS = {"metalink": b"</metalink>", "mirrorlist": b"://", "path": b"://", "country": b"://", "apt": b"http"}


def check(get: Get, case: Case, world: World, geo: Geo, *, count: int = 20, seed: int = 2) -> None:
    """Look at some answers: fast nonsense is worth nothing. RuntimeError for a wrong one."""
    mark = _MARKS.get(case.name.partition("-")[0], b"")
    wanted = 302 if "redirect" in case.name else 200
    for target, client in requests(case, world, geo, count, seed=seed):
        status, body = get(target, {"X-Forwarded-For": client})
        if status != wanted or mark not in body:
            raise RuntimeError(f"{target} was answered with {status}: {body[:500]!r}")
