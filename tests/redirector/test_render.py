"""Decisions as answers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.query import Kind, Reason, Refusal
from mm_redirector.render import METALINK, STATUS, TEXT, refuse
from tests.redirector.world import (
    IN_AMERICA,
    IN_SWEDEN,
    NOW,
    REPODATA,
    SWEDE,
    TOP,
    client,
    fedora,
    host,
    mask,
    world,
)  # fmt: skip

HEADER = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" '
    'pubdate="Sun, 22 Nov 2026 23:29:35 GMT" generator="mirrormanager" '
    'xmlns:mm0="http://fedorahosted.org/mirrormanager">\n'
)
ONE_HOST = mask(SWEDE)


def test_a_metalink_has_the_exact_layout_of_the_reference() -> None:
    ask = client(world(masks=[ONE_HOST] * 4))
    assert ask("/metalink?repo=fedora-44&arch=x86_64").text == (
        HEADER
        + f""" <files>
  <file name="repomd.xml">
   <mm0:timestamp>1767222000</mm0:timestamp>
   <size>6822</size>
   <verification>
    <hash type="md5">{"a" * 32}</hash>
    <hash type="sha1">{"b" * 40}</hash>
    <hash type="sha256">{"c" * 64}</hash>
    <hash type="sha512">{"d" * 128}</hash>
   </verification>
   <mm0:alternates>
    <mm0:alternate>
      <mm0:timestamp>1767135600</mm0:timestamp>
      <size>3408</size>
      <verification>
       <hash type="md5">{"1" * 32}</hash>
       <hash type="sha1">{"2" * 40}</hash>
       <hash type="sha256">{"3" * 64}</hash>
       <hash type="sha512">{"4" * 128}</hash>
      </verification>
    </mm0:alternate>
   </mm0:alternates>
   <resources maxconnections="1">
    <url protocol="https" type="https" location="SE" preference="100">https://swede.example/{REPODATA}/repomd.xml</url>
    <url protocol="http" type="http" location="SE" preference="100">http://swede.example/{REPODATA}/repomd.xml</url>
   </resources>
  </file>
 </files>
</metalink>
"""
    )


def test_unknown_values_and_an_empty_history_are_left_out() -> None:
    category = fedora()
    category.files[f"{TOP}/images/a.iso"] = (category.files[f"{REPODATA}/repomd.xml"][0]._replace(
        timestamp=0, size=0, md5="", sha1="", sha512=""
    ),)  # fmt: skip
    text = client(world(masks=[0] * 4, categories=[category], repositories={}))(
        f"/metalink?path={TOP}/images/a.iso"
    ).text
    assert text == HEADER + (
        ' <files>\n  <file name="a.iso">\n   <verification>\n'
        f'    <hash type="sha256">{"c" * 64}</hash>\n   </verification>\n'
        '   <resources maxconnections="1">\n   </resources>\n  </file>\n </files>\n</metalink>\n'
    )


def test_preference_falls_by_one_per_host_to_one_in_document_order() -> None:
    hosts = [host(number, "SE") for number in range(120)]
    category = fedora()
    category.urls = {n: (f"http://{n}.example", f"https://{n}.example") for n in range(120)}
    cache = world(hosts=hosts, masks=[(1 << 120) - 1] * 4, categories=[category], repositories={}, netblock_hosts={})
    root = ElementTree.fromstring(client(cache)(f"/metalink?path={REPODATA}/repomd.xml").text)
    preferences = [int(url.get("preference", "")) for url in root.iter("{http://www.metalinker.org/}url")]
    assert preferences == [max(1, 100 - rank) for rank in range(120) for _ in range(2)]


def test_private_hosts_are_marked() -> None:
    text = client()("/metalink?repo=fedora-44&arch=x86_64", "10.1.2.3").text
    assert f'preference="100" mm0:private="True">http://lab.example/{REPODATA}/repomd.xml</url>' in text
    assert text.count("mm0:private") == 2


def test_xml_is_escaped() -> None:
    """In the reference "&" and "<" break the document (D9)."""
    category = fedora()
    category.urls[SWEDE] = ("https://swede.example/?a=1&b=<2>'\"",)
    cache = world(masks=[ONE_HOST] * 4, categories=[category], repositories={})
    text = client(cache)(f"/metalink?path={TOP}/images/R%26D%20%3C1%3E.iso").text
    assert '<file name="R&amp;D &lt;1&gt;.iso">' in text
    root = ElementTree.fromstring(text)
    (url,) = root.iter("{http://www.metalinker.org/}url")
    assert url.text == "https://swede.example/?a=1&b=%3C2%3E'%22/images/R%26D%20%3C1%3E.iso"


def test_a_list_names_directories_with_a_slash() -> None:
    ask = client(world(masks=[ONE_HOST] * 4))
    assert ask(f"/mirrorlist?path={TOP}").urls == [f"https://swede.example/{TOP}/"]
    assert ask(f"/mirrorlist?path={REPODATA}").urls == [f"https://swede.example/{REPODATA}/"]
    assert ask(f"/mirrorlist?path={REPODATA}/f").urls == [f"https://swede.example/{REPODATA}/f"]


def test_without_a_top_directory_the_whole_path_follows_the_base_url() -> None:
    ask = client()
    assert ask("/mirrorlist?path=dists/trixie").urls == ["https://swede.example/debian/dists/trixie/"]
    assert ask("/mirrorlist?path=README").urls == ["https://swede.example/debian/README"]


def test_a_file_name_cannot_add_to_a_url() -> None:
    (url,) = client(world(masks=[ONE_HOST] * 4))(f"/mirrorlist?path={TOP}/a%3Fb%23c%20%25%22é").urls
    assert url == f"https://swede.example/{TOP}/a%3Fb%23c%20%25%22%C3%A9"


def test_https_is_preferred_in_lists() -> None:
    """In the reference the order of the cache decides (D8)."""
    urls = client()("/mirrorlist?repo=fedora-44&arch=x86_64&country=DK").urls
    assert urls == [f"https://dane.example/{TOP}/releases/44/x86_64/os/"]


def test_several_protocols_give_several_urls_of_a_host() -> None:
    ask = client(world(masks=[ONE_HOST] * 4))
    urls = ask(f"/mirrorlist?path={TOP}&protocol=http,https,rsync").urls
    assert urls == [f"https://swede.example/{TOP}/", f"http://swede.example/{TOP}/"]


def test_an_asked_protocol_is_echoed_without_a_blank_behind_it() -> None:
    answer = client()(f"/mirrorlist?path={TOP}&protocol=rsync,ftp&country=DE")
    assert answer.comment == f"# path = {TOP} country = DE protocol = rsync,ftp"


def test_a_metalink_without_protocol_shows_all_urls() -> None:
    text = client()("/metalink?repo=fedora-44&arch=x86_64&country=DE").text
    assert f'type="rsync" location="DE" preference="100">rsync://berliner.example/{REPODATA}/repomd.xml' in text or (
        'type="rsync" location="DE" preference="99">' in text
    )


def test_the_time_of_the_cache_is_a_second_comment() -> None:
    answer = client()(f"/mirrorlist?path={TOP}&time&country=XX", IN_AMERICA)
    assert answer.text.startswith(
        f"# path = {TOP} country = US country = global \n# database creation time: 1790000000\nh"
    )


def test_a_list_without_hosts_is_its_comment() -> None:
    assert client()(f"/mirrorlist?path={TOP}&country=AT", IN_SWEDEN).text == f"# path = {TOP} country = AT \n"


def test_a_netblock_is_mentioned_once_and_an_autonomous_system_by_number() -> None:
    comment = client()("/mirrorlist?repo=fedora-44&arch=x86_64", "10.1.2.9").comment
    assert comment == ("# repo = fedora-44 arch = x86_64 Using preferred netblock Using ASN 1221 ")


def test_a_failure_is_a_metalink_without_files() -> None:
    answer = refuse(Refusal(Reason.INVALID_PATH, "error: invalid path"), Kind.METALINK, NOW)
    assert answer.body.decode() == HEADER + "<!-- error: invalid path\n-->\n</metalink>\n"


@given(st.text(alphabet="-><!a"))
def test_no_message_breaks_a_failure(message: str) -> None:
    ElementTree.fromstring(refuse(Refusal(Reason.INVALID_PATH, message), Kind.METALINK, NOW).body)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_refusal_has_a_status_a_type_and_a_length(reason: Reason) -> None:
    """The reference leaves the type out (D7)."""
    for kind, content_type in ((Kind.METALINK, METALINK), (Kind.MIRRORLIST, TEXT), (None, TEXT)):
        answer = refuse(Refusal(reason, "why"), kind, NOW)
        headers = dict(answer.headers)
        assert answer.status is STATUS[reason]
        assert headers["Content-Type"] == content_type
        assert headers["Content-Length"] == str(len(answer.body))
