"""What clients may ask beyond the reference, and whom they are taken for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector.app import Application
from mm_redirector.index import build
from mm_redirector.settings import BALANCED, CLASSIC
from tests.redirector.world import (
    CAMPUS,
    DANE,
    GERMAN,
    IN_AMERICA,
    IN_SWEDEN,
    OS,
    REPODATA,
    SWEDE,
    TOP,
    YANK,
    Answer,
    Atlas,
    cast,
    client,
    environment,
    mask,
    request,
    world,
)  # fmt: skip

FEDORA = "repo=fedora-44&arch=x86_64"
FILE = f"{REPODATA}/repomd.xml"
METALINK, META4 = "application/metalink+xml", "application/metalink4+xml"


def hosts_of(answer: Answer) -> list[str]:
    """First labels of the hosts in a list."""
    return [url.split("/")[2].split(".")[0] for url in answer.urls]


def told(url: str, cache: MirrorlistCache | None = None, address: str = IN_SWEDEN, **headers: str) -> Any:
    return json.loads(client(cache, BALANCED)(url, address, **headers).text)


# location=, avoid_country=, cc=, version=, ipv4=, ipv6=


GROUPS = world(location_hosts={"campus": mask(YANK, CAMPUS), "lab": mask(GERMAN)})


def test_a_location_group_comes_first() -> None:
    """PY's first stage (1.1); its cache was never filled."""
    answer = client(GROUPS, BALANCED)(f"/mirrorlist?path={OS}&location=campus")
    assert hosts_of(answer)[:2] == ["yank", "swede"]
    assert answer.comment.startswith(f"# path = {OS} location = campus country = SE ")


def test_several_location_groups_are_taken_in_alphabetical_order() -> None:
    answer = client(GROUPS, BALANCED)(f"/mirrorlist?path={OS}&location=lab,campus")
    assert hosts_of(answer)[:2] == ["yank", "german"]


@pytest.mark.parametrize("value", ["", "CAMPUS", "nowhere", ",,"])
def test_an_unknown_location_group_changes_nothing(value: str) -> None:
    assert client(GROUPS, BALANCED)(f"/mirrorlist?path={OS}&location={value}").comment.split()[4] == "country"


def test_a_private_host_is_not_reached_by_a_location_group() -> None:
    assert "campus" not in hosts_of(client(GROUPS, BALANCED)(f"/mirrorlist?path={OS}&location=campus"))


@pytest.mark.parametrize("value", ["SE", "se", "se,XX", "Se,,SE"])
def test_an_avoided_country_is_left_out_in_any_case(value: str) -> None:
    """Users of the reference asked for it (#464): country=AM still gave other countries."""
    hosts = hosts_of(client(policy=BALANCED)(f"/mirrorlist?path={OS}&avoid_country={value}"))
    assert "swede" not in hosts
    assert {"dane", "german", "yank"} <= set(hosts)


def test_an_avoided_country_wins_over_a_requested_one() -> None:
    hosts = hosts_of(client(policy=BALANCED)(f"/mirrorlist?path={OS}&country=SE,DK&avoid_country=SE"))
    assert hosts == ["dane"]


def test_cc_means_country_where_country_is_missing_or_empty() -> None:
    """As in PY (1.1)."""
    ask = client(policy=BALANCED)
    assert hosts_of(ask(f"/mirrorlist?path={OS}&cc=dk")) == ["dane"]
    assert hosts_of(ask(f"/mirrorlist?path={OS}&cc=dk&country=")) == ["dane"]
    assert hosts_of(ask(f"/mirrorlist?path={OS}&cc=dk&country=US")) == ["yank"]


CENTOS = world(
    repositories={("os-7", "x86_64"): (0, OS), ("updates", "x86_64"): (0, f"{TOP}/updates/44/x86_64")},
    disabled_repositories=[("extras-7", "x86_64")],
    repository_redirects={"base-7": "os-7"},
)


def test_a_version_is_appended_to_a_repository_that_needs_it() -> None:
    """As CentOS asks (1.1): repo=os&version=7."""
    ask = client(CENTOS)
    assert ask("/mirrorlist?repo=os&arch=x86_64&version=7").comment.startswith("# repo = os-7 arch = x86_64 ")
    assert ask("/metalink?repo=base&arch=x86_64&version=7").status == 200
    assert ask("/mirrorlist?repo=extras&arch=x86_64&version=7").text == "repo disabled"
    assert ask("/mirrorlist?repo=os&arch=x86_64&version=8").status == 404
    assert ask("/mirrorlist?repo=updates&arch=x86_64&version=7").comment.startswith("# repo = updates arch")


def families() -> MirrorlistCache:
    hosts = cast()
    hosts[SWEDE] = hosts[SWEDE]._replace(ipv4=True, ipv6=True)
    hosts[DANE] = hosts[DANE]._replace(ipv4=False, ipv6=True)
    hosts[GERMAN] = hosts[GERMAN]._replace(ipv4=True, ipv6=False)
    return world(hosts=hosts)


def test_ipv6_names_only_hosts_that_are_known_to_have_it() -> None:
    assert set(hosts_of(client(families(), BALANCED)(f"/mirrorlist?path={OS}&ipv6=1"))) == {"swede", "dane"}


def test_ipv4_leaves_out_hosts_that_are_known_to_lack_it() -> None:
    hosts = set(hosts_of(client(families(), BALANCED)(f"/mirrorlist?path={OS}&ipv4=1")))
    assert "dane" not in hosts
    assert {"swede", "german", "yank"} <= hosts


def test_both_families_together_are_asked_of_each_host() -> None:
    assert hosts_of(client(families(), BALANCED)(f"/mirrorlist?path={OS}&ipv4=1&ipv6=1")) == ["swede"]


@pytest.mark.parametrize("value", ["0", "", "2", "true", "11"])
def test_any_other_value_than_1_asks_for_no_family(value: str) -> None:
    assert len(hosts_of(client(families(), BALANCED)(f"/mirrorlist?path={OS}&ipv6={value}&ipv4={value}"))) == 6


# format= and Accept


@pytest.mark.parametrize(
    ("url", "content_type"),
    [
        (f"/mirrorlist?{FEDORA}", "text/plain"),
        (f"/mirrorlist?{FEDORA}&format=", "text/plain"),
        (f"/mirrorlist?{FEDORA}&format=list", "text/plain"),
        (f"/metalink?{FEDORA}&format=list", "text/plain"),
        (f"/mirrorlist?{FEDORA}&format=metalink", METALINK),
        (f"/mirrorlist?{FEDORA}&format=meta4", META4),
        (f"/metalink?{FEDORA}&format=json", "application/json"),
        (f"/mirrorlist?{FEDORA}&format=json", "application/json"),
        (f"/mirrorlist?{FEDORA}&format=apt", "text/plain"),
        (f"/redirect/{FILE}?format=metalink", METALINK),
        (f"/redirect/{FILE}?format=json", "application/json"),
        (f"/redirect/{FILE}?format=list", "text/plain"),
        (f"/mirrorlist?{FEDORA}&redirect&format=json", "application/json"),
    ],
)
def test_format_decides_whatever_the_path_says(url: str, content_type: str) -> None:
    answer = client()(url)
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize("value", ["JSON", "xml", "redirect", "list,json", "%00", "é", "x" * 3000])
@pytest.mark.parametrize("path", [f"/mirrorlist?{FEDORA}&", f"/metalink?{FEDORA}&", f"/redirect/{FILE}?"])
def test_a_format_that_does_not_exist_is_a_bad_request(path: str, value: str) -> None:
    answer = client()(f"{path}format={value}")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", METALINK),
        ("*/*", METALINK),
        (META4, META4),
        ("Application/Metalink4+XML", META4),
        (f"{META4};q=0.5, */*;q=0.1", META4),
        (f"{METALINK}, {META4}", META4),
        (f"{METALINK};q=0.9, {META4};q=0.8", METALINK),
        (f"{META4};q=0", METALINK),
        (f"{META4};q=zero", METALINK),
        (f"{META4};charset=utf-8;Q=0.7", META4),
        (",,;;,q=", METALINK),
    ],
)
def test_a_metalink_is_in_the_version_that_the_client_accepts(accept: str, content_type: str) -> None:
    answer = client()(f"/metalink?{FEDORA}", Accept=accept)
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Vary"] == "Accept"


def test_accept_has_no_say_about_a_mirrorlist_or_a_named_format() -> None:
    assert client()(f"/mirrorlist?{FEDORA}", Accept=META4).headers["Content-Type"] == "text/plain"
    assert client()(f"/metalink?{FEDORA}&format=metalink", Accept=META4).headers["Content-Type"] == METALINK


SHOWN = ["https://swede.example", "http://swede.example"]


@pytest.mark.parametrize("form", ["list", "metalink", "meta4", "json", "apt"])
@pytest.mark.parametrize(("asked", "shown"), [("https", SHOWN[:1]), ("http", SHOWN[1:])])
def test_an_asked_protocol_is_the_only_one_in_every_form(form: str, asked: str, shown: list[str]) -> None:
    text = client(policy=BALANCED)(f"/metalink?{FEDORA}&format={form}&protocol={asked}").text
    other = "http" if asked == "https" else "https"
    assert shown[0] in text
    assert f"{other}://" not in text.replace("http://www.metalinker.org", "").replace("http://fedorahosted.org", "")
    assert "rsync:" not in text
    assert "ftp:" not in text


def test_an_asked_protocol_is_the_only_one_in_a_redirect_and_its_links() -> None:
    headers = all_headers(f"/redirect/{FILE}?protocol=https")
    urls = [value for name, value in headers if name == "Location" or (name == "Link" and "duplicate" in value)]
    assert len(urls) > 2
    assert all(url.lstrip("<").startswith("https://") for url in urls)


def test_where_no_mirror_has_the_asked_protocol_none_is_named() -> None:
    cache = world(masks=[mask(DANE)] * 4)
    assert told(f"/mirrorlist?path={OS}&format=json&protocol=gopher", cache)["mirrors"] == []
    assert client(cache)(f"/redirect/{OS}?protocol=gopher").status == 404
    assert client(cache)(f"/mirrorlist?path={OS}&format=apt&protocol=rsync").text == ""


def test_an_apt_list_has_one_url_per_host_with_its_priority() -> None:
    """apt-transport-mirror(1): a tab, then options; the lowest priority is tried first."""
    text = client(policy=BALANCED)("/mirrorlist?path=dists/trixie&format=apt").text
    assert text == "https://swede.example/debian/dists/trixie/\tpriority:1\n"
    lines = client(policy=BALANCED)(f"/mirrorlist?path={OS}&format=apt").text.splitlines()
    assert [line.split("\t")[1] for line in lines] == [f"priority:{rank}" for rank in range(1, len(lines) + 1)]


def test_json_tells_files_hosts_and_tiers() -> None:
    values = told(f"/metalink?{FEDORA}&format=json")
    assert (values["category"], values["path"], values["file"]) == ("Fedora Linux", REPODATA, "repomd.xml")
    assert [version["sha256"] for version in values["versions"]] == ["c" * 64, "3" * 64]
    assert values["mirrors"][0] == {
        "host": "host0",
        "site": "site0",
        "country": "SE",
        "private": False,
        "tier": "country",
        "urls": [f"https://swede.example/{FILE}", f"http://swede.example/{FILE}"],
    }


# /redirect/PATH


@pytest.mark.parametrize(("moment", "date"), [(1 << 64, "9999-12-31T23:59:59Z"), (-1 << 64, "1970-01-01T00:00:00Z")])
def test_a_time_beyond_all_dates_breaks_no_answer(moment: int, date: str) -> None:
    """A cache that was converted from another program's file has the time that stood there."""
    assert told(f"/metalink?{FEDORA}&format=json", world(generated_at=moment))["generated_at"] == date


def all_headers(url: str, address: str = IN_SWEDEN, **environ: Any) -> list[tuple[str, str]]:
    index = build(world())
    heard: list[Any] = []
    application = Application(lambda: index, Atlas(), BALANCED)
    application(environment(url, address, "GET", {}) | environ, lambda status, headers: heard.append(headers))
    return list(heard[0])


@pytest.mark.parametrize("prefix", ["", "/mirrors", "/a/b"])
@pytest.mark.parametrize("mount", ["", "/mount"])
def test_a_redirect_works_below_any_prefix(prefix: str, mount: str) -> None:
    headers = all_headers(f"{prefix}/redirect/{FILE}", SCRIPT_NAME=mount)
    assert ("Location", f"https://swede.example/{FILE}") in headers
    (described,) = (value for name, value in headers if name == "Link" and "describedby" in value)
    assert described == f'<{mount}{prefix}/metalink?path={FILE}&format=meta4>; rel=describedby; type="{META4}"'


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (OS, f"{OS}/"),
        (f"{OS}/", f"{OS}/"),
        (f"/{OS}//", f"{OS}/"),
        (f"{OS}/any.iso", f"{OS}/any.iso"),
        (f"{OS}/a b+c&d=e?", f"{OS}/a%20b+c%26d=e%3F"),
        (f"{OS}/\xc3\xa9", f"{OS}/%C3%A9"),  # as WSGI hands it over
        (f"{OS}/\xff", f"{OS}/%EF%BF%BD"),
        (f"{OS}/%2e%2e", f"{OS}/%252e%252e"),
        (f"{OS}/redirect", f"{OS}/redirect"),
        (f"{OS}/metalink", f"{OS}/metalink"),
        (f"{OS}/mirrorlist", f"{OS}/mirrorlist"),
        (f"{OS}/~a:b@c;d", f"{OS}/~a:b@c;d"),
    ],
)
def test_a_redirect_leads_to_any_file_or_directory(path: str, location: str) -> None:
    """PATH_INFO is percent-decoded by the server (PEP 3333)."""
    headers = dict(all_headers("/", PATH_INFO=f"/redirect/{path}"))
    assert headers["Location"] == f"https://swede.example/{location}"


@pytest.mark.parametrize("path", ["", "/", "no/where", f"{OS}/..", f"{OS}/../x", f"{OS}/no/such", "."])
def test_a_redirect_to_nowhere_is_404(path: str) -> None:
    answer = client()(f"/redirect/{path}")
    assert (answer.status, answer.text) == (404, "error: invalid path")
    assert "Location" not in answer.headers


def test_redirect_without_a_path_is_not_served() -> None:
    assert client()("/redirect").text == "We don't serve their kind here!"


@pytest.mark.parametrize("byte", ["\n", "\r", "\x00", "\x7f", "\xc2\x85"])
def test_control_characters_in_a_path_are_refused(byte: str) -> None:
    environ = environment("/", IN_SWEDEN, "GET", {}) | {"PATH_INFO": f"/redirect/{OS}/a{byte}X: y"}
    index = build(world())
    assert request(Application(lambda: index, Atlas(), BALANCED), environ).status == 400


def test_a_path_parameter_does_not_win_over_the_path_of_a_redirect() -> None:
    assert client()(f"/redirect/{OS}?path={TOP}").headers["Location"].endswith(f"/{OS}/")


def test_a_redirect_knows_country_and_repository_parameters() -> None:
    assert client()(f"/redirect/{OS}?country=DK").headers["Location"].startswith("https://dane.")


@pytest.mark.parametrize(
    "path", ["//evil.example/redirect/", "///evil.example//redirect/", "/\\evil.example/redirect/"]
)
def test_the_way_to_the_hashes_never_leads_to_another_server(path: str) -> None:
    """A path that begins with two slashes would be the name of a server, and its metalink would be believed."""
    headers = all_headers("/", PATH_INFO=path + FILE)
    (described,) = (value for name, value in headers if name == "Link" and "describedby" in value)
    assert described.startswith(("</evil.example", "</%5Cevil.example"))


def test_a_prefix_outside_of_ascii_is_encoded_as_it_came() -> None:
    headers = all_headers("/", PATH_INFO=f"/\xc3\xa9/redirect/{FILE}")
    assert any(value.startswith("</%C3%A9/metalink?") for name, value in headers if name == "Link")


# Wrong case, repeated, over-long and hostile values


@pytest.mark.parametrize(
    "query",
    [
        "country=SE&country=DK",
        "country=zz&country=dk",
        "COUNTRY=SE&country=DK",
        "country=DK&Country=SE",
        "country=DK=SE",
    ],
)
def test_the_last_of_repeated_parameters_counts_and_names_are_case_sensitive(query: str) -> None:
    assert hosts_of(client()(f"/mirrorlist?path={OS}&{query}")) == ["dane"]


@pytest.mark.parametrize("name", ["country", "avoid_country", "location", "protocol", "version", "cc"])
def test_an_overlong_value_is_answered_or_refused_as_too_long(name: str) -> None:
    ask = client(policy=BALANCED)
    assert ask(f"/mirrorlist?path={OS}&{name}={'x,' * 1900}").status == 200
    assert ask(f"/mirrorlist?path={OS}&{name}={'x,' * 2100}").status == 414


@pytest.mark.parametrize("value", ["<script>", "%3Cx%3E", "'\"", "../../etc", "{{7*7}}", "%25s%25n", "☃", "a;b", "|ls"])
def test_hostile_values_are_only_text(value: str) -> None:
    """Raw "<" and ">" are a 400 without a word in the reference (1.1)."""
    ask = client(policy=BALANCED)
    assert ask(f"/mirrorlist?repo={value}&arch=x").status == 404
    assert ask(f"/mirrorlist?path={OS}&country={value}&location={value}&avoid_country={value}").status == 200


# Who the client is: proxies and tunnels


@pytest.mark.parametrize(
    ("proxies", "header", "country"),
    [
        (1, f"198.51.100.9,{IN_AMERICA}", "US"),  # two header lines are joined by the server (RFC 9110, 5.3)
        (1, f"{IN_AMERICA}:4711", "US"),
        (1, "unknown", None),
        (1, "for=192.0.2.5", None),
        (1, f"[::ffff:{IN_AMERICA}]:80", "US"),
        (2, f"6.6.6.6,{IN_AMERICA} ,\t10.0.0.1", "US"),
        (3, f"{IN_AMERICA},10.0.0.1", "SE"),  # fewer entries than proxies: the peer
        (2, f"{IN_AMERICA},,10.0.0.1", "US"),
        (0, IN_AMERICA, "SE"),
    ],
)
def test_the_client_is_counted_from_the_right(proxies: int, header: str, country: str | None) -> None:
    """(1.3; D3, D5)"""
    ask = client(policy=CLASSIC._replace(trusted_proxies=proxies))
    values = json.loads(ask(f"/mirrorlist?path={OS}&format=json", IN_SWEDEN, X_Forwarded_For=header).text)
    assert values["client"]["country"] == country


@pytest.mark.parametrize(
    "address",
    [
        "2002:0a01:0209::1",  # 6to4, RFC 3056
        "2001:0:c000:201:0:0:f5fe:fdf6",  # Teredo, RFC 4380: the client's address is in the last bits, inverted
        "64:ff9b::a01:209",  # NAT64, RFC 6052
        "::ffff:10.1.2.9",
        "[2002:0a01:0209::1]:443",
    ],
)
def test_a_client_in_a_tunnel_stands_where_its_ipv4_address_is(address: str) -> None:
    atlas = Atlas(countries={"10.1.2.9": "JP"})
    index = build(world(), BALANCED)
    environ = environment(f"/mirrorlist?path={OS}&format=json", address, "GET", {})
    values = json.loads(request(Application(lambda: index, atlas, BALANCED), environ).text)
    assert values["client"] == {"country": "JP", "continent": "AS", "asn": 1221}
    assert [mirror["tier"] for mirror in values["mirrors"][:2]] == ["netblock", "netblock"]


def test_netblocks_of_ipv6_are_taken_most_specific_first_and_before_those_of_the_tunnel() -> None:
    """(1.11, 11)"""
    cache = world(netblock_hosts={"2002::/16": mask(YANK), "2002:a01::/32": mask(DANE), "10.1.2.0/24": mask(SWEDE)})
    hosts = hosts_of(client(cache)(f"/mirrorlist?path={OS}", "2002:0a01:0209::1"))
    assert hosts[:3] == ["dane", "yank", "swede"]
