"""Sign-in by LDAP, against a real slapd: every way to bind, to find groups, to fail over, and to be fooled."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from mm_lib.services import ldap_directory
from mm_lib.services.ldap_directory import (
    ASK_LAST_SECONDS,
    REFUSAL_SECONDS,
    Directory,
    DirectoryRefused,
    DirectoryUnreachable,
)
from mm_lib.settings import LdapSettings
from tests.servers import make_certificate
from tests.slapd import BASE, PEOPLE, READER, Slapd

GROUPS = f"ou=groups,{BASE}"
ADMINS = {"mirror admins", f"cn=mirror admins,{GROUPS}"}
DIRECT = {"bind_dn": "", "bind_password": None, "base": "", "user_dn": f"uid={{name}},{PEOPLE}"}


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    server = Slapd()
    yield server
    server.stop()


def directory(slapd: Slapd, pause: Callable[[float], None] = lambda _: None, **changes: object) -> Directory:
    """Search, then bind, over StartTLS."""
    known = {
        "servers": [slapd.plain],
        "ca_file": slapd.certificate,
        "bind_dn": READER[0],
        "bind_password": SecretStr(READER[1]),
        "base": PEOPLE,
        "timeout": 2.0,
    }
    return Directory(LdapSettings.model_validate({**known, **changes}), pause=pause)


def refusal(found: Directory, name: str, password: str) -> str:
    with pytest.raises(DirectoryRefused) as caught:
        found.authenticate(name, password)
    assert str(caught.value) == "User name and password do not match an account."
    return caught.value.reason


@pytest.mark.parametrize("how", [{}, DIRECT], ids=["search", "direct"])
@pytest.mark.parametrize("scheme", ["plain", "tls"])
def test_name_and_password_open_an_account(slapd: Slapd, scheme: str, how: dict[str, object]) -> None:
    person = directory(slapd, servers=[getattr(slapd, scheme)], **how).authenticate(" alice ", "alice-secret")
    assert (person.name, person.display_name, person.email) == ("alice", "Alice Example", "alice@example.org")
    assert len(person.subject) == 36
    assert person.issuer.startswith("ldap:")
    assert person.groups == ADMINS


class ByOtherName(Directory):
    """Binds by a name that is no DN, as Active Directory can, and then searches for the entry."""

    _names_dn = False


def test_the_password_must_open_the_entry_that_is_found_not_only_that_which_was_bound(slapd: Slapd) -> None:
    settings = directory(slapd, **{**DIRECT, "base": PEOPLE})._settings
    assert ByOtherName(settings).authenticate("alice", "alice-secret").name == "alice"
    bobs = settings.model_copy(update={"user_filter": "(|(&(cn={name})(uid=alice))(uid=bob))"})
    assert "Invalid credentials" in refusal(ByOtherName(bobs), "alice", "alice-secret")


@pytest.mark.parametrize("how", [{}, DIRECT], ids=["search", "direct"])
def test_a_wrong_password_is_refused(slapd: Slapd, how: dict[str, object]) -> None:
    assert "Invalid credentials" in refusal(directory(slapd, **how), "alice", "bob-secret")


def test_refusals_take_equally_long_for_names_that_exist_and_others(slapd: Slapd) -> None:
    """Each ends with a pause up to a multiple of half a second, so that time does not tell."""
    paused: list[float] = []
    for name in ("alice", "nobody"):
        began = time.monotonic()
        refusal(directory(slapd, pause=paused.append), name, "wrong")
        whole = (time.monotonic() - began + paused[-1]) / REFUSAL_SECONDS
        assert abs(whole - round(whole)) < 0.2 and round(whole) >= 1
    directory(slapd, pause=paused.append).authenticate("alice", "alice-secret")
    assert len(paused) == 2


def test_an_unknown_name_is_refused(slapd: Slapd) -> None:
    assert refusal(directory(slapd), "nobody", "alice-secret") == "unknown name"


@pytest.mark.parametrize("how", [{}, DIRECT], ids=["search", "direct"])
@pytest.mark.parametrize("password", ["", "\0", "\0alice-secret"])
def test_an_empty_password_is_refused_though_the_server_would_take_it(
    slapd: Slapd, how: dict[str, object], password: str
) -> None:
    """An LDAP bind without a password succeeds, as nobody (RFC 4513 5.1.2)."""
    assert refusal(directory(slapd, **how), "alice", password)


@pytest.mark.parametrize("how", [{}, DIRECT], ids=["search", "direct"])
@pytest.mark.parametrize(
    "name",
    [
        "*",
        "al*",
        "alice)(objectClass=*",
        "*)(uid=alice",
        "nobody)(|(uid=alice)",
        "\\61lice",
        "bob,ou=people,dc=example,dc=org",
        "alice,",
        "alice\0",
        "alice+cn=Alice Example",
        '"alice"',
        "#616c696365",
        "a" * 100_000,
        "",
    ],
)
def test_names_are_names_and_never_filters_or_dns(slapd: Slapd, how: dict[str, object], name: str) -> None:
    assert refusal(directory(slapd, **how), name, "alice-secret")


def test_a_name_that_two_people_have_opens_neither_account(slapd: Slapd) -> None:
    assert "more than one" in refusal(directory(slapd), "twin", "twin-secret")


def test_signs_in_a_persons_dn_do_not_spoil_the_search_for_groups(slapd: Slapd) -> None:
    changes: dict[str, object] = {"user_filter": "(cn={name})", "group_base": GROUPS}
    person = directory(slapd, **changes).authenticate("Bob (Builder)", "bob-secret")
    assert (person.name, person.email, person.groups) == ("bob", "", frozenset())


def test_groups_are_found_by_search_where_entries_do_not_name_them(slapd: Slapd) -> None:
    changes: dict[str, object] = {"member_of_attribute": "", "group_base": GROUPS}
    assert directory(slapd, **changes).authenticate("alice", "alice-secret").groups == ADMINS
    assert directory(slapd, member_of_attribute="").authenticate("alice", "alice-secret").groups == frozenset()


def test_groups_are_compared_without_what_makes_no_difference() -> None:
    assert ldap_directory.normal(f"CN=Mirror Admins, ou = groups,{BASE}") in ADMINS


def test_a_certificate_of_somebody_else_is_refused_before_a_password_is_sent(slapd: Slapd, tmp_path: Path) -> None:
    other = make_certificate(tmp_path).certificate
    for server in (slapd.plain, slapd.tls):
        with pytest.raises(DirectoryUnreachable) as caught:
            directory(slapd, servers=[server], ca_file=other).authenticate("alice", "alice-secret")
        assert "certificate" in caught.value.reasons[0].lower()


def test_a_certificate_for_another_name_is_refused(slapd: Slapd) -> None:
    with pytest.raises(DirectoryUnreachable):
        directory(slapd, servers=[slapd.other_name]).authenticate("alice", "alice-secret")


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"ldap://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_hangs_is_left_for_the_next_and_then_asked_last(slapd: Slapd, hanging: str) -> None:
    now = [1000.0]
    settings = directory(slapd, servers=[hanging, slapd.plain], timeout=0.3)._settings
    found = Directory(settings, lambda: now[0])
    assert found.authenticate("alice", "alice-secret").name == "alice"
    assert found._in_order() == [slapd.plain, hanging]
    now[0] += ASK_LAST_SECONDS + 1
    assert found._in_order() == [hanging, slapd.plain]


def test_a_server_that_is_down_is_left_for_the_next(slapd: Slapd) -> None:
    assert directory(slapd, servers=["ldap://127.0.0.1:9", slapd.tls]).authenticate("alice", "alice-secret")


def test_when_no_server_answers_each_reason_is_told(hanging: str, slapd: Slapd) -> None:
    with pytest.raises(DirectoryUnreachable, match="try again in some minutes") as caught:
        directory(slapd, servers=[hanging, "ldap://127.0.0.1:9"], timeout=0.3).authenticate("alice", "alice-secret")
    assert [reason.split(": ")[0] for reason in caught.value.reasons] == [hanging, "ldap://127.0.0.1:9"]


def test_a_wrong_password_is_not_tried_on_the_next_server(slapd: Slapd) -> None:
    """It would count twice towards a lock."""
    found = directory(slapd, servers=[slapd.plain, "ldap://127.0.0.1:9"])
    assert "Invalid credentials" in refusal(found, "alice", "wrong")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bind_password": "wrong"}, "ldap.bind_dn may not sign in"),
        ({"base": "ou=nowhere,dc=example,dc=org"}, "No such object"),
        ({"subject_attribute": "ipaUniqueID"}, "set ldap.subject_attribute"),
        ({"user_filter": "(uid={name}"}, "filter"),
    ],
)
def test_wrong_settings_are_named_for_the_administrator_only(
    slapd: Slapd, changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(DirectoryUnreachable, match="cannot be asked right now") as caught:
        directory(slapd, **changes).authenticate("alice", "alice-secret")
    assert reason in caught.value.reasons[0]


def test_a_person_can_be_looked_up_without_their_password(slapd: Slapd) -> None:
    assert directory(slapd).find("alice").groups == ADMINS


def test_no_password_gets_into_the_log(slapd: Slapd, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DirectoryUnreachable):
        directory(slapd, user_filter="(uid={name}").authenticate("alice", "alice-secret")
    assert "filter" in caplog.text
    assert "secret" not in caplog.text
