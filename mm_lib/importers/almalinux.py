"""AlmaLinux's mirror files: YAML with one mirror each, or a list of such mirrors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft, refused, truth
from mm_lib.registry.yaml_text import Parsed, Path, Unreadable
from mm_lib.registry.yaml_text import parse as parse_yaml

_TAKEN = {
    "name",
    "address",
    "geolocation",
    "update_frequency",
    "sponsor",
    "sponsor_url",
    "email",
    "asn",
    "subnets",
    "private",
    "monopoly",
}
# What there is no column for stands in the public comment, where it is read and can be exported from.
COMMENTED = {"city": "City", "state_province": "State or province", "update_frequency": "Update frequency"}
_ALONE = "clients of its networks get it first, not alone: there is no monopoly here"


def parse(text: str, file: str) -> Found:
    """A draft for each mirror."""
    try:
        parsed = parse_yaml(text, file)
    except Unreadable as error:
        problem = error.problem
        yield refused("file", f"{problem.file}:{problem.line}", file, problem.message)
        return
    if isinstance(parsed.value, list):
        for index, entry in enumerate(parsed.value):
            yield from _mirror(parsed, (index,), entry)
    elif parsed.value is not None:
        yield from _mirror(parsed, (), parsed.value)


def _mirror(parsed: Parsed, path: Path, entry: Any) -> Found:
    where = _where(parsed, path)
    if not isinstance(entry, dict):
        yield refused("mirror", where, str(entry)[:80], "is no mapping with a name and addresses")
        return
    name = _text(entry.get("name"))
    for key in entry:
        if key not in _TAKEN:
            yield refused("field", _where(parsed, (*path, key)), name, f"the field {key} has no place in the registry")
    if truth(entry.get("monopoly")):
        yield refused("field", _where(parsed, (*path, "monopoly")), name, _ALONE)
    address, place = (_mapping(entry.get(key)) for key in ("address", "geolocation"))
    subnets, private = entry.get("subnets"), truth(entry.get("private"))
    if "private" in entry and private is None:
        yield refused(
            "field", _where(parsed, (*path, "private")), name, f"private: {entry['private']!r} is no yes or no"
        )
    if isinstance(subnets, str) and "://" in subnets:
        reason = "a list of networks on the web is not fetched; write the networks here"
        yield refused("netblock", _where(parsed, (*path, "subnets")), subnets, reason)
        subnets = None
    facts = {**place, "update_frequency": entry.get("update_frequency")}
    yield MirrorDraft(
        where,
        tuple(DraftUrl(_text(url)) for url in address.values() if _text(url)),
        host=name,
        site=_text(entry.get("sponsor")),
        site_url=_text(entry.get("sponsor_url")),
        country=_text(place.get("country")),
        private=private,
        asns=tuple(_texts(entry.get("asn"))),
        netblocks=tuple(_texts(subnets)),
        email=_text(entry.get("email")),
        comment="\n".join(f"{label}: {_text(facts[key])}" for key, label in COMMENTED.items() if _text(facts.get(key))),
    )


def _where(parsed: Parsed, path: Path) -> str:
    return f"{parsed.file}:{parsed.place(path)[0]}"


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else " ".join(str(value).split())


def _texts(value: Any) -> Iterable[str]:
    """A list, one value, or several with commas between them."""
    values = value if isinstance(value, list) else _text(value).split(",")
    return filter(None, map(_text, values))
