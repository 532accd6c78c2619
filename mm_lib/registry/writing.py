"""Sites as YAML text. A text that is there already keeps its comments, its order and its spelling where it can.

A comment that belonged to something that is gone is not lost either: it moves to the end of the text.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.tokens import CommentToken

from mm_lib.registry.documents import SiteFile, plain
from mm_lib.registry.reading import read_site
from mm_lib.registry.steps import AS_IT_IS
from mm_lib.services.errors import InvalidValue

_LOST = "# Comments on what is no longer in the registry:"
_KEYS = ("name", "category", "netblock", "asn", "starts_at", "path")
_COMMENT = re.compile(r"(?:^|\s)(#.*)$", re.MULTILINE)


def write(site: SiteFile) -> str:
    """A new text."""
    return _dump(plain(site))


def update(text: str, file: str, site: SiteFile) -> str:
    """The text changed so that it describes the site. Raises InvalidValue when it cannot be read."""
    loaded, problems = read_site(text, file)
    if loaded is None:
        raise InvalidValue("file", f"is not valid, so it cannot be updated: {problems[0]}")
    site = _as_in_file(loaded.site, site)
    if plain(loaded.site) == plain(site):
        return text
    yaml = _yaml()
    data = yaml.load(text)
    _merge_map(data, _full(loaded.site), plain(site), _full(site))
    out = io.StringIO()
    yaml.dump(data, out)
    changed = out.getvalue()
    again, _ = read_site(changed, file)
    if again is None or plain(again.site) != plain(site):
        changed = write(site)
    return _with_lost_comments(text, changed)


def _as_in_file(old: SiteFile, new: SiteFile) -> SiteFile:
    """What a file leaves to others, or says to be done once, is not for an export to change."""
    said = {host.name: host for host in old.hosts}
    hosts = []
    for host in new.hosts:
        before = said.get(host.name, host)
        kept = {name: getattr(before, name) for name in AS_IT_IS if getattr(host, name) is None}
        hosts.append(host.model_copy(update=kept))
    return new.model_copy(update={"hosts": hosts, "members": None if old.members is None else new.members})


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 4096  # a long URL is one line
    yaml.allow_unicode = True
    return yaml


def _dump(values: Mapping[str, Any]) -> str:
    out = io.StringIO()
    _yaml().dump(dict(values), out)
    return out.getvalue()


def _full(site: SiteFile) -> dict[str, Any]:
    """With the defaults, lists in their own order."""
    return site.model_dump(mode="json")


# -- merging


def _merge_map(node: CommentedMap, old: Mapping[str, Any], short: Mapping[str, Any], full: Mapping[str, Any]) -> None:
    """Change a mapping: `old` and `full` are its values before and after, with defaults; `short` without."""
    for key in [key for key in node if key not in full or (key not in short and not _same(old[key], full[key]))]:
        _delete(node, key, list(node))
    for key, value in short.items():
        if key not in node:
            _add(node, key, value)
        elif not _same(old[key], full[key]):
            _merge_value(node, key, old[key], value, full[key])


def _merge_value(node: CommentedMap, key: str, old: Any, short: Any, full: Any) -> None:
    if isinstance(full, dict) and isinstance(old, dict) and isinstance(node[key], dict):
        _merge_map(node[key], old, short, full)
    elif isinstance(full, list) and isinstance(node[key], list):
        _merge_list(node[key], old, short, full)
    else:
        node[key] = short


def _merge_list(node: list[Any], old: Sequence[Any], short: Sequence[Any], full: Sequence[Any]) -> None:
    """Change a list whose elements have identities."""
    # `short` is sorted and `full` is not.
    wanted = {_identity(entry): entry for entry in short}
    whole = {_identity(entry): entry for entry in full}
    known = [_identity(entry) for entry in old]
    for index in reversed(range(len(node))):
        if known[index] not in wanted:
            _delete(node, index, list(range(len(node))))
        elif not _same(old[index], whole[known[index]]):
            if isinstance(node[index], dict) and isinstance(wanted[known[index]], dict):
                _merge_map(node[index], old[index], wanted[known[index]], whole[known[index]])
            else:
                node[index] = wanted[known[index]]
    for identity, entry in wanted.items():
        if identity not in known:
            _add(node, len(node), entry)


def _identity(entry: Any) -> str:
    if isinstance(entry, dict):
        return " ".join(str(entry[key]) for key in _KEYS if key in entry and not (key == "name" and _is_label(entry)))
    return str(entry)


def _is_label(entry: Mapping[str, Any]) -> bool:
    return "netblock" in entry or "asn" in entry


def _same(old: Any, new: Any) -> bool:
    """Equal, whatever order lists have."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        before, after = ({_identity(entry): entry for entry in entries} for entries in (old, new))
        return before.keys() == after.keys() and all(_same(before[key], after[key]) for key in before)
    return bool(old == new)


# -- comments: ruamel.yaml hangs the lines above something at the end of what stands before it


def _delete(node: Any, key: Any, keys: list[Any]) -> None:
    """Take something away, but not the comment on what follows."""
    container, last = _tail(node, key)
    token = container.ca.items.get(last, [None] * 4)[_slot(container)]
    following = token.value.partition("\n")[2] if token else ""
    place = keys.index(key)
    del node[key]
    if "#" in following and place > 0:
        _append(*_tail(node, keys[place - 1]), following)


def _add(node: Any, key: Any, value: Any) -> None:
    """Put something at the end, before the comment on what follows."""
    following = ""
    if node:
        container, last = _tail(node, list(node)[-1] if isinstance(node, CommentedMap) else len(node) - 1)
        tokens = container.ca.items.get(last, [None] * 4)
        if token := tokens[_slot(container)]:
            head, newline, following = token.value.partition("\n")
            token.value = head + newline
    node.insert(len(node), *((key, _commented(value)) if isinstance(node, CommentedMap) else (_commented(value),)))
    if following:
        _append(*_tail(node, key), following)


def _commented(value: Any) -> Any:
    """As something that comments can hang at."""
    if isinstance(value, dict):
        return CommentedMap({key: _commented(entry) for key, entry in value.items()})
    return CommentedSeq(map(_commented, value)) if isinstance(value, list) else value


def _tail(node: Any, key: Any) -> tuple[Any, Any]:
    """The innermost mapping or list that ends with this element, and its last key."""
    value = node[key]
    while isinstance(value, CommentedMap | CommentedSeq) and value:
        node, key = value, list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1
        value = node[key]
    return node, key


def _slot(container: Any) -> int:
    return 2 if isinstance(container, CommentedMap) else 0


def _append(container: Any, key: Any, comment: str) -> None:
    tokens = container.ca.items.setdefault(key, [None] * 4)
    slot = _slot(container)
    if tokens[slot] is None:
        tokens[slot] = CommentToken("\n", CommentMark(0), None)
    tokens[slot].value += comment


def _with_lost_comments(old: str, new: str) -> str:
    lost = Counter(_COMMENT.findall(old)) - Counter(_COMMENT.findall(new))
    if not lost:
        return new
    heading = [] if _LOST in new else [_LOST]
    return "\n".join([new.rstrip("\n"), *heading, *lost.elements()]) + "\n"
