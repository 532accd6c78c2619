"""One normal form for each network and URL, and a reason for each refusal."""

from __future__ import annotations

import pytest

from mm_lib.rules.netblocks import parse_netblock
from mm_lib.rules.urls import is_local, normalise


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.7/24 ", "192.0.2.0/24"),
        ("1.2.3.4/255.255.255.248", "1.2.3.0/29"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("2001:0db8::/32", "2001:db8::/32"),
        ("Campus.Example.EDU.", "campus.example.edu"),
    ],
)
def test_a_netblock_has_one_form(typed: str, stored: str) -> None:
    assert parse_netblock(typed).text == stored


@pytest.mark.parametrize(
    "typed", ["", "not a host!", "300.1.1.1/24", "300.1.1.1", "1.2.3.4/33", "localhost", "a..b", "-a.example"]
)
def test_what_is_neither_network_nor_name_is_refused(typed: str) -> None:
    with pytest.raises(ValueError, match="neither a network"):
        parse_netblock(typed)


def test_a_network_has_its_bounds_and_a_name_has_none() -> None:
    assert parse_netblock("10.0.0.0/8")[1:] == (4, bytes([10, 0, 0, 0]), bytes([10, 255, 255, 255]))
    assert parse_netblock("example.org")[1:] == (None, None, None)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        (" HTTPS://Mirror.Example.org:443/pub/ ", "https://mirror.example.org/pub"),
        ("http://m.example:8080", "http://m.example:8080"),
        ("http://[2001:DB8::1]/x/", "http://[2001:db8::1]/x"),
        ("rsync://m.example/module", "rsync://m.example/module"),
        ("https://Spiegel.München.example/x", "https://spiegel.xn--mnchen-3ya.example/x"),
        ("http://192.0.2.1/x", "http://192.0.2.1/x"),
    ],
)
def test_a_url_has_one_form(typed: str, stored: str) -> None:
    assert normalise(typed) == stored


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("gopher://m.example", "must begin with"),
        ("javascript:alert(1)", "must begin with"),
        ("m.example/pub", "must begin with"),
        ("http://", "names no valid host"),
        ("http://:80/x", "names no valid host"),
        ("http://a..example/x", "names no valid host"),
        (f"http://{'a' * 64}.example/x", "names no valid host"),
        (f"http://{'a.' * 150}example/x", "names no valid host"),
        ("http://a<b>.example/x", "names no valid host"),
        ("http://m.example/" + "x" * 1000, "longer than 1000"),
        ("http://user:secret@m.example", "user name"),
        ("http://m.example/?x=1", "must end with the path"),
        ("http://m.example/a b", "blank"),
        ("http://m.example:99999/", "not a URL"),
        ("http://[::1/", "not a URL"),
    ],
)
def test_a_url_that_cannot_be_a_mirror_is_refused_with_the_reason(typed: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        normalise(typed)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3:8080", True),
        ("169.254.169.254", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("127.1", True),
        ("2130706433", True),
        ("0x7f.1", True),
        ("localhost", True),
        ("LOCALHOST.", True),
        ("a.localhost", True),
        ("[::1]", True),
        ("[::ffff:10.0.0.1]", True),
        ("[2002:7f00:1::]", True),
        ("[fd00::1]", True),
        ("[fe80::1]", True),
        ("9.9.9.9", False),
        ("[2606:4700::1]", False),
        ("m.example.org", False),
        ("localhost.example.org", False),
    ],
)
def test_machines_that_are_not_on_the_internet_are_known_by_their_address(host: str, local: bool) -> None:
    assert is_local(normalise(f"http://{host}/pub")) is local
