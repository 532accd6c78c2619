"""What the client asks for: the WSGI environment as values, or a named refusal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from mm_redirector.settings import Policy

MAX_QUERY_LENGTH = 4096
LIST_PROTOCOLS = ("https", "http", "ftp")
REDIRECT_PROTOCOLS = ("https", "http")
GLOBAL = "GLOBAL"  # in country=, in capitals: all the world

# They could break a line of a list or of the log, or are not allowed in XML at all.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff]")


class Reason(Enum):
    """Every "no" that a client can get."""

    NOT_SERVED = "the path is neither a mirrorlist nor a metalink"
    METHOD = "only GET and HEAD are answered"
    TOO_LONG = "the query string is too long"
    BAD_VALUE = "a parameter has characters that cannot be answered safely"
    MISSING = "neither path= nor repo= and arch="
    DISABLED = "the repository is switched off"
    UNKNOWN_REPOSITORY = "there is no such repository"
    INVALID_PATH = "there is no such directory"
    NO_DETAILS = "nothing is known by which a client could verify the file"
    BAD_ADDRESS = "ip= is not an IP address"
    NOT_READY = "there is no mirrorlist cache"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer; the detail is what the client reads."""

    reason: Reason
    detail: str


class Kind(Enum):
    """The form of the answer."""

    MIRRORLIST = "mirrorlist"
    METALINK = "metalink"


class Choice(NamedTuple):
    """Which of a host's URLs an answer may show."""

    protocols: frozenset[str] | None  # None: all
    limit: int | None  # per host; None: all


@dataclass(frozen=True, slots=True)
class MirrorQuery:
    """One request, understood."""

    kind: Kind
    repo: str | None  # as the client wrote it
    arch: str | None  # after the source rule
    path: str | None  # wins over repo and arch
    countries: tuple[str, ...]  # as typed, sorted, each once
    address: str  # of the client, not checked yet
    address_chosen: bool  # by ip=
    networks: bool  # netblocks and ASN count
    choice: Choice
    protocol: str | None  # as typed
    redirect: bool
    show_time: bool


def kind_of(path: str) -> Kind | None:
    """The form that the end of the path asks for: any prefix may stand before it."""
    if path.endswith("/metalink"):
        return Kind.METALINK
    if path.endswith("/mirrorlist"):
        return Kind.MIRRORLIST
    return None


def path_of(environ: Mapping[str, Any]) -> str:
    """The whole path of the request, wherever the application is mounted."""
    return str(environ.get("SCRIPT_NAME", "")) + str(environ.get("PATH_INFO", ""))


def parse(environ: Mapping[str, Any], policy: Policy) -> MirrorQuery | Refusal:
    """The request in the WSGI environment."""
    kind = kind_of(path_of(environ))
    if kind is None:
        return Refusal(Reason.NOT_SERVED, "We don't serve their kind here!")
    if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
        return Refusal(Reason.METHOD, "only GET and HEAD are answered here")
    text = str(environ.get("QUERY_STRING", ""))
    if len(text) > MAX_QUERY_LENGTH:
        return Refusal(Reason.TOO_LONG, f"the query string is longer than {MAX_QUERY_LENGTH} bytes")
    parameters = _parameters(text)
    for name, value in parameters.items():
        if name in _KNOWN and UNSAFE.search(value):
            return Refusal(Reason.BAD_VALUE, f"{name}= contains control characters")
    if "path" not in parameters and not ("repo" in parameters and "arch" in parameters):
        return Refusal(Reason.MISSING, "# either path=, or repo= and arch= must be specified")
    return _query(kind, parameters, environ, policy)


_KNOWN = frozenset({"repo", "arch", "path", "country", "ip", "netblock", "protocol", "redirect", "time"})


def _parameters(text: str) -> dict[str, str]:
    """The last of repeated parameters wins; a second "=" and what follows it is dropped, as it always was."""
    pairs = (part.split("=", 2) for part in text.split("&"))
    return {_decode(pair[0]): _decode(pair[1]) if len(pair) > 1 else "" for pair in pairs}


def _decode(text: str) -> str:
    """Percent-decoded. "+" stays "+": no name here has blanks, and many packages are called like libstdc++."""
    if "%" not in text and text.isascii():
        return text
    # WSGI hands over the bytes of the query string as Latin-1 characters.
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8", "replace")


def _query(kind: Kind, parameters: Mapping[str, str], environ: Mapping[str, Any], policy: Policy) -> MirrorQuery:
    repo, arch = parameters.get("repo"), parameters.get("arch")
    chosen = parameters.get("ip", "") if policy.allow_ip_parameter else ""
    redirect = "redirect" in parameters and kind is Kind.MIRRORLIST
    return MirrorQuery(
        kind=kind,
        repo=repo,
        arch="source" if repo is not None and "source" in repo else arch,
        path=parameters.get("path"),
        countries=_list(parameters.get("country", "")),
        address=chosen or client_address(environ, policy.trusted_proxies),
        address_chosen=bool(chosen),
        networks=parameters.get("netblock", "1") == "1",
        choice=_choice(kind, parameters.get("protocol"), redirect),
        protocol=parameters.get("protocol"),
        redirect=redirect,
        show_time="time" in parameters,
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(sorted({item for item in text.split(",") if item}))


def _choice(kind: Kind, protocol: str | None, redirect: bool) -> Choice:
    asked = None if protocol is None else frozenset(_list(protocol))
    if redirect:
        usable = frozenset(REDIRECT_PROTOCOLS)
        return Choice(usable if asked is None else usable & asked, 1)
    if asked is not None:
        return Choice(asked, len(asked))
    return Choice(None, None) if kind is Kind.METALINK else Choice(frozenset(LIST_PROTOCOLS), 1)


def client_address(environ: Mapping[str, Any], trusted_proxies: int) -> str:
    """The address that the outermost trusted proxy saw.

    Each proxy appends the address of its own client to X-Forwarded-For, so only the last `trusted_proxies` entries
    are true; everything to the left of them is what the client claims. With fewer entries than proxies the request
    did not come through all of them, and the peer of the connection is the client.
    """
    peer = str(environ.get("REMOTE_ADDR", ""))
    if not trusted_proxies:
        return peer
    entries = [entry.strip() for entry in str(environ.get("HTTP_X_FORWARDED_FOR", "")).split(",") if entry.strip()]
    return entries[-trusted_proxies] if len(entries) >= trusted_proxies else peer
