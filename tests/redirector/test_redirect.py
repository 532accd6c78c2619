"""/redirect/PATH: to the best mirror, with the others (RFC 6249) and the hashes (RFC 9530, RFC 3230) in headers."""

from __future__ import annotations

import re
from base64 import b64decode
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote, urljoin

import pytest

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector.settings import CLASSIC, Policy
from tests.redirector.world import (
    IN_SWEDEN,
    NEWEST,
    OS,
    REPODATA,
    SWEDE,
    TOP,
    Answer,
    client,
    fedora,
    host,
    mask,
    world,
)  # fmt: skip

REPOMD = f"{REPODATA}/repomd.xml"
HOST = "mirrors.example:8080"
# RFC 8288, with what RFC 6249 adds, as strictly as we write it.
LINK = re.compile(
    r"<(?P<url>[!-;=?-~]+)>; rel=(?:duplicate; pri=(?P<pri>[1-9][0-9]{0,5})(?:; geo=(?P<geo>[a-z]{2}))?"
    r'|(?P<described>describedby); type="application/metalink4\+xml")'
)
REPR_DIGEST = re.compile(r"([a-z0-9-]+)=:([A-Za-z0-9+/]+={0,2}):")  # RFC 9530: a dictionary of byte sequences
DIGEST = re.compile(r"([A-Z0-9-]+)=([A-Za-z0-9+/]+={0,2})")  # RFC 3230, with the names that RFC 5843 registered


class Link(NamedTuple):
    """One Link header."""

    url: str
    pri: int | None
    geo: str | None


def links(answer: Answer) -> tuple[list[Link], list[str]]:
    """The duplicates, and the descriptions; each header must be well formed."""
    duplicates, descriptions = [], []
    for text in answer.every("Link"):
        found = LINK.fullmatch(text)
        assert found, text
        if found["described"]:
            descriptions.append(found["url"])
        else:
            duplicates.append(Link(found["url"], int(found["pri"]), found["geo"]))
    return duplicates, descriptions


def described(path: str = f"/redirect/{REPOMD}", policy: Policy = CLASSIC, **headers: str) -> str:
    """The address of the metalink that describes what is redirected to."""
    (address,) = links(client(policy=policy)(path, **headers))[1]
    return address


def only_sweden(**changes: object) -> MirrorlistCache:
    return world(masks=[mask(SWEDE)] * 4, **changes)


def test_a_file_is_redirected_to_the_best_mirror() -> None:
    answer = client(only_sweden())(f"/redirect/{REPOMD}")
    assert (answer.status, answer.body) == (HTTPStatus.FOUND, b"")
    assert answer.headers["Location"] == f"https://swede.example/{REPOMD}"


@pytest.mark.parametrize("path", [OS, f"{OS}/", f"/{OS}//"])
def test_a_directory_is_redirected_to_its_address_with_a_slash(path: str) -> None:
    assert client(only_sweden())(f"/redirect/{path}").headers["Location"] == f"https://swede.example/{OS}/"


def test_a_file_that_nothing_is_known_about_is_redirected_without_digest_or_description() -> None:
    answer = client()(f"/redirect/{OS}/unknown.rpm")
    duplicates, descriptions = links(answer)
    assert duplicates
    assert descriptions == []
    assert {"Digest", "Repr-Digest"}.isdisjoint(answer.headers)


def test_the_first_duplicate_is_where_the_redirect_leads_and_the_others_follow_by_priority() -> None:
    answer = client()(f"/redirect/{REPOMD}")
    duplicates, _ = links(answer)
    assert duplicates[0].url == answer.headers["Location"]
    assert [link.pri for link in duplicates] == list(range(1, len(duplicates) + 1))
    assert len({link.url for link in duplicates}) == len(duplicates) > 1


def test_duplicates_name_the_country_where_it_is_known() -> None:
    hosts = [host(0, "SE"), host(1, "")]
    cache = world(hosts=hosts, masks=[mask(0, 1)] * 4, netblock_hosts={}, asn_hosts={})
    duplicates, _ = links(client(cache)(f"/redirect/{REPOMD}"))
    assert [(link.geo, "swede" in link.url) for link in duplicates] == [("se", True), (None, False)]


def test_no_more_than_ten_duplicates_are_named() -> None:
    category = fedora()
    category.urls = {n: (f"http://{n}.example",) for n in range(30)}
    hosts = [host(n, "SE") for n in range(30)]
    cache = world(hosts=hosts, masks=[(1 << 30) - 1] * 4, categories=[category], netblock_hosts={}, asn_hosts={})
    assert len(links(client(cache)(f"/redirect/{REPOMD}"))[0]) == 10


def test_the_description_is_a_metalink_of_the_same_file() -> None:
    ask = client()
    answer = ask(described(), Host=HOST)
    assert answer.headers["Content-Type"] == "application/metalink4+xml"
    assert '<file name="repomd.xml">' in answer.text


@pytest.mark.parametrize("name", ["R&D <1>.iso", "a+b'.iso", 'x">, <y.iso', "ü€.iso", "100%25;rel=x.iso"])
def test_an_odd_name_adds_nothing_to_a_header_and_its_description_is_found(name: str) -> None:
    category = fedora()
    category.files = {**category.files, f"{TOP}/images/{name}": (NEWEST,)}
    ask = client(only_sweden(categories=[category], repositories={}))
    duplicates, (address,) = links(ask(f"/redirect/{quote(f'{TOP}/images/{name}')}"))
    assert duplicates[0].url == "https://swede.example/" + quote(f"{TOP}/images/{name}", safe="/!$'()*+,;=:@~")
    assert ask(address).status == HTTPStatus.OK


def test_the_description_has_the_host_that_the_client_asked() -> None:
    """wget2 takes an address without one for the name of a host."""
    assert described(Host=HOST) == f"http://{HOST}/metalink?path={REPOMD}&format=meta4"
    assert described(Host="[2001:db8::1]:80").startswith("http://[2001:db8::1]:80/metalink?")


@pytest.mark.parametrize("hostile", ["", "a b", "a>; rel=x", "a/b", "a\r\nX: y", "user@host", "a:b", "ü", "[::1"])
def test_what_is_no_host_is_not_repeated(hostile: str) -> None:
    assert described(Host=hostile) == f"/metalink?path={REPOMD}&format=meta4"


def test_a_mount_point_stays_in_the_address_of_the_description() -> None:
    path = f"/mirrors/redirect/{REPOMD}"
    assert described(path, Host=HOST).startswith(f"http://{HOST}/mirrors/metalink?")
    assert described(path).startswith("/mirrors/metalink?")


def test_a_proxy_tells_the_scheme() -> None:
    behind = CLASSIC._replace(trusted_proxies=1)
    assert described(policy=behind, Host=HOST, X_Forwarded_Proto="https").startswith(f"https://{HOST}/metalink?")


@pytest.mark.parametrize("proto", ["", "gopher", "https, http"])
def test_without_a_known_scheme_the_client_keeps_its_own(proto: str) -> None:
    """Else a client that came by https through a silent proxy would be led to http."""
    behind = CLASSIC._replace(trusted_proxies=1)
    assert described(policy=behind, Host=HOST, X_Forwarded_Proto=proto).startswith("/metalink?")


def test_a_client_without_a_proxy_cannot_choose_the_scheme() -> None:
    assert described(Host=HOST, X_Forwarded_Proto="https").startswith("http://")


def test_the_path_cannot_lead_to_another_server() -> None:
    address = described(f"//evil.example/redirect/{REPOMD}")
    assert urljoin("https://ours.example/x", address).startswith("https://ours.example/")


def test_both_digests_are_those_of_the_newest_version() -> None:
    answer = client()(f"/redirect/{REPOMD}")
    for header, syntax, separator in (("Repr-Digest", REPR_DIGEST, ", "), ("Digest", DIGEST, ",")):
        found = [syntax.fullmatch(item) for item in answer.headers[header].split(separator)]
        values = {item[1].lower(): b64decode(item[2]).hex() for item in found if item}
        assert len(values) == len(found)
        assert values == {"sha-256": NEWEST.sha256, "sha-512": NEWEST.sha512}


def test_a_hash_that_is_not_known_has_no_digest() -> None:
    category = fedora()
    category.files = {REPOMD: (NEWEST._replace(sha512=""),)}
    headers = client(only_sweden(categories=[category], repositories={}))(f"/redirect/{REPOMD}").headers
    assert headers["Digest"].startswith("SHA-256=")
    assert "512" not in headers["Digest"] + headers["Repr-Digest"]


def test_caches_keep_the_answer_apart_from_the_metalink_at_the_same_address() -> None:
    assert client()(f"/redirect/{REPOMD}").headers["Vary"] == "Accept"
    assert client()(f"/redirect/{REPOMD}", Accept="application/metalink4+xml").headers["Vary"] == "Accept"


def test_https_can_be_demanded() -> None:
    answer = client()(f"/redirect/{REPOMD}?protocol=https")
    assert all(link.url.startswith("https://") for link in links(answer)[0])
    cache = world(categories=[_http_only()], repositories={})
    assert client(cache)(f"/redirect/{REPOMD}?protocol=https").status == HTTPStatus.NOT_FOUND


def _http_only() -> object:
    category = fedora()
    category.urls = {SWEDE: (f"http://swede.example/{TOP}",)}
    return category


@pytest.mark.parametrize("path", ["nowhere/x", "", "..", f"{OS}/..", "/"])
def test_what_no_mirror_has_is_not_found(path: str) -> None:
    assert client()(f"/redirect/{path}").status == HTTPStatus.NOT_FOUND


def test_head_has_the_same_headers() -> None:
    ask = client(only_sweden())
    assert ask(f"/redirect/{REPOMD}", IN_SWEDEN, "HEAD").headers == ask(f"/redirect/{REPOMD}").headers


def test_the_redirect_of_a_list_has_no_links() -> None:
    """As it always was."""
    answer = client()(f"/mirrorlist?path={REPOMD}&redirect")
    assert answer.status == HTTPStatus.FOUND
    assert answer.every("Link") == []
