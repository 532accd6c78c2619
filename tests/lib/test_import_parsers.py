"""Lists of other projects: what is taken of them, what is repaired, and that hostile ones end in notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_lib.importers import countries
from mm_lib.importers.cleaning import Options, clean
from mm_lib.importers.decoding import decode
from mm_lib.importers.drafts import MAX_CHARACTERS, DraftUrl, MirrorDraft
from mm_lib.importers.importing import FORMATS, read_source
from mm_lib.importers.merging import Merger
from mm_lib.importers.report import Report
from mm_lib.registry.documents import SiteFile, plain
from mm_lib.services.host_details import Limits

LISTS = Path(__file__).parent / "lists"
OPTIONS = Options({"": "Linux", "archive": "Debian", "cdimage": "Debian CD"}, limits=Limits())


def taken(format_name: str, data: bytes, options: Options = OPTIONS) -> tuple[dict[str, SiteFile], Report]:
    """The sites that an empty registry would have, and the report."""
    report = Report()
    merger = Merger({}, report)
    for one in read_source(format_name, [("list", data)]):
        if not isinstance(one, MirrorDraft):
            report.add(one)
        elif cleaned := clean(one, options, report):
            merger.add(cleaned)
    return {site.name: site for site in merger.sites()}, report


def reasons(report: Report, outcome: str) -> list[tuple[str, str, str]]:
    """Kind, place and reason of the notes."""
    return [(note.kind, note.where, note.reason) for note in report.notes if note.outcome == outcome]


# -- AlmaLinux


def test_an_almalinux_mirror_is_taken_with_all_its_fields() -> None:
    sites, _ = taken("almalinux", (LISTS / "almalinux.yml").read_bytes())
    [host] = plain(sites["Universität Beispiel"])["hosts"]
    assert host == {
        "name": "mirror.uni-beispiel.de",
        "country": "DE",
        "comment": "City: Nuremberg\nState or province: Bavaria\nUpdate frequency: 3h",
        "robot_email": "mirror@uni-beispiel.de",
        "own_asns": [680],
        "categories": [
            {
                "category": "Linux",
                "urls": [
                    "https://mirror.uni-beispiel.de/almalinux",
                    "http://mirror.uni-beispiel.de/almalinux",
                    "rsync://mirror.uni-beispiel.de/almalinux",
                    "ftp://ftp.uni-beispiel.de/almalinux",
                ],
            }
        ],
    }


def test_networks_and_numbers_may_be_lists_and_the_first_number_is_the_own_one() -> None:
    sites, _ = taken("almalinux", (LISTS / "almalinux.yml").read_bytes())
    [host] = plain(sites["Cloud Beispiel"])["hosts"]
    assert (host["own_asns"], host["peer_asns"], host["private"]) == ([16509], [14618], True)
    assert host["robot_email"] == "ops@cloud-beispiel.net"
    assert host["netblocks"] == ["203.0.112.0/22", "2a05:d018::/36"]


def test_what_is_wrong_with_an_almalinux_list_is_repaired_or_refused_by_line() -> None:
    _, report = taken("almalinux", (LISTS / "almalinux.yml").read_bytes())
    assert ("country", "list:16", "'UK' is no code; GB is meant") in reasons(report, "repaired")
    assert ("host", "list:28", "stands in the source before (list:2); both were put together") in reasons(
        report, "repaired"
    )
    refused = reasons(report, "refused")
    assert ("field", "list:32", "the field motto has no place in the registry") in refused
    assert ("mirror", "list:36", "is no mapping with a name and addresses") in refused
    assert any(kind == "netblock" and "is not fetched" in reason for kind, _, reason in refused)
    assert any(kind == "field" and "no monopoly" in reason for kind, _, reason in refused)
    assert ("host", "list:33", "none of its URLs can be taken") in refused


@pytest.mark.parametrize(
    ("text", "place"),
    [("{name: [a], address: {http: 'http://m.org/x'}}", "must be one value"), ("{name: a, address: x}", "a mapping"),
     ("{name: a, geolocation: {planet: Mars}}", "no place"), ("{name: a, subnets: [[8.8.8.0/24]]}", "list of values"),
     ("{name: a, address: {http: [x]}}", "one value")],
)  # fmt: skip
def test_a_field_of_another_kind_is_refused_not_dropped(text: str, place: str) -> None:
    _, report = taken("almalinux", text.encode())
    assert any(place in reason for kind, _, reason in reasons(report, "refused") if kind == "field")


@pytest.mark.parametrize("bomb", ["a: &a [1]\nb: *a\n", "!!python/object/apply:os.system [ls]", "[" * 300])
def test_yaml_that_is_more_than_text_is_refused(bomb: str) -> None:
    sites, report = taken("almalinux", bomb.encode())
    assert not sites
    assert [note.kind for note in report.notes] == ["file"]


# -- Debian


def test_a_masterlist_mirror_is_taken_with_a_category_for_each_part() -> None:
    sites, _ = taken("masterlist", (LISTS / "Mirrors.masterlist").read_bytes())
    site = plain(sites["Beispiel Austria"])
    [host] = site["hosts"]
    assert site["org_url"] == "https://www.beispiel.at"
    assert (host["country"], host["robot_email"]) == ("AT", "mirror@at.beispiel.org")
    assert host["comment"] == "Location: Vienna\nin the basement of the old house"
    assert {one["category"]: one["urls"] for one in host["categories"]} == {
        "Debian": ["http://ftp.at.beispiel.org/debian", "rsync://ftp.at.beispiel.org/debian"],
        "Debian CD": ["http://ftp.at.beispiel.org/debian-cd"],
    }


def test_what_a_masterlist_says_in_vain_is_refused_by_line() -> None:
    sites, report = taken("masterlist", (LISTS / "Mirrors.masterlist").read_bytes())
    refused = reasons(report, "refused")
    assert ("url", "list:1", "no category is given for Ports (--category Ports=NAME)") in refused
    assert ("field", "list:1", "the field Type has no place in the registry") in refused
    assert ("field", "list:22", "is neither a field nor part of one") in refused
    assert ("country", "list:25", "no country is known as 'Atlantis'") in refused
    assert ("url", "list:29", "is a path without a host") in refused
    assert plain(sites["Beispiel Ltd."])["hosts"][0]["country"] == "GB"


def test_of_several_sponsors_and_mailboxes_the_first_is_taken_and_said_so() -> None:
    people = "Sponsor: A Ltd. http://a.org/, B http://b.org\nMaintainer: x <x@m.org>, <y@m.org>\n"
    text = f"Site: m.org\nArchive-http: /d/\n{people}"
    sites, report = taken("masterlist", text.encode())
    assert (sites["A Ltd."].org_url, sites["A Ltd."].hosts[0].robot_email) == ("http://a.org", "x@m.org")
    assert [kind for kind, _, _ in reasons(report, "repaired")] == ["site", "email"]


def test_a_field_that_stands_there_twice_is_not_lost_in_silence() -> None:
    text = "Site: m.org\nArchive-http: /d/\narchive-HTTP: /d2/\n"
    sites, report = taken("masterlist", text.encode())
    assert plain(sites["m.org"])["hosts"][0]["categories"][0]["urls"] == ["http://m.org/d"]
    assert reasons(report, "refused") == [("field", "list:3", "stands there before; that one counts")]


def test_an_apt_list_has_a_country_for_the_urls_below_it() -> None:
    sites, report = taken("apt-list", b"mirror://x.org/m.txt\n#LOC:DE\nhttp://a.de/d/\n\n#LOC:UK\n  http://b.uk/d  \n")
    assert {name: site.hosts[0].country for name, site in sites.items()} == {"a.de": "DE", "b.uk": "GB"}
    assert [place for _, place, _ in reasons(report, "refused")] == ["list:1"]


# -- Arch, mirrorbits, CSV


def test_urls_of_one_host_in_an_arch_status_become_one_host() -> None:
    urls = [
        {"url": "https://m.org/arch/", "country_code": "SE", "active": True},
        {"url": "rsync://m.org/arch/", "country_code": "SE", "active": True},
        {"url": "https://old.org/arch/", "country_code": "SE", "active": False},
        {"nothing": 1},
    ]
    sites, report = taken("arch", json.dumps({"urls": urls, "version": 3}).encode())
    assert plain(sites["m.org"])["hosts"][0]["categories"][0]["urls"] == ["https://m.org/arch", "rsync://m.org/arch"]
    assert [reason for _, _, reason in reasons(report, "refused")] == ["is not active there", "has no url"]


MIRRORBITS = (
    "Identifier \tHTTP                     \tRSYNC           \tFTP \tLOCATION \tSTATE   \n"
    "fast       \thttp://fast.org/videos/  \trsync://fast.org/v\t    \tDE (EU)  \tup      \n"
    "broken     \tbroken.org/videos        \t                \t    \tFR (EU)  \tdown    \n"
    "gone       \thttp://gone.org/videos/  \t                \t    \tFR (EU)  \tdisabled\n"
)


def test_columns_of_mirrorbits_are_found_by_their_headings() -> None:
    sites, report = taken("mirrorbits", MIRRORBITS.encode())
    [host] = plain(sites["fast"])["hosts"]
    assert host["categories"][0]["urls"] == ["http://fast.org/videos", "rsync://fast.org/v"]
    assert host["country"] == "DE"
    assert ("url", "list:3", "has no scheme; taken as http://broken.org/videos") in reasons(report, "repaired")
    assert ("host", "list:4", "is disabled there") in reasons(report, "refused")


def test_mirrorbits_exports_country_url_and_mailbox() -> None:
    sites, _ = taken("mirrorbits", b"CH\thttp://m.ch/v/\tops@m.ch\n")
    [host] = plain(sites["m.ch"])["hosts"]
    assert (host["country"], host["robot_email"]) == ("CH", "ops@m.ch")


def test_a_table_may_have_semicolons_several_rows_per_host_and_its_own_categories() -> None:
    table = (
        "Host;Site;Country;Bandwidth;Category;URL;ASN;wat\r\n"
        "m.org;We;Österreich;1000;Debian;https://m.org/d;AS64500, 64501;\r\n"
        'm.org;We;;lots;"Debian CD";https://m.org/cd rsync://m.org/cd;;;surplus\r\n'
    )
    options = Options({}, parts_are_categories=True)
    sites, report = taken("csv", table.encode("utf-8-sig"), options)
    [host] = plain(sites["We"])["hosts"]
    assert (host["country"], host["bandwidth_mbps"], host["own_asns"], host["peer_asns"]) == (
        "AT",
        1000,
        [64500],
        [64501],
    )
    assert [one["category"] for one in host["categories"]] == ["Debian", "Debian CD"]
    assert {kind for kind, _, _ in reasons(report, "refused")} == {"column", "bandwidth_mbps", "cell"}


def test_several_columns_for_one_thing_add_up_or_contradict_and_that_is_said() -> None:
    table = (
        "name,hostname,netblocks,subnets,https,category\nPretty,m.org,8.8.8.0/24,8.8.4.0/24,https://m.org/d,Debian\n"
    )
    sites, report = taken("csv", table.encode(), Options({}, parts_are_categories=True))
    [host] = sites["Pretty"].hosts
    assert (host.name, [str(entry.netblock) for entry in host.netblocks]) == ("Pretty", ["8.8.8.0/24", "8.8.4.0/24"])
    assert reasons(report, "refused") == [("host", "list:2", "another column says 'Pretty', which was taken")]


# -- all of them


@pytest.mark.parametrize(
    ("written", "code"),
    [("de", "DE"), ("UK", "GB"), ("Deutschland", "DE"), ("Czech Republic", "CZ"), ("Türkiye", "TR"), ("turkey", "TR"),
     ("Korea, Republic of", "KR"), ("US United States", "US"), ("  south   korea ", "KR"), ("USA", "US"), ("XX", None)],
)  # fmt: skip
def test_countries_are_known_by_code_mistake_and_name(written: str, code: str | None) -> None:
    assert countries.find(written).code == code


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_say_how_to_read(encoding: str) -> None:
    assert decode("Zürich\r\nBern\r".encode(encoding), "f") == ("Zürich\nBern\n", [])


def test_text_that_is_not_utf8_is_read_as_latin1_and_said_so() -> None:
    text, [note] = decode("ok\nZürich\n".encode("latin-1"), "f")
    assert (text, note.where, note.outcome) == ("ok\nZürich\n", "f:2", "repaired")


@pytest.mark.parametrize("data", [b"\x00\x01", b"\xff\xfe\x00\xd8", b"x" * (MAX_CHARACTERS + 1)])
def test_what_is_no_text_or_too_long_is_refused(data: bytes) -> None:
    text, notes = decode(data, "f")
    assert text is None
    assert notes[-1].outcome == "refused"


@pytest.mark.parametrize(
    "name", ["http://10.0.0.1/x", "https://user:secret@m.org/x", "https://m.org/?x", "/only/a/path"]
)
def test_odd_urls_are_refused(name: str) -> None:
    report = Report()
    assert clean(MirrorDraft("f:1", (DraftUrl(name),)), OPTIONS, report) is None
    assert report.notes[0].kind == "url"


def test_a_mirror_without_a_url_is_refused() -> None:
    report = Report()
    assert clean(MirrorDraft("f:1", host="m.org"), OPTIONS, report) is None
    assert clean(MirrorDraft("f:2", host="http://["), OPTIONS, report) is None
    assert [(note.where, note.reason) for note in report.notes if note.outcome == "refused"] == [
        ("f:1", "has no URL"),
        ("f:2", "has neither a name nor a URL"),
    ]


def test_a_host_with_too_many_urls_is_refused_by_name() -> None:
    lines = "".join(f"https://m.org/{number}\n" for number in range(10_001))
    sites, report = taken("apt-list", lines.encode())
    assert not sites
    assert [(note.kind, note.subject) for note in report.notes] == [("site", "m.org")]


def test_networks_beyond_the_limits_are_refused_unless_unlimited() -> None:
    draft = MirrorDraft("f:1", (DraftUrl("https://m.org/x"),), netblocks=("8.0.0.0/8", "8.8.8.8/24"))
    limited, unlimited = (clean(draft, Options({"": "L"}, limits=limits), Report()) for limits in (Limits(), None))
    assert limited and unlimited
    assert (limited.netblocks, unlimited.netblocks) == (["8.8.8.0/24"], ["8.0.0.0/8", "8.8.8.0/24"])


WORDS = st.sampled_from(
    ["name:", "address:", "{", "}", "[", "]", "- ", "\n", "Site: a.b\n", "Archive-http: /x\n", "#LOC:DE\n", "http://",
     "https://m.org/x", "rsync:///", "\t", ",", ";", '"', "Identifier \tHTTP \tSTATE\n", '{"urls": [', '"url"',
     "host,url\n", "asn: ", "9" * 40, "&a", "*a", "!!", "\ufeff", "ü", "\x85", "subnets", "UK", "://[", "country: "]
)  # fmt: skip


@settings(max_examples=60)
@given(format_name=st.sampled_from(sorted(FORMATS)), parts=st.lists(WORDS | st.text(max_size=4), max_size=40))
def test_no_text_makes_an_import_fail(format_name: str, parts: list[str]) -> None:
    taken(format_name, "".join(parts).encode("utf-8", "surrogatepass"))


@settings(max_examples=40)
@given(format_name=st.sampled_from(sorted(FORMATS)), data=st.binary(max_size=200))
def test_no_bytes_make_an_import_fail(format_name: str, data: bytes) -> None:
    taken(format_name, data)
