"""AlmaLinux's mirror files: YAML with one mirror each, or a list of such mirrors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft, refused, truth
from mm_lib.registry.yaml_text import Parsed, Path, Unreadable
from mm_lib.registry.yaml_text import parse as parse_yaml

_MAPPING, _ONE, _SEVERAL = "mapping", "one", "several"
_KINDS = {
    "name": _ONE,
    "address": _MAPPING,
    "geolocation": _MAPPING,
    "update_frequency": _ONE,
    "sponsor": _ONE,
    "sponsor_url": _ONE,
    "email": _SEVERAL,
    "asn": _SEVERAL,
    "subnets": _SEVERAL,
    "private": _ONE,
    "monopoly": _ONE,
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
    for at, reason in _misplaced(entry):
        yield refused("field", _where(parsed, (*path, *at)), name, reason)
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
        email=",".join(_texts(entry.get("email"))),
        comment="\n".join(f"{label}: {_text(facts[key])}" for key, label in COMMENTED.items() if _text(facts.get(key))),
    )


def _misplaced(entry: dict[str, Any]) -> Iterable[tuple[Path, str]]:
    """Fields that are not known, and values of another kind than a field has."""
    for key, value in entry.items():
        kind = _KINDS.get(key)
        if kind is None:
            yield (key,), f"the field {key} has no place in the registry"
        elif value is None:
            continue
        elif kind is _MAPPING and not isinstance(value, dict):
            yield (key,), f"{key} must be a mapping"
        elif kind is _MAPPING:
            for name, inner in value.items():
                if key == "geolocation" and name not in ("country", "state_province", "city"):
                    yield (key, name), f"the field {key}.{name} has no place in the registry"
                elif isinstance(inner, dict | list):
                    yield (key, name), f"{key}.{name} must be one value"
        elif isinstance(value, dict) or (kind is _ONE and isinstance(value, list)):
            yield (key,), f"{key} must be {'one value' if kind is _ONE else 'a value or a list'}"
        elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
            yield (key,), f"{key} must be a list of values"


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
