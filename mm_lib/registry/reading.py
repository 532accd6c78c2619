"""Files of the registry, read and checked without a database: what they say, and all that is wrong with them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mm_lib.registry.documents import HostEntry, SiteFile, site_urls
from mm_lib.registry.yaml_text import Parsed, Path, Problem, Unreadable, parse
from mm_lib.rules.urls import is_local
from mm_lib.services.host_details import Limits

_PLAINER = {
    "extra_forbidden": "there is no such key here",
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
}


@dataclass(frozen=True)
class Loaded:
    """A site as a file describes it, and where."""

    site: SiteFile
    parsed: Parsed

    def where(self, path: Path = ()) -> str:
        """file:line of a value."""
        return f"{self.parsed.file}:{self.parsed.place(path)[0]}"


@dataclass
class Checked:
    """What files hold, what is wrong with them, and what somebody should look at."""

    sites: list[Loaded] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def read_site(text: str, file: str) -> tuple[Loaded | None, list[Problem]]:
    """The site of one file, or what is wrong with it."""
    try:
        parsed = parse(text, file)
    except Unreadable as error:
        return None, [error.problem]
    if not isinstance(parsed.value, dict):
        return None, [parsed.problem((), "must be a mapping that begins with the site's name")]
    try:
        return Loaded(SiteFile.model_validate(parsed.value), parsed), []
    except ValidationError as error:
        return None, sorted(_problem(parsed, one) for one in error.errors(include_url=False))


def _problem(parsed: Parsed, error: Any) -> Problem:
    path: Path = tuple(error["loc"])
    message = _PLAINER.get(error["type"], error["msg"])
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    return parsed.problem(path, f"{name}: {message}" if name else message)


def check(texts: Iterable[tuple[str, str]], limits: Limits) -> Checked:
    """Read files, given as (name, text), each alone and then together."""
    checked = Checked()
    for file, text in texts:
        loaded, problems = read_site(text, file)
        checked.problems += problems
        if loaded:
            checked.sites.append(loaded)
            checked.warnings += _warnings(loaded, limits)
    checked.problems += _clashes(checked.sites)
    return checked


def _clashes(sites: Sequence[Loaded]) -> Iterable[Problem]:
    """Names and URLs that two files claim."""
    names: dict[str, Loaded] = {}
    addresses: dict[str, Loaded] = {}
    described = {loaded.site.name for loaded in sites}
    for loaded in sites:
        if loaded.site.was in described:
            yield loaded.parsed.problem(("was",), f"{loaded.site.was!r} is described in a file of its own")
        name = loaded.site.name.lower()
        other = names.setdefault(name, loaded)
        if other is not loaded:
            yield loaded.parsed.problem(("name",), f"{loaded.site.name!r} is described in {other.where()}, too")
        for url in site_urls(loaded.site):
            other = addresses.setdefault(url, loaded)
            if other is not loaded:
                yield loaded.parsed.problem(("hosts",), f"{url} belongs to {other.site.name} ({other.where()}), too")


def _warnings(loaded: Loaded, limits: Limits) -> Iterable[Problem]:
    """What a form lets administrators enter, but not owners."""
    for index, host in enumerate(loaded.site.hosts):
        for path, message in _beyond(host, limits):
            yield loaded.parsed.problem(("hosts", index, *path), message)


def _beyond(host: HostEntry, limits: Limits) -> Iterable[tuple[Path, str]]:
    for number, category in enumerate(host.categories):
        for field_name in ("urls", "private_urls"):
            for place, url in enumerate(getattr(category, field_name)):
                if is_local(url):
                    yield ("categories", number, field_name, place), f"{url} is not on the Internet"
    for number, entry in enumerate(host.netblocks):
        if message := beyond_limits(entry.netblock, limits):
            yield ("netblocks", number), message


def beyond_limits(netblock: str, limits: Limits) -> str:
    """Why owners may not claim a network; empty: they may."""
    try:
        network = ipaddress.ip_network(netblock)
    except ValueError:
        return ""  # a DNS name
    least = limits.ipv4 if network.version == 4 else limits.ipv6
    if network.prefixlen < least:
        return f"{netblock} is larger than /{least}, the most that owners may claim"
    return "" if network.is_global else f"{netblock} is not used on the Internet"
