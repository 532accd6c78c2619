"""The one form in which addresses of mirrors are stored."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

MIRROR_SCHEMES = ("https", "http", "rsync", "ftp")  # best first: the order in which they are offered
_DEFAULT_PORTS = {"https": 443, "http": 80, "rsync": 873, "ftp": 21}


def normalise(text: str, schemes: tuple[str, ...] = MIRROR_SCHEMES) -> str:
    """Scheme and host in lower case, no default port, no trailing slash. Raises ValueError that says what is wrong."""
    stripped = text.strip()
    try:
        parts = urlsplit(stripped)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{stripped!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    problem = _problem(stripped, parts, schemes)
    if problem:
        raise ValueError(f"{stripped!r} {problem}")
    assert parts.hostname is not None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"
    return urlunsplit((scheme, netloc, parts.path.rstrip("/"), "", ""))


def _problem(text: str, parts: SplitResult, schemes: tuple[str, ...]) -> str:
    if parts.scheme.lower() not in schemes:
        return f"must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}"
    if not parts.hostname:
        return "names no host"
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
