"""Names and passwords that an LDAP directory knows: find the person, let them bind, read what they are.

Connections are encrypted and certificates checked before anything is sent; a server that is down or hangs costs one
time-out and is then asked last for a while; referrals are not followed: they would carry the password elsewhere.

Each server is greeted by Python's own ssl first: libldap has no time-out for the TLS handshake (seen with 2.5), and
tells of a wrong certificate only that there was an "unknown error".
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import ldap
from ldap.dn import escape_dn_chars, str2dn
from ldap.filter import escape_filter_chars

from mm_lib.services.accounts import MAX_PASSWORD
from mm_lib.services.errors import NotAllowed, ServiceError
from mm_lib.services.identities import MAX_TEXT, Person
from mm_lib.settings import LdapSettings

T = TypeVar("T")
Entry = tuple[str, dict[str, list[bytes]]]  # DN and attributes

REFUSAL_SECONDS = 0.5  # refusals come after a multiple of it: how long they took tells nobody which names exist
ASK_LAST_SECONDS = 60.0  # a server that failed is asked after the others for so long

logger = logging.getLogger(__name__)

# An LDAP message with the StartTLS request (RFC 4511 4.14), and what a response that agrees has in it.
_START_TLS = bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037"
_AGREED = b"\x0a\x01\x00"

_UNREACHABLE = (
    ldap.SERVER_DOWN,
    ldap.CONNECT_ERROR,
    ldap.TIMEOUT,
    ldap.TIMELIMIT_EXCEEDED,
    ldap.UNAVAILABLE,
    ldap.BUSY,
)
_REFUSED = (
    ldap.INVALID_CREDENTIALS,
    ldap.UNWILLING_TO_PERFORM,
    ldap.INSUFFICIENT_ACCESS,
    ldap.CONSTRAINT_VIOLATION,
    ldap.NO_SUCH_OBJECT,
    ldap.INAPPROPRIATE_AUTH,
    ldap.INVALID_DN_SYNTAX,
)


class DirectoryUnreachable(ServiceError):
    """No server of the directory answers, or its settings are wrong; the log says more."""

    def __init__(self, reasons: Sequence[str] = ()) -> None:
        super().__init__("The directory cannot be asked right now. Please try again in some minutes.")
        self.reasons = tuple(reasons)


class DirectoryRefused(NotAllowed):
    """Name and password open nothing. The message is the same for every reason; `reason` is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("User name and password do not match an account.")
        self.reason = reason


class Directory:
    """One directory, on one or more servers that hold the same."""

    def __init__(
        self,
        settings: LdapSettings,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._pause = pause
        self._failed_at: dict[str, float] = {}

    @property
    def issuer(self) -> str:
        """What identities of this directory are kept under: the same whichever server answers."""
        return f"ldap:{normal(self._settings.base or self._settings.user_dn)}"

    def authenticate(self, name: str, password: str) -> Person:
        """The person whom name and password belong to. Raises DirectoryRefused, DirectoryUnreachable."""
        name = name.strip()
        # RFC 4513 5.1.2: with an empty password servers let anybody in as nobody, and call that success.
        if not name or not password:
            raise DirectoryRefused("empty name or password")
        if not name.isprintable() or len(name) > MAX_TEXT or len(password) > MAX_PASSWORD or "\0" in password:
            raise DirectoryRefused("name or password cannot be one")
        began = self._clock()
        try:
            return self._on_some_server(lambda server: self._authenticate(server, name, password))
        except DirectoryRefused:
            # An unknown name is refused sooner than a wrong password, which the directory has to hash.
            self._pause(REFUSAL_SECONDS - (self._clock() - began) % REFUSAL_SECONDS)
            raise

    def find(self, name: str) -> Person:
        """A person as the directory shows them to the searching account, without their password."""

        def look(server: str) -> Person:
            with self._connection(server) as connection:
                self._bind_to_search(connection)
                return self._person(connection, self._search(connection, name), name)

        return self._on_some_server(look)

    def try_server(self, server: str) -> None:
        """Connect, encrypt and bind as the searching account. Raises DirectoryUnreachable with the reason."""
        try:
            greet(server, self._settings)
            with self._connection(server) as connection:
                self._bind_to_search(connection)
        except (_NoGreeting, ldap.LDAPError) as error:
            raise DirectoryUnreachable([f"{server}: {explain(error)}"]) from None

    def _on_some_server(self, ask: Callable[[str], T]) -> T:
        """Ask the servers in order until one answers."""
        reasons = []
        for server in self._in_order():
            try:
                greet(server, self._settings)
                return ask(server)
            except (_NoGreeting, *_UNREACHABLE) as error:
                self._failed_at[server] = self._clock()
                reasons.append(f"{server}: {explain(error)}")
                logger.warning("LDAP server %s", reasons[-1])
            except ldap.LDAPError as error:
                logger.exception("the LDAP directory cannot be used: %s", explain(error))
                raise DirectoryUnreachable([f"{server}: {explain(error)}"]) from None
        raise DirectoryUnreachable(reasons)

    def _in_order(self) -> list[str]:
        since = self._clock() - ASK_LAST_SECONDS
        return sorted(self._settings.servers, key=lambda server: self._failed_at.get(server, since) > since)

    def _authenticate(self, server: str, name: str, password: str) -> Person:
        if self._settings.user_dn:
            return self._bind_directly(server, name, password)
        with self._connection(server) as connection:
            self._bind_to_search(connection)
            entry = self._search(connection, name)
            with self._connection(server) as persons:  # another one, which loses no rights of the searching account
                _bind(persons, entry[0], password)
            return self._person(connection, entry, name)

    def _bind_directly(self, server: str, name: str, password: str) -> Person:
        dn = self._settings.user_dn.replace("{name}", escape_dn_chars(name) if self._names_dn else name)
        with self._connection(server) as connection:
            _bind(connection, dn, password)
            if self._names_dn:
                found = self._entries(connection, dn, ldap.SCOPE_BASE, "(objectClass=*)")
                if not found:
                    raise DirectoryRefused("may not read the own entry")
                return self._person(connection, found[0], name)
            entry = self._search(connection, name)
            # Names for binding and for searching may belong to two people: the password must be the found one's.
            _bind(connection, entry[0], password)
            return self._person(connection, entry, name)

    @property
    def _names_dn(self) -> bool:
        return "=" in self._settings.user_dn

    @contextmanager
    def _connection(self, server: str) -> Iterator[Any]:
        settings = self._settings
        connection = ldap.initialize(server)
        try:
            connection.protocol_version = ldap.VERSION3
            connection.network_timeout = connection.timeout = settings.timeout
            connection.set_option(ldap.OPT_REFERRALS, 0)
            connection.set_option(ldap.OPT_DEREF, ldap.DEREF_NEVER)
            connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
            if settings.ca_file:
                connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(settings.ca_file))
            connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)  # last: the options above count from here on
            if server.startswith("ldap://") and settings.start_tls:
                connection.start_tls_s()
            yield connection
        finally:
            with suppress(ldap.LDAPError):
                connection.unbind_s()

    def _bind_to_search(self, connection: Any) -> None:
        secret = self._settings.bind_password
        try:
            connection.simple_bind_s(self._settings.bind_dn, secret.get_secret_value() if secret else "")
        except _REFUSED as error:
            logger.error("ldap.bind_dn may not sign in: %s", explain(error))
            raise DirectoryUnreachable([f"ldap.bind_dn may not sign in: {explain(error)}"]) from None

    def _search(self, connection: Any, name: str) -> Entry:
        wanted = self._settings.user_filter.replace("{name}", escape_filter_chars(name))
        found = self._entries(connection, self._settings.base, ldap.SCOPE_SUBTREE, wanted)
        if len(found) != 1:
            raise DirectoryRefused("unknown name" if not found else "more than one entry has this name")
        return found[0]

    def _entries(self, connection: Any, base: str, scope: int, wanted: str) -> list[Entry]:
        settings = self._settings
        attributes = [
            settings.subject_attribute,
            settings.name_attribute,
            settings.display_name_attribute,
            settings.email_attribute,
            settings.member_of_attribute,
        ]
        rows = connection.search_ext_s(base, scope, wanted, [each for each in attributes if each])
        return [(row[0], row[1]) for row in rows if row[0] is not None]  # None: a referral

    def _person(self, connection: Any, entry: Entry, name: str) -> Person:
        dn, attributes = entry
        settings = self._settings
        values = {key.lower(): found for key, found in attributes.items()}
        subject = _subject(values.get(settings.subject_attribute.lower(), []))
        if not subject:
            raise DirectoryUnreachable([f"{dn} has no {settings.subject_attribute}: set ldap.subject_attribute"])
        own_name = _text(values, settings.name_attribute) or name
        return Person(
            issuer=self.issuer,
            subject=subject,
            name=own_name,
            display_name=_text(values, settings.display_name_attribute),
            email=_text(values, settings.email_attribute),
            groups=self._groups(connection, dn, own_name, values),
        )

    def _groups(self, connection: Any, dn: str, name: str, values: dict[str, list[bytes]]) -> frozenset[str]:
        """A person's groups, each as its whole DN and as its cn."""
        settings = self._settings
        found = [each.decode("utf-8", "replace") for each in values.get(settings.member_of_attribute.lower(), [])]
        if settings.group_base:
            wanted = settings.group_filter.replace("{dn}", escape_filter_chars(dn))
            wanted = wanted.replace("{name}", escape_filter_chars(name))
            rows = connection.search_ext_s(settings.group_base, ldap.SCOPE_SUBTREE, wanted, ["1.1"])
            found += [row[0] for row in rows if row[0] is not None]
        return frozenset(name for group in found for name in (normal(group), _first_value(group)) if name)


def normal(group: str) -> str:
    """A group's name or DN without what makes no difference: capitals, blanks around = and commas."""
    return re.sub(r"\s*([,=])\s*", r"\1", group.strip()).casefold()


def _first_value(dn: str) -> str:
    """cn=admins,ou=groups,... -> admins."""
    try:
        return str(str2dn(dn)[0][0][1]).casefold()
    except (ldap.DECODING_ERROR, IndexError):
        return ""


class _NoGreeting(Exception):
    """The server did not take the connection as it should."""


def greet(server: str, settings: LdapSettings) -> None:
    """See that a server takes connections, encrypts them, and has a good certificate. Raises _NoGreeting."""
    parts = urlsplit(server)
    secure = parts.scheme == "ldaps"
    address = (parts.hostname or "", parts.port or (636 if secure else 389))
    try:
        with socket.create_connection(address, settings.timeout) as plain:
            if not secure and settings.start_tls:
                plain.sendall(_START_TLS)
                if _AGREED not in plain.recv(512)[:20]:
                    raise _NoGreeting("offers no StartTLS")
            if secure or settings.start_tls:
                context = ssl.create_default_context(cafile=settings.ca_file)
                context.wrap_socket(plain, server_hostname=address[0]).close()
    except OSError as error:  # so is ssl.SSLError
        late = isinstance(error, TimeoutError)
        raise _NoGreeting(f"no answer within {settings.timeout:g} s" if late else str(error)) from None


def explain(error: Exception) -> str:
    """What went wrong, in the server's and libldap's words."""
    if not isinstance(error, ldap.LDAPError):
        return str(error)
    told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    words = [str(told[key]).strip() for key in ("desc", "info") if told.get(key)]
    return ": ".join(words) or type(error).__name__


def _bind(connection: Any, dn: str, password: str) -> None:
    try:
        connection.simple_bind_s(dn, password)
    except _REFUSED as error:
        raise DirectoryRefused(explain(error)) from None


def _subject(values: list[bytes]) -> str:
    """Active Directory's objectGUID is 16 bytes, of which some are text by accident."""
    if not values:
        return ""
    return values[0].decode("ascii") if values[0].isascii() and values[0].decode().isprintable() else values[0].hex()


def _text(values: dict[str, list[bytes]], attribute: str) -> str:
    found = values.get(attribute.lower(), [])
    return found[0].decode("utf-8", "replace")[:MAX_TEXT] if found else ""
