"""The one form in which addresses of mirrors are stored."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

MIRROR_SCHEMES = ("https", "http", "rsync", "ftp", "ftps")  # best first: the order in which they are offered
MAX_LENGTH = 1000  # longer than any real one, and short enough for an index
_HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80, "rsync": 873, "ftp": 21, "ftps": 990}


def normalise(text: str, schemes: tuple[str, ...] = MIRROR_SCHEMES) -> str:
    """Scheme and host in lower case and ASCII, no default port, no trailing slash. Raises ValueError saying why."""
    stripped = text.strip()
    if len(stripped) > MAX_LENGTH:
        raise ValueError(f"{stripped[:40]!r}… is longer than {MAX_LENGTH} characters")
    try:
        parts = urlsplit(stripped)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{stripped!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    problem = _problem(stripped, parts, schemes)
    if problem:
        raise ValueError(f"{stripped!r} {problem}")
    host = _host(parts.hostname or "")
    if not host:
        raise ValueError(f"{stripped!r} names no valid host")
    netloc = host if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"
    return urlunsplit((scheme, netloc, parts.path.rstrip("/"), "", ""))


def is_local(url: str) -> bool:
    """Whether it names a machine that only we can reach: an address that is not used on the Internet, or localhost.

    What DNS says of names is not asked: it may say something else tomorrow, and the crawler looks when it connects.
    """
    name = (urlsplit(url).hostname or "").rstrip(".")
    if name == "localhost" or name.endswith((".localhost", ".localdomain")):
        return True
    try:
        return not is_public_address(name)
    except ValueError:
        # C libraries take 127.1, 0x7f.1 and 2130706433 for addresses; no name on the Internet ends so.
        return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def is_public_address(text: str) -> bool:
    """Whether an IP address is one of the Internet. Raises ValueError when it is no address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    return address.is_global and not address.is_multicast


def _host(name: str) -> str:
    """As it stands in a URL, international names in their ASCII form; empty when it cannot be a host."""
    if ":" in name:
        return f"[{name}]"  # urlsplit let only IPv6 addresses through
    try:
        ascii_name = name.encode("idna").decode("ascii")
    except UnicodeError:  # a label is empty or too long
        return ""
    return ascii_name if _HOST_NAME.fullmatch(ascii_name) and len(ascii_name) <= 253 else ""


def _problem(text: str, parts: SplitResult, schemes: tuple[str, ...]) -> str:
    if parts.scheme.lower() not in schemes:
        return f"must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}"
    if any(character.isspace() or not character.isprintable() for character in text):
        return "holds a blank or a control character"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password; everybody would see it"
    if parts.query or parts.fragment:
        return "must end with the path: what follows ? or # cannot be part of a mirror's address"
    return ""


def preference(url: str) -> int:
    """0 for the scheme to offer first; schemes that are not known come last."""
    scheme = url.partition("://")[0]
    return MIRROR_SCHEMES.index(scheme) if scheme in MIRROR_SCHEMES else len(MIRROR_SCHEMES)
