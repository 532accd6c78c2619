"""Metalink 4 as RFC 5854 wants it: by its RELAX NG grammar, and by what it says in words only."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from mm_lib.cache.schema import FileDetail, MirrorlistCache
from mm_redirector.settings import CLASSIC
from tests.redirector.world import (
    GENERATED_AT,
    NEWEST,
    NOW,
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

GRAMMAR = etree.RelaxNG(etree.parse(Path(__file__).parent / "data/metalink4.rng"))
NAMESPACE = "{urn:ietf:params:xml:ns:metalink}"
TYPE = "application/metalink4+xml"


def valid(answer: Answer) -> etree._Element:
    """The document, which must keep to the grammar and to the words of the RFC."""
    assert (answer.status, answer.headers["Content-Type"]) == (200, TYPE)
    root = etree.fromstring(answer.body)
    assert GRAMMAR.validate(root), GRAMMAR.error_log
    for file in root.iter(f"{NAMESPACE}file"):
        name = file.get("name") or ""
        assert name not in ("", ".", "..")  # 4.1.2.1: it must not lead to another directory
        assert "/" not in name
        for url in file.iter(f"{NAMESPACE}url"):
            assert 1 <= int(url.get("priority") or 0) <= 999_999  # 4.2.16.2
            assert re.fullmatch("[a-z]{2}", url.get("location", "xx"))  # 4.2.16.1
            assert re.fullmatch(r"(https?|ftp|rsync)://[!-;=?-~]+", url.text or "")
    return root


def with_file(name: str, detail: FileDetail = NEWEST) -> MirrorlistCache:
    """One mirror, with one more file."""
    category = fedora()
    files = {**category.files, f"{TOP}/images/{name}": (detail,)}
    category.files = files
    return world(masks=[mask(SWEDE)] * 4, categories=[category], repositories={})


def test_the_grammar_refuses_other_documents() -> None:
    """What proves that the tests below can fail."""
    good = client()(f"/metalink?path={REPODATA}/repomd.xml&format=meta4").body
    for text, other in (
        (b"ns:metalink", b"ns:metalink3"), (b' name="repomd.xml"', b""), (b"<size>", b"<size>-"),
        (b'priority="1"', b'priority="0"'), (b"</published>", b"yesterday</published>"), (b"<hash", b"<hash size='1'"),
    ):  # fmt: skip
        assert GRAMMAR.validate(etree.fromstring(good))
        assert not GRAMMAR.validate(etree.fromstring(good.replace(text, other))), text


def test_the_layout_is_as_in_the_examples_of_the_rfc() -> None:
    answer = client(world(masks=[mask(SWEDE)] * 4))("/metalink?repo=fedora-44&arch=x86_64&format=meta4")
    valid(answer)
    assert answer.text == (
        f"""<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <generator>mirrormanager</generator>
  <published>2026-11-22T23:29:35Z</published>
  <file name="repomd.xml">
    <size>6822</size>
    <hash type="sha-256">{"c" * 64}</hash>
    <hash type="sha-512">{"d" * 128}</hash>
    <hash type="sha-1">{"b" * 40}</hash>
    <hash type="md5">{"a" * 32}</hash>
    <url location="se" priority="1">https://swede.example/{REPODATA}/repomd.xml</url>
    <url location="se" priority="1">http://swede.example/{REPODATA}/repomd.xml</url>
  </file>
</metalink>
"""
    )


@pytest.mark.parametrize(
    "name", ["R&D <1>.iso", "a'\"b.iso", "100%25 ü€𝄞.iso", "]]>.iso", "&amp;.iso", "..iso", "a\\b"]
)
def test_odd_names_are_valid_and_come_back_as_they_were(name: str) -> None:
    answer = client(with_file(name))(f"/metalink?path={quote(f'{TOP}/images/{name}')}&format=meta4")
    (file,) = valid(answer).iter(f"{NAMESPACE}file")
    assert file.get("name") == name
    for url in file.iter(f"{NAMESPACE}url"):
        assert (url.text or "").endswith("/" + quote(name, safe="!$'()*+,;=:@~"))


@given(st.text(st.characters(exclude_characters="/", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_every_name_that_is_answered_is_valid(name: str) -> None:
    answer = client(with_file(name))(f"/metalink?path={quote(f'{TOP}/images/{name}')}&format=meta4")
    if answer.status == 200:
        valid(answer)


def test_a_host_without_a_country_has_no_location() -> None:
    cache = world(hosts=[host(SWEDE, "")], masks=[mask(SWEDE)] * 4, netblock_hosts={}, asn_hosts={})
    root = valid(client(cache)(f"/metalink?path={REPODATA}/repomd.xml&format=meta4"))
    assert [url.get("location") for url in root.iter(f"{NAMESPACE}url")] == [None, None]


def test_priorities_rise_by_one_per_host_without_an_end() -> None:
    """Metalink 3 has only a hundred steps."""
    number = 150
    category = fedora()
    category.urls = {n: (f"http://{n}.example", f"https://{n}.example") for n in range(number)}
    cache = world(
        hosts=[host(n, "SE") for n in range(number)], masks=[(1 << number) - 1] * 4, categories=[category],
        repositories={}, netblock_hosts={}, asn_hosts={},
    )  # fmt: skip
    root = valid(client(cache, CLASSIC)(f"/metalink?path={REPODATA}/repomd.xml&format=meta4"))
    priorities = [int(url.get("priority") or 0) for url in root.iter(f"{NAMESPACE}url")]
    assert priorities == [rank for rank in range(1, number + 1) for _ in range(2)]


def test_an_answer_without_a_mirror_is_valid() -> None:
    root = valid(client(world(masks=[0] * 4))(f"/metalink?path={REPODATA}/repomd.xml&format=meta4"))
    assert list(root.iter(f"{NAMESPACE}url")) == []


def test_what_is_not_known_is_left_out() -> None:
    detail = NEWEST._replace(size=0, timestamp=0, md5="", sha1="", sha512="")
    root = valid(client(with_file("a", detail))(f"/metalink?path={TOP}/images/a&format=meta4"))
    (file,) = root.iter(f"{NAMESPACE}file")
    assert file.find(f"{NAMESPACE}size") is None
    assert [hash_.get("type") for hash_ in file.iter(f"{NAMESPACE}hash")] == ["sha-256"]


def test_private_mirrors_and_other_protocols_are_valid() -> None:
    for address in ("10.1.2.3", "192.0.2.7"):
        valid(client()("/metalink?repo=fedora-44&arch=x86_64&format=meta4", address))


@pytest.mark.parametrize("path", ["/metalink?repo=fedora-44&arch=x86_64", f"/redirect/{REPODATA}/repomd.xml"])
@pytest.mark.parametrize("accept", [TYPE, f"*/*, {TYPE}", f"application/metalink+xml;q=0.5, {TYPE.upper()};q=0.9"])
def test_a_client_that_asks_for_the_type_gets_it(path: str, accept: str) -> None:
    valid(client()(path, Accept=accept))


def test_the_time_of_publication_is_the_time_of_the_answer() -> None:
    """Not of the cache: the order is drawn for this answer."""
    assert GENERATED_AT != NOW
    root = valid(client()("/metalink?repo=fedora-44&arch=x86_64&format=meta4"))
    assert root.findtext(f"{NAMESPACE}published") == "2026-11-22T23:29:35Z"
