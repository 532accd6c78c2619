"""A decision as an HTTP answer: lists as text, metalinks as XML, refusals in the form that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from mm_lib.cache.schema import FileDetail
from mm_redirector.index import HOLE, Index, escape
from mm_redirector.lookup import Target
from mm_redirector.query import Kind, MirrorQuery, Reason, Refusal
from mm_redirector.selection import Selection, Tier, TierKind

TEXT = "text/plain"
METALINK = "application/metalink+xml"
RETRY_AFTER = 10  # seconds; a missing cache is looked for more often than that

STATUS = {
    Reason.NOT_SERVED: HTTPStatus.NOT_FOUND,
    Reason.METHOD: HTTPStatus.METHOD_NOT_ALLOWED,
    Reason.TOO_LONG: HTTPStatus.REQUEST_URI_TOO_LONG,
    Reason.BAD_VALUE: HTTPStatus.BAD_REQUEST,
    Reason.MISSING: HTTPStatus.BAD_REQUEST,
    Reason.DISABLED: HTTPStatus.NOT_FOUND,
    Reason.UNKNOWN_REPOSITORY: HTTPStatus.NOT_FOUND,
    Reason.INVALID_PATH: HTTPStatus.NOT_FOUND,
    Reason.NO_DETAILS: HTTPStatus.NOT_FOUND,
    Reason.BAD_ADDRESS: HTTPStatus.BAD_REQUEST,
    Reason.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
}
_EXTRA_HEADERS = {
    Reason.METHOD: [("Allow", "GET, HEAD")],
    Reason.NOT_READY: [("Retry-After", str(RETRY_AFTER))],
}

_PREFERENCES = [str(max(1, 100 - rank)).encode() for rank in range(100)]
_PATH_CHARACTERS = "/!$&'()*+,;=:@~"


class Response(NamedTuple):
    """What the WSGI server sends."""

    status: HTTPStatus
    headers: list[tuple[str, str]]
    body: bytes


def respond(selection: Selection, query: MirrorQuery, index: Index, now: int) -> Response:
    """The answer with the selected hosts."""
    if query.redirect:
        return _redirect(selection)
    if query.kind is Kind.METALINK:
        return _response(HTTPStatus.OK, METALINK, _metalink(selection, now))
    return _response(HTTPStatus.OK, TEXT, _list(selection, query, index))


def refuse(refusal: Refusal, kind: Kind | None, now: int) -> Response:
    """The reason in words; as a metalink without files where a metalink was asked for."""
    status = STATUS[refusal.reason]
    extra = _EXTRA_HEADERS.get(refusal.reason, [])
    if kind is Kind.METALINK:
        return _response(status, METALINK, _failure(refusal.detail, now), extra)
    return _response(status, TEXT, refusal.detail.encode(), extra)


def text(words: str) -> Response:
    """A plain answer, as the health checks give."""
    return _response(HTTPStatus.OK, TEXT, words.encode())


def _response(
    status: HTTPStatus, content_type: str, body: bytes, extra: list[tuple[str, str]] | None = None
) -> Response:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *(extra or [])]
    return Response(status, headers, body)


def _rest_of_url(target: Target) -> str:
    """What follows the URL of a host: the directory below the category's top, and the file or a slash."""
    directory = target.category.below_topdir(target.path)
    path = f"/{directory}" if directory else ""
    return quote(f"{path}/{target.file or ''}", safe=_PATH_CHARACTERS, errors="surrogateescape")


def _redirect(selection: Selection) -> Response:
    hosts = selection.hosts
    if not hosts:
        return _response(HTTPStatus.NOT_FOUND, TEXT, b"")
    location = selection.view.lines[hosts[0]].replace(HOLE, _rest_of_url(selection.target).encode())
    return _response(HTTPStatus.FOUND, TEXT, b"", [("Location", location.decode())])


def _list(selection: Selection, query: MirrorQuery, index: Index) -> bytes:
    lines = selection.view.lines
    rest = _rest_of_url(selection.target).encode() + b"\n"
    urls = b"".join([lines[host] for host in selection.hosts]).replace(HOLE, rest)
    return _heading(selection, query, index).encode() + urls


def _heading(selection: Selection, query: MirrorQuery, index: Index) -> str:
    """The comment lines above a list."""
    fragments = dict.fromkeys(fragment for tier in selection.tiers for fragment in _fragments(tier))
    protocol = "" if query.protocol is None else f"protocol = {query.protocol}"
    time = f"\n# database creation time: {index.generated_at}" if query.show_time else ""
    return f"# {selection.target.title} {''.join(fragments)}{protocol}{time}\n"


def _fragments(tier: Tier) -> Iterator[str]:
    """What the comment says about one tier."""
    if tier.kind is TierKind.NETBLOCK:
        yield "Using preferred netblock "
    elif tier.kind is TierKind.ASN:
        yield from (f"Using ASN {number} " for number in tier.names)
    else:
        yield from (f"country = {country} " for country in tier.names)


def _metalink(selection: Selection, now: int) -> bytes:
    target = selection.target
    assert target.file is not None
    elements = selection.view.elements
    hosts = selection.hosts
    preferences = _PREFERENCES + [b"1"] * (len(hosts) - len(_PREFERENCES))
    urls = b"".join([preference.join(elements[host]) for host, preference in zip(hosts, preferences, strict=False)])
    rest = escape(_rest_of_url(target)).encode()
    parts = (_header(now), _file(target.file, target.details), urls.replace(HOLE, rest), _FOOTER)
    return b"".join(parts)


def _failure(message: str, now: int) -> bytes:
    """A metalink without files; "--" would end the comment too early."""
    safe = re.sub("-(?=-)", "- ", message) if "--" in message else message
    return _header(now) + f"<!-- {safe}\n-->\n</metalink>\n".encode()


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FOOTER = b"""   </resources>
  </file>
 </files>
</metalink>
"""


@lru_cache(maxsize=2)
def _header(now: int) -> bytes:
    date = datetime.fromtimestamp(now, UTC)
    published = f"{_DAYS[date.weekday()]}, {date:%d} {_MONTHS[date.month - 1]} {date:%Y %H:%M:%S} GMT"
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" '
        f'pubdate="{published}" generator="mirrormanager" xmlns:mm0="http://fedorahosted.org/mirrormanager">\n'
    ).encode()


@lru_cache(maxsize=2048)
def _file(name: str, details: tuple[FileDetail, ...]) -> bytes:
    """From <files> to <resources>: the same for every client, so the popular ones are kept."""
    text = f' <files>\n  <file name="{escape(name)}">\n{_version(details[0], 3)}'
    if len(details) > 1:
        alternates = "".join(
            f"    <mm0:alternate>\n{_version(detail, 6)}    </mm0:alternate>\n" for detail in details[1:]
        )
        text += f"   <mm0:alternates>\n{alternates}   </mm0:alternates>\n"
    return (text + '   <resources maxconnections="1">\n').encode()


def _version(detail: FileDetail, indent: int) -> str:
    """Timestamp, size and hashes of one version; what is not known is left out."""
    pad = " " * indent
    numbers = (("mm0:timestamp", detail.timestamp), ("size", detail.size))
    hashes = (("md5", detail.md5), ("sha1", detail.sha1), ("sha256", detail.sha256), ("sha512", detail.sha512))
    return "".join(
        [
            *(f"{pad}<{name}>{number}</{name}>\n" for name, number in numbers if number),
            f"{pad}<verification>\n",
            *(f'{pad} <hash type="{name}">{escape(value)}</hash>\n' for name, value in hashes if value),
            f"{pad}</verification>\n",
        ]
    )
