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
REDIRECT = "/redirect/"  # what follows is the path of a directory or file
MAX_LINKS = 10  # hosts in the headers of a redirect by path
ALL = 1 << 30  # more hosts than there are
METALINK4_TYPE = "application/metalink4+xml"

# They could break a line of a list or of the log, or are not allowed in XML at all.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff]")


class Reason(Enum):
    """Every "no" that a client can get."""

    NOT_SERVED = "the path is neither a mirrorlist nor a metalink"
    METHOD = "only GET and HEAD are answered"
    TOO_LONG = "the query string is too long"
    BAD_VALUE = "a parameter has a value that cannot be answered"
    MISSING = "neither path= nor repo= and arch="
    DISABLED = "the repository is switched off"
    UNKNOWN_REPOSITORY = "there is no such repository"
    INVALID_PATH = "there is no such directory"
    NO_DETAILS = "nothing is known by which a client could verify the file"
    BAD_ADDRESS = "ip= is not an IP address"
    FORBIDDEN = "the client may not ask this"
    TOO_OFTEN = "this was asked too often"
    NOT_READY = "there is no mirrorlist cache"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no answer; the detail is what the client reads."""

    reason: Reason
    detail: str


class Kind(Enum):
    """What the answer is about."""

    __hash__ = object.__hash__  # Enum's own is a function in Python, and these are keys in every request

    MIRRORLIST = "mirrorlist"  # a directory or any file below it
    METALINK = "metalink"  # a file that can be verified; of a repository its repomd.xml
    REDIRECT = "redirect"  # a directory or file that is named in the path of the request


class Form(Enum):
    """The form of the answer."""

    __hash__ = object.__hash__  # as above

    LIST = "list"
    METALINK = "metalink"
    META4 = "meta4"
    JSON = "json"
    APT = "apt"
    REDIRECT = "redirect"


class Choice(NamedTuple):
    """Which of a host's URLs an answer may show."""

    protocols: frozenset[str] | None  # None: all
    limit: int | None  # per host; None: all


class MirrorQuery(NamedTuple):
    """One request, understood. What is not said is as here."""

    kind: Kind
    form: Form
    repo: str | None = None  # as the client wrote it
    arch: str | None = None  # after the source rule
    version: str | None = None
    path: str | None = None  # wins over repo and arch
    countries: tuple[str, ...] = ()  # as typed, sorted, each once
    avoided: tuple[str, ...] = ()  # countries whose hosts are not wanted, in capitals
    locations: tuple[str, ...] = ()  # groups of hosts that are wanted first
    ip: str | None = None  # the address that the client chose to be judged by, not checked yet
    networks: bool = True  # netblocks and ASN count
    choice: Choice = Choice(None, None)
    protocol: str | None = None  # as typed
    ipv4: bool = False  # only hosts with IPv4
    ipv6: bool = False
    stable: bool = False  # the same order for the same network
    show_time: bool = False
    base: str = ""  # what stands before the last part of the request's own path, as WSGI hands it over
    origin: str = ""  # of a redirect: what stands before that path, http://host:port; empty if it is not known


def kind_of(path: str) -> Kind | None:
    """What the path of the request asks for: any prefix may stand before it."""
    if REDIRECT in path:
        return Kind.REDIRECT
    if path.endswith("/metalink"):
        return Kind.METALINK
    if path.endswith("/mirrorlist"):
        return Kind.MIRRORLIST
    return None


def kind_meant(parameters: Mapping[str, str]) -> Kind | None:
    """Of a request that is only explained, so that its path does not tell. None: a kind that does not exist."""
    if named := parameters.get("kind"):
        return next((kind for kind in Kind if kind.value == named), None)
    listed = "path" in parameters or "redirect" in parameters or parameters.get("format") in ("list", "apt")
    return Kind.MIRRORLIST if listed else Kind.METALINK


def path_of(environ: Mapping[str, Any]) -> str:
    """The whole path of the request, wherever the application is mounted."""
    return str(environ.get("SCRIPT_NAME", "")) + str(environ.get("PATH_INFO", ""))


def parse(environ: Mapping[str, Any], policy: Policy) -> MirrorQuery | Refusal:
    """The request in the WSGI environment."""
    path = path_of(environ)
    kind = kind_of(path)
    if kind is None:
        return Refusal(Reason.NOT_SERVED, "We don't serve their kind here!")
    if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
        return Refusal(Reason.METHOD, "only GET and HEAD are answered here")
    parameters = parameters_of(str(environ.get("QUERY_STRING", "")))
    if isinstance(parameters, Refusal):
        return parameters
    if kind is Kind.REDIRECT:
        base, _, asked = path.partition(REDIRECT)
        parameters["path"] = asked = _utf8(asked)
        if UNSAFE.search(asked):
            return Refusal(Reason.BAD_VALUE, "the path contains control characters")
        return query_of(kind, parameters, environ, policy, base, origin=_origin(environ, policy.trusted_proxies))
    base = path[: path.rindex("/")]
    return query_of(kind, parameters, environ, policy, base)


def query_of(
    kind: Kind,
    parameters: Mapping[str, str],
    environ: Mapping[str, Any],
    policy: Policy,
    base: str,
    *,
    origin: str = "",
) -> MirrorQuery | Refusal:
    """The query that the parameters make."""
    if "path" not in parameters and not ("repo" in parameters and "arch" in parameters):
        return Refusal(Reason.MISSING, "# either path=, or repo= and arch= must be specified")
    form = _form(kind, parameters, environ)
    if form is None:
        names = ", ".join(form.value for form in _FORMATS.values())
        return Refusal(Reason.BAD_VALUE, f"format= is not one of {names}")
    if form in (Form.METALINK, Form.META4) and kind is Kind.MIRRORLIST:
        kind = Kind.METALINK
    if parameters.keys() <= _OF_PATHS:  # most of those that ask for a path: nothing else is said
        return MirrorQuery(
            kind,
            form,
            path=parameters["path"],
            choice=_UNASKED[form],
            stable=policy.stable,
            base=base,
            origin=origin,
        )
    return _query(kind, form, parameters, policy, base=base, origin=origin)


_KNOWN = frozenset({
    "repo", "arch", "version", "path", "country", "cc", "avoid_country", "location", "ip", "netblock", "protocol",
    "redirect", "time", "format", "ipv4", "ipv6", "stable", "seed",
})  # fmt: skip
_OF_PATHS = frozenset({"path", "format"})
_FORMATS = {form.value: form for form in (Form.LIST, Form.METALINK, Form.META4, Form.JSON, Form.APT)}
_FORMS = {Kind.MIRRORLIST: Form.LIST, Kind.METALINK: Form.METALINK, Kind.REDIRECT: Form.REDIRECT}


def _form(kind: Kind, parameters: Mapping[str, str], environ: Mapping[str, Any]) -> Form | None:
    """What the client wants: by format=, by redirect, by Accept, or by where it asks. None: an unknown format."""
    if asked := parameters.get("format"):
        return _FORMATS.get(asked)
    if "redirect" in parameters and kind is Kind.MIRRORLIST:
        return Form.REDIRECT
    accept = environ.get("HTTP_ACCEPT")
    if accept and kind is not Kind.MIRRORLIST and _accepts_metalink4(accept.lower()):
        return Form.META4
    return _FORMS[kind]


def _accepts_metalink4(accept: str) -> bool:
    """Named with a quality above 0 (RFC 9110, 12.5.1), and not below that of metalink 3."""
    if METALINK4_TYPE not in accept:
        return False
    quality = {"application/metalink+xml": 0.0, METALINK4_TYPE: 0.0}
    for item in accept.split(","):
        name, *options = (part.strip() for part in item.split(";"))
        given = next((option[2:] for option in options if option.startswith("q=")), "1")
        if name in quality:
            quality[name] = float(given) if re.fullmatch(r"[01](\.\d{0,3})?", given) else 0.0
    return quality[METALINK4_TYPE] > 0.0 and quality[METALINK4_TYPE] >= quality["application/metalink+xml"]


def parameters_of(text: str) -> dict[str, str] | Refusal:
    """The last of repeated parameters wins; a second "=" and what follows it is dropped, as it always was."""
    if not text:
        return {}
    if len(text) > MAX_QUERY_LENGTH:
        return Refusal(Reason.TOO_LONG, f"the query string is longer than {MAX_QUERY_LENGTH} bytes")
    if "%" not in text and text.isascii() and text.isprintable():  # most
        if text.count("=") == 1 and "&" not in text:
            name, _, value = text.partition("=")
            return {name: value}
        return {pair[0]: pair[1] if len(pair) > 1 else "" for pair in [part.split("=", 2) for part in text.split("&")]}
    pairs = [part.split("=", 2) for part in text.split("&")]
    parameters = {_decode(pair[0]): _decode(pair[1]) if len(pair) > 1 else "" for pair in pairs}
    for name, value in parameters.items():
        if name in _KNOWN and UNSAFE.search(value):
            return Refusal(Reason.BAD_VALUE, f"{name}= contains control characters")
    return parameters


def _decode(text: str) -> str:
    """Percent-decoded. "+" stays "+": no name here has blanks, and many packages are called like libstdc++."""
    # WSGI hands over the bytes of the query string as Latin-1 characters.
    return unquote_to_bytes(text.encode("latin-1", "replace")).decode("utf-8", "replace")


def _utf8(text: str) -> str:
    """A path as WSGI hands it over: percent-decoded already, its bytes as Latin-1 characters (PEP 3333)."""
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")


def _origin(environ: Mapping[str, Any], trusted_proxies: int) -> str:
    """Scheme and host as the client asked for them; "" where that is not certain.

    A proxy that ends TLS must say so: else an https client would be led to http.
    """
    host = str(environ.get("HTTP_HOST", ""))
    scheme = environ.get("HTTP_X_FORWARDED_PROTO" if trusted_proxies else "wsgi.url_scheme")
    return f"{scheme}://{host}" if scheme in ("http", "https") and _HOST.fullmatch(host) else ""


_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?")


def _query(
    kind: Kind, form: Form, parameters: Mapping[str, str], policy: Policy, *, base: str, origin: str
) -> MirrorQuery:
    get = parameters.get
    repo, arch, protocol = get("repo"), get("arch"), get("protocol")
    return MirrorQuery(
        kind,
        form,
        repo,
        "source" if repo is not None and "source" in repo else arch,
        get("version"),
        get("path"),
        _list(get("country") or get("cc", "")),
        tuple(name.upper() for name in _list(get("avoid_country", ""))),
        _list(get("location", "")),
        (get("ip") or None) if policy.allow_ip_parameter else None,
        get("netblock", "1") == "1",
        _choice(form, protocol),
        protocol,
        get("ipv4") == "1",
        get("ipv6") == "1",
        policy.stable or get("stable") == "1",
        "time" in parameters,
        base,
        origin,
    )


def shown(query: MirrorQuery) -> int:
    """How many hosts the answer can name."""
    if query.form is not Form.REDIRECT:
        return ALL
    return MAX_LINKS if query.kind is Kind.REDIRECT else 1


def redirected(query: MirrorQuery) -> MirrorQuery:
    """The same question, to be answered by a redirect."""
    return query._replace(form=Form.REDIRECT, choice=_choice(Form.REDIRECT, query.protocol))


def _list(text: str) -> tuple[str, ...]:
    return tuple(sorted({item for item in text.split(",") if item})) if text else ()


_ALL = Choice(None, None)
_ONE_TO_LIST = Choice(frozenset(LIST_PROTOCOLS), 1)
_ONE_TO_FOLLOW = Choice(frozenset(REDIRECT_PROTOCOLS), 1)


def _choice(form: Form, protocol: str | None) -> Choice:
    if protocol is None:
        return _UNASKED[form]
    asked = frozenset(_list(protocol))
    usable = _UNASKED[form].protocols if form in (Form.REDIRECT, Form.APT) else None
    return Choice(asked if usable is None else asked & usable, 1 if usable is not None else len(asked))


_UNASKED = {
    Form.LIST: _ONE_TO_LIST,
    Form.METALINK: _ALL,
    Form.META4: _ALL,
    Form.JSON: _ALL,
    Form.APT: _ONE_TO_FOLLOW,
    Form.REDIRECT: _ONE_TO_FOLLOW,
}


def client_address(environ: Mapping[str, Any], trusted_proxies: int) -> str:
    """The address that the outermost trusted proxy saw.

    Each proxy appends the address of its own client to X-Forwarded-For, so only the last `trusted_proxies` entries
    are true; everything to the left of them is what the client claims. With fewer entries than proxies the request
    did not come through all of them, and the peer of the connection is the client.
    """
    forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    if trusted_proxies and forwarded:
        if trusted_proxies == 1 and (last := forwarded.rpartition(",")[2].strip()):  # most
            return str(last)
        entries = [entry for entry in map(str.strip, forwarded.split(",")) if entry]
        if len(entries) >= trusted_proxies:
            return entries[-trusted_proxies]
    return str(environ.get("REMOTE_ADDR", ""))
