"""A decision as an HTTP answer: lists as text, metalinks as XML, JSON, refusals in the form that was asked for.

list        MirrorManager's text: comments, and one URL per line
metalink    metalink 3 with MirrorManager's extensions; librepo and libzypp read it
meta4       metalink 4, RFC 5854
json        everything that a program may want to know
apt         a mirror list for APT's mirror+http:// (apt-transport-mirror(1))
redirect    302 to the first mirror, with the others and the hashes in headers: RFC 6249, RFC 9530, RFC 3230
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from itertools import chain, count, repeat
from typing import Any
from urllib.parse import quote

from mm_lib.cache.schema import FileDetail
from mm_redirector.category import HOLE, escape
from mm_redirector.index import Index
from mm_redirector.location import ClientLocation
from mm_redirector.lookup import Target
from mm_redirector.query import MAX_LINKS, METALINK4_TYPE, Form, Kind, MirrorQuery, Reason, Refusal
from mm_redirector.selection import Selection, TierKind, continental

TEXT = "text/plain"
METALINK = "application/metalink+xml"
JSON = "application/json"
METRICS = "text/plain; version=0.0.4; charset=utf-8"
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
    Reason.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Reason.TOO_OFTEN: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
}
_EXTRA_HEADERS = {
    Reason.METHOD: [("Allow", "GET, HEAD")],
    Reason.NOT_READY: [("Retry-After", str(RETRY_AFTER))],
    Reason.TOO_OFTEN: [("Retry-After", "60")],
}

_PREFERENCES = [str(max(1, 100 - rank)).encode() for rank in range(1000)]
_PRIORITIES = [f"\tpriority:{rank}\n" for rank in range(1, 1001)]  # of APT: the lower, the earlier it is tried
_RANKS = [f">; rel=duplicate; pri={rank}" for rank in range(1, MAX_LINKS + 1)]
_PLAIN = re.compile(r"[A-Za-z0-9/._~+-]*")  # nothing in it needs to be encoded: most paths
_PATH_CHARACTERS = "/!$'()*+,;=:@~"  # not "&", though it may stand there: wget2 does not know XML's "&amp;"


class Response:
    """What the WSGI server sends. Compiled, a plain class is made five times as fast as a NamedTuple."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: HTTPStatus, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def respond(selection: Selection, query: MirrorQuery, client: ClientLocation, index: Index, now: int) -> Response:
    """The answer with the selected hosts."""
    form = query.form
    if form is Form.METALINK:
        return _response(HTTPStatus.OK, METALINK, _metalink(selection, now), _VARY)
    if form is Form.LIST:
        return _response(HTTPStatus.OK, TEXT, _list(selection, query, client, index))
    if form is Form.REDIRECT:
        return _redirect(selection, query)
    if form is Form.APT:
        return _response(HTTPStatus.OK, TEXT, _apt(selection))
    if form is Form.META4:
        return _response(HTTPStatus.OK, METALINK4_TYPE, _metalink4(selection, now), _VARY)
    return _response(HTTPStatus.OK, JSON, as_json(_describe(selection, query, client, index)))


def refuse(refusal: Refusal, kind: Kind | None, now: int) -> Response:
    """The reason in words; as a metalink without files where a metalink was asked for."""
    status = STATUS[refusal.reason]
    extra = _EXTRA_HEADERS.get(refusal.reason, ())
    if kind is Kind.METALINK:
        return _response(status, METALINK, _failure(refusal.detail, now), extra)
    return _response(status, TEXT, refusal.detail.encode(), extra)


def text(words: str) -> Response:
    """A plain answer, as the health checks give."""
    return _response(HTTPStatus.OK, TEXT, words.encode())


def plain(status: HTTPStatus, content_type: str, body: bytes, extra: Iterable[tuple[str, str]] = ()) -> Response:
    """Any other answer."""
    return _response(status, content_type, body, extra)


def _response(status: HTTPStatus, content_type: str, body: bytes, extra: Iterable[tuple[str, str]] = ()) -> Response:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *extra]
    return Response(status, headers, body)


def _rest_of_url(target: Target) -> str:
    """What follows the URL of a host: the directory below the category's top, and the file or a slash."""
    rest: str | None = target.memo.get("rest")
    if rest is None:
        rest = target.memo["rest"] = _make_rest(target)
    return rest


def _make_rest(target: Target) -> str:
    directory = target.category.below_topdir(target.path)
    path = f"/{directory}/{target.file or ''}" if directory else f"/{target.file or ''}"
    return path if _PLAIN.fullmatch(path) else quote(path, safe=_PATH_CHARACTERS, errors="surrogateescape")


_VARY = [("Vary", "Accept")]


def _redirect(selection: Selection, query: MirrorQuery) -> Response:
    hosts = selection.hosts
    if not hosts:
        return _response(HTTPStatus.NOT_FOUND, TEXT, b"")
    target = selection.target
    rest = _rest_of_url(target)
    headers = [("Location", selection.view.firsts[hosts[0]] + rest)]
    if query.kind is Kind.REDIRECT:
        headers += _VARY
        headers += _links(selection, query, rest)
        if target.details:
            headers += _digests(target.details[0])
    return _response(HTTPStatus.FOUND, TEXT, b"", headers)


def _links(selection: Selection, query: MirrorQuery, rest: str) -> list[tuple[str, str]]:
    """Where else the file is (RFC 6249), best first, and the metalink that describes it."""
    target, view, hosts = selection.target, selection.view, selection.hosts[:MAX_LINKS]
    parts = zip(map(view.links.__getitem__, hosts), repeat(rest), _RANKS, map(view.places.__getitem__, hosts))
    found = list(zip(repeat("Link"), map("".join, parts)))
    if target.details:
        path = quote(f"{target.path}/{target.file}" if target.path else str(target.file), safe="/", errors="replace")
        # With two slashes at its start the client's own path would be the name of another server.
        base = quote(query.base.lstrip("/"), safe=_PATH_CHARACTERS, encoding="latin-1", errors="replace")
        # With the host where it is known: wget2 takes a reference without one for the name of a host.
        address = f"{query.origin}{'/' if base else ''}{base}/metalink?path={path}&format=meta4"
        found.append(("Link", f'<{address}>; rel=describedby; type="{METALINK4_TYPE}"'))
    return found


@lru_cache(maxsize=4096)
def _digests(detail: FileDetail) -> tuple[tuple[str, str], ...]:
    """Of the whole file: RFC 9530, and RFC 3230 for clients from before 2024."""
    known = [(name, text) for name, text in (("sha-256", detail.sha256), ("sha-512", detail.sha512)) if text]
    values = [(name, b64encode(bytes.fromhex(text)).decode()) for name, text in known]
    return (
        ("Repr-Digest", ", ".join(f"{name}=:{value}:" for name, value in values)),
        ("Digest", ",".join(f"{name.upper()}={value}" for name, value in values)),
    )


def _list(selection: Selection, query: MirrorQuery, client: ClientLocation, index: Index) -> bytes:
    view, hosts, memo = selection.view, selection.hosts, selection.target.memo
    rest = memo.get("list")
    if rest is None:
        rest = memo["list"] = _rest_of_url(selection.target).encode() + b"\n"
    urls = rest.join(map(view.lines.__getitem__, hosts))
    if not view.single:
        urls = urls.replace(HOLE, rest)
    heading = _heading(selection, query, client, index).encode()
    return b"".join((heading, urls, rest)) if hosts else heading


def _apt(selection: Selection) -> bytes:
    """A tab stands between URL and options; the lower the priority, the earlier it is tried."""
    urls = map(selection.view.firsts.__getitem__, selection.hosts)
    ranks = _PRIORITIES if len(selection.hosts) <= len(_PRIORITIES) else map("\tpriority:{}\n".format, count(1))
    return "".join(chain.from_iterable(zip(urls, repeat(_rest_of_url(selection.target)), ranks))).encode()


def _heading(selection: Selection, query: MirrorQuery, client: ClientLocation, index: Index) -> str:
    """The comment lines above a list."""
    text, start = f"# {selection.target.title} ", 0
    netblock = False
    for share in selection.shares:
        kind, names, number = share.kind, share.names, share.number
        if kind is _CONTINENT:
            names = continental(share.mask, selection.hosts[start : start + number], share.cut, client, index)
        if kind is not _NETBLOCK:
            if names:
                word = _WORDS[kind]
                text += f"{word} {f' {word} '.join(names)} "
        elif not netblock:
            text += "Using preferred netblock "
            netblock = True
        start += number
    if query.protocol is not None:
        text += f"protocol = {query.protocol}"
    if query.show_time:
        text += f"\n# database creation time: {index.generated_at}"
    return text + "\n"


_CONTINENT, _NETBLOCK = TierKind.CONTINENT, TierKind.NETBLOCK  # asking an Enum for a member is slow
_WORDS = dict.fromkeys(TierKind, "country =") | {TierKind.ASN: "Using ASN", TierKind.LOCATION: "location ="}


def _metalink(selection: Selection, now: int) -> bytes:
    target, elements, hosts = selection.target, selection.view.elements, selection.hosts
    memo = target.memo.get("metalink")
    if memo is None:
        memo = _file(str(target.file), target.details), escape(_rest_of_url(target)).encode()
        target.memo["metalink"] = memo
    file, rest = memo
    preferences = _PREFERENCES if len(hosts) <= len(_PREFERENCES) else chain(_PREFERENCES, repeat(b"1"))
    urls = map(bytes.join, preferences, map(elements.__getitem__, hosts))
    # Of 30 kB each copy counts: no HOLE stands in what surrounds the URLs.
    return b"".join((_header(now), file, *urls, _FOOTER)).replace(HOLE, rest)


def _metalink4(selection: Selection, now: int) -> bytes:
    """RFC 5854. It has no place for the older versions: its clients ask anew."""
    target, elements = selection.target, selection.view.elements4
    urls = b"".join([str(rank).encode().join(elements[host]) for rank, host in enumerate(selection.hosts, 1)])
    rest = escape(_rest_of_url(target)).encode()
    return b"".join((_header4(now), _file4(str(target.file), target.details[0]), urls.replace(HOLE, rest), _FOOTER4))


def _describe(selection: Selection, query: MirrorQuery, client: ClientLocation, index: Index) -> dict[str, Any]:
    """The answer as values for JSON."""
    target = selection.target
    rest = _rest_of_url(target)
    tier_of = {host: tier.kind.name.lower() for tier in selection.tiers for host in tier.hosts}
    return {
        "generated_at": _iso(index.generated_at),
        "generation": index.generation,
        "category": target.category.name,
        "repo": query.repo if query.path is None else None,
        "arch": query.arch if query.path is None else None,
        "path": target.path,
        "file": target.file,
        "versions": [_version_values(detail) for detail in target.details],
        "client": {"country": client.country or None, "continent": client.continent or None, "asn": client.asn},
        "mirrors": [
            {
                "host": index.hosts[host].name,
                "site": index.hosts[host].site,
                "country": index.hosts[host].country or None,
                "private": index.hosts[host].private,
                "tier": tier_of[host],
                "urls": [url + rest for url in selection.view.urls[host]],
            }
            for host in selection.hosts
        ],
    }


def _version_values(detail: FileDetail) -> dict[str, Any]:
    values = {**detail._asdict(), "timestamp": _iso(detail.timestamp) if detail.timestamp else None}
    return {name: value or None for name, value in values.items()}


_LAST_SECOND = 253_402_300_799  # of the year 9999


def _iso(moment: int) -> str:
    """Foreign caches may hold numbers beyond all dates: the nearest one stands for them."""
    date = datetime.fromtimestamp(min(max(moment, 0), _LAST_SECOND), UTC)
    return date.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_json(values: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(values, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"


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


_FOOTER4 = b"""  </file>
</metalink>
"""


@lru_cache(maxsize=2)
def _header4(now: int) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<metalink xmlns="urn:ietf:params:xml:ns:metalink">\n'
        f"  <generator>mirrormanager</generator>\n  <published>{_iso(now)}</published>\n"
    ).encode()


@lru_cache(maxsize=2048)
def _file4(name: str, detail: FileDetail) -> bytes:
    """From <file> to the URLs; the names of the hashes are those of the IANA registry."""
    # RFC 5854, 4.1.2.1: the name must not lead anywhere. It is the last part of a path, so it has no slash.
    size = f"    <size>{detail.size}</size>\n" if detail.size else ""
    hashes = (("sha-256", detail.sha256), ("sha-512", detail.sha512), ("sha-1", detail.sha1), ("md5", detail.md5))
    lines = "".join(f'    <hash type="{kind}">{escape(value)}</hash>\n' for kind, value in hashes if value)
    return f'  <file name="{escape(name)}">\n{size}{lines}'.encode()


@lru_cache(maxsize=2)
def _header(now: int) -> bytes:
    date = datetime.fromtimestamp(now, UTC)
    published = f"{_DAYS[date.weekday()]}, {date:%d} {_MONTHS[date.month - 1]} {date:%Y %H:%M:%S} GMT"
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" '
        f'pubdate="{published}" generator="mirrormanager" xmlns:mm0="http://fedorahosted.org/mirrormanager">\n'
    ).encode()


def _file(name: str, details: tuple[FileDetail, ...]) -> bytes:
    """From <files> to <resources>: the same for every client."""
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
