"""What must be done so that the registry is as files say: a list of steps, each for one object. Nothing is decided here
that needs a database.

Steps come in the order in which they can be carried out: what goes makes room first (a URL can be used once), then what
comes and changes, and members go last, so that a new owner is there before the old one leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mm_lib.registry.documents import HostEntry, SiteFile
from mm_lib.registry.yaml_text import Path

Values = Mapping[str, Any]
SITE_FIELDS = ("org_url", "private", "all_sites_can_pull", "downstream_comments", "weekly_report")
HOST_FIELDS = (
    "country",
    "bandwidth_mbps",
    "max_connections",
    "private",
    "crawl_private",
    "asn_clients",
    "coordinates",
    "has_ipv4",
    "has_ipv6",
    "comment",
    "robot_email",
)
AS_IT_IS = ("has_ipv4", "has_ipv6")  # when a file does not say


class Action(StrEnum):
    """What happens to an object."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "-"


@dataclass(frozen=True)
class Step:
    """One object that is added, changed or removed; `before` and `after` hold the fields that matter."""

    action: Action
    kind: str  # "site", "host", "url", "netblock", ...
    site: str
    host: str = ""
    category: str = ""  # of a URL
    key: Any = ""  # what tells it from its siblings
    before: Values = field(default_factory=dict)
    after: Values = field(default_factory=dict)
    path: Path = ()  # in the file that asks for it
    with_it: int = 0  # so many objects go with it

    @property
    def subject(self) -> str:
        """The object, for people."""
        if self.kind in ("site", "host", "state"):
            return self.host or self.site
        if isinstance(self.key, tuple):
            return " ".join(map(str, self.key))
        return f"AS{self.key}" if self.kind == "asn" else str(self.key)


def steps(current: Mapping[str, SiteFile], wanted: Iterable[SiteFile], complete: bool) -> list[Step]:
    """All steps. `complete`: sites that are not wanted are to go."""
    found: list[Step] = []
    kept = set()
    for site in wanted:
        known = known_as(current, site)
        kept.add(known.name if known else site.name)
        found += _site(known, site)
    if complete:
        for name in sorted(set(current) - kept):
            found.append(Step(Action.REMOVE, "site", name, with_it=len(current[name].hosts)))
    return sorted(found, key=_phase)


def known_as(current: Mapping[str, SiteFile], site: SiteFile) -> SiteFile | None:
    """The site of that name (in any case: such names are taken for one another), or of its former name."""
    if site.name in current:
        return current[site.name]
    if site.was in current:
        return current[site.was or ""]
    return next((known for name, known in current.items() if name.lower() == site.name.lower()), None)


def _phase(step: Step) -> int:
    if step.kind == "member":
        return 2 if step.action is Action.REMOVE else 1
    if step.kind == "upstream" and step.action is Action.ADD:
        return 2  # the other site may be a new one
    return 0 if step.action is Action.REMOVE else 1


def _site(known: SiteFile | None, site: SiteFile) -> Iterator[Step]:
    if known is None:
        empty = SiteFile(name=site.name)
        after = {name: value for name, (_, value) in _fields(empty, site, SITE_FIELDS).items()}
        yield Step(Action.ADD, "site", site.name, after=after)
        known = empty
    elif changed := _fields(known, site, ("name", *SITE_FIELDS)):
        yield _change("site", known.name, changed)
    here = {"site": site.name}
    yield from _state(known, site, here, ())
    yield from _set("upstream", known.upstreams, site.upstreams, here, ("upstreams",))
    if site.members is not None:
        yield from _rows("member", _roles(known.members), _roles(site.members), here, ("members",))
    yield from _hosts(known, site)


def _roles(members: Mapping[str, str] | None) -> list[dict[str, Any]]:
    return [{"key": name, "role": role} for name, role in (members or {}).items()]


def _hosts(known: SiteFile, site: SiteFile) -> Iterator[Step]:
    there = {host.name: host for host in known.hosts}
    kept = set()
    for index, host in enumerate(site.hosts):
        before = there.get(host.name) or (there.get(host.was) if host.was else None)
        if before:
            kept.add(before.name)
        yield from _host(site.name, before, host, ("hosts", index))
    for name in sorted(set(there) - kept):
        size = sum(len(entry.urls) + len(entry.private_urls) for entry in there[name].categories)
        yield Step(Action.REMOVE, "host", site.name, name, with_it=size)


def _host(site: str, before: HostEntry | None, host: HostEntry, path: Path) -> Iterator[Step]:
    if before is None:
        empty = HostEntry(name=host.name)
        after = {name: value for name, (_, value) in _fields(empty, host, HOST_FIELDS).items()}
        yield Step(Action.ADD, "host", site, host.name, after=after, path=path)
        before = empty
    elif changed := _fields(before, host, ("name", *HOST_FIELDS)):
        yield _change("host", site, changed, before.name, path)
    here = {"site": site, "host": host.name}
    yield from _state(before, host, here, path)
    yield from _categories(before, host, here, path)
    yield from _rows("asn", _asns(before), _asns(host), here, path)
    for kind, name, key in _LISTS:
        old, new = ([_row(entry, key) for entry in getattr(one, name)] for one in (before, host))
        yield from _rows(kind, old, new, here, (*path, name))
    for kind, name in _SETS:
        yield from _set(kind, getattr(before, name), getattr(host, name), here, (*path, name))


_LISTS = (
    ("netblock", "netblocks", ("netblock",)),
    ("maintenance", "maintenance", ("starts_at", "ends_at")),
    ("reserved directory", "reserved_directories", ("category", "path")),
)
_SCATTERED = ("url", "member", "asn")  # over several lists, or in none
_SETS = (
    ("extra country", "extra_countries"),
    ("allowed country", "allowed_countries"),
    ("acl address", "acl_addresses"),
    ("location", "locations"),
)


def _asns(host: HostEntry) -> list[dict[str, Any]]:
    own = [{"key": entry.asn, "kind": "own", "name": entry.name} for entry in host.own_asns]
    return own + [{"key": entry.asn, "kind": "peer", "name": entry.name} for entry in host.peer_asns]


def _row(entry: Any, key: tuple[str, ...]) -> dict[str, Any]:
    values = entry.model_dump()
    parts = tuple(values.pop(name) for name in key)
    return {"key": parts if len(parts) > 1 else parts[0], **values}


def _categories(before: HostEntry, host: HostEntry, here: dict[str, Any], path: Path) -> Iterator[Step]:
    there = {entry.category: entry for entry in before.categories}
    wanted = {entry.category for entry in host.categories}
    for name in sorted(set(there) - wanted):
        size = len(there[name].urls) + len(there[name].private_urls)
        yield Step(Action.REMOVE, "category", **here, key=name, with_it=size)
    for index, entry in enumerate(host.categories):
        at = (*path, "categories", index)
        known, fields = there.get(entry.category), {"always_up_to_date": entry.always_up_to_date}
        if known is None:
            after = fields if entry.always_up_to_date else {}
            yield Step(Action.ADD, "category", **here, key=entry.category, after=after, path=at)
        elif known.always_up_to_date != entry.always_up_to_date:
            was = {"always_up_to_date": known.always_up_to_date}
            yield Step(Action.CHANGE, "category", **here, key=entry.category, before=was, after=fields, path=at)
        old, new = _urls(known), _urls(entry)
        yield from _rows("url", old, new, {**here, "category": entry.category}, at)


def _urls(entry: Any) -> list[dict[str, Any]]:
    if entry is None:
        return []
    public = [{"key": url, "private": False} for url in entry.urls]
    return public + [{"key": url, "private": True} for url in entry.private_urls]


def _rows(
    kind: str, old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], here: Values, path: Path
) -> Iterator[Step]:
    """Objects with a key and fields."""
    there = {row["key"]: row for row in old}
    kept = {row["key"] for row in new}
    for row in old:
        if row["key"] not in kept:
            yield Step(Action.REMOVE, kind, **here, key=row["key"])
    for index, row in enumerate(new):
        at = path if kind in _SCATTERED else (*path, index)
        fields = {name: value for name, value in row.items() if name != "key"}
        known = there.get(row["key"])
        if known is None:
            after = {name: value for name, value in fields.items() if value}
            yield Step(Action.ADD, kind, **here, key=row["key"], after=after, path=at)
            continue
        before = {name: known[name] for name, value in fields.items() if known[name] != value}
        if before:
            after = {name: fields[name] for name in before}
            yield Step(Action.CHANGE, kind, **here, key=row["key"], before=before, after=after, path=at)


def _set(kind: str, old: Sequence[str], new: Sequence[str], here: Values, path: Path) -> Iterator[Step]:
    yield from _rows(kind, [{"key": key} for key in old], [{"key": key} for key in new], here, path)


def _state(before: Any, after: Any, here: Values, path: Path) -> Iterator[Step]:
    """Switched on or off by people; a step of its own, because that is a decision."""
    if before.disabled == after.disabled:
        return
    old, new = (one.disabled.model_dump() if one.disabled else {"reason": "", "by": ""} for one in (before, after))
    yield Step(Action.CHANGE, "state", **here, before=old, after=new, path=(*path, "disabled"))


def _fields(before: Any, after: Any, names: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, with both values."""
    found = {}
    for name in names:
        old, new = getattr(before, name), getattr(after, name)
        if old != new and not (new is None and name in AS_IT_IS):
            found[name] = (old, new)
    return found


def _change(kind: str, site: str, changed: Mapping[str, tuple[Any, Any]], host: str = "", path: Path = ()) -> Step:
    before = {name: old for name, (old, _) in changed.items()}
    after = {name: new for name, (_, new) in changed.items()}
    return Step(Action.CHANGE, kind, site, host, before=before, after=after, path=path)
