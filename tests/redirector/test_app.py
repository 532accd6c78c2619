"""Whole requests: the conformance cases of the reference (redirector.md 1.8 and 1.13), and where we differ."""

from __future__ import annotations

from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_redirector.app import Application
from mm_redirector.index import build
from mm_redirector.query import Reason, Refusal
from mm_redirector.settings import CLASSIC, Policy
from mm_redirector.shuffle import seeded
from tests.redirector.world import (
    IN_AMERICA,
    IN_GERMANY,
    IN_SWEDEN,
    OS,
    REPODATA,
    TOP,
    Atlas,
    client,
    environment,
    request,
    world,
)  # fmt: skip

METALINK = "application/metalink+xml"
FEDORA = "repo=fedora-44&arch=x86_64"


def test_a_path_that_is_not_served_is_404() -> None:
    answer = client()("/")
    assert (answer.status, answer.text) == (404, "We don't serve their kind here!")
    assert answer.headers["Content-Type"] == "text/plain"


def test_missing_parameters_are_a_bad_request() -> None:
    """200 in the reference (D7)."""
    answer = client()("/mirrorlist")
    assert (answer.status, answer.text) == (400, "# either path=, or repo= and arch= must be specified")


def test_a_metalink_says_so_in_a_comment() -> None:
    answer = client()("/metalink")
    assert (answer.status, answer.headers["Content-Type"]) == (400, METALINK)
    assert "<!-- # either path=, or repo= and arch= must be specified\n-->" in answer.text


@pytest.mark.parametrize("path", ["n/a", "", "n/é"])
def test_an_invalid_path_is_404(path: str) -> None:
    answer = client()(f"/mirrorlist?path={path}")
    assert (answer.status, answer.text, answer.headers["Content-Type"]) == (404, "error: invalid path", "text/plain")


def test_an_ip_that_is_none_is_a_bad_request_where_ip_is_allowed() -> None:
    """500 in the reference (D7)."""
    answer = client(policy=CLASSIC._replace(allow_ip_parameter=True))(f"/mirrorlist?path={OS}&ip=10.11.12.331")
    assert (answer.status, answer.text) == (400, "Cannot parse client IP address. Aborting.")


def test_errors_of_path_and_repository_win_over_a_bad_ip() -> None:
    ask = client(policy=CLASSIC._replace(allow_ip_parameter=True))
    assert ask("/mirrorlist?path=n/a&ip=x").text == "error: invalid path"


def test_an_ip_decides_where_the_client_is_where_it_is_allowed() -> None:
    ask = client(policy=CLASSIC._replace(allow_ip_parameter=True, minimum_hosts=1))
    assert ask(f"/mirrorlist?{FEDORA}&ip={IN_AMERICA}").comment == "# repo = fedora-44 arch = x86_64 country = US "


def test_a_country_is_echoed_as_typed() -> None:
    assert client()(f"/mirrorlist?path={OS}&country=sE").text == (
        f"# path = {OS} country = sE \nhttps://swede.example/{OS}/\n"
    )


def test_enough_local_hosts_are_the_whole_answer() -> None:
    ask = client(policy=CLASSIC._replace(minimum_hosts=1))
    assert ask(f"/mirrorlist?{FEDORA}", IN_AMERICA).text == (
        f"# repo = fedora-44 arch = x86_64 country = US \nhttps://yank.example/{OS}/\n"
    )


def test_too_few_local_hosts_are_first_and_the_world_follows() -> None:
    answer = client(policy=CLASSIC._replace(minimum_hosts=2))(f"/mirrorlist?{FEDORA}", IN_AMERICA)
    assert answer.comment == "# repo = fedora-44 arch = x86_64 country = US country = global "
    assert answer.urls[0] == f"https://yank.example/{OS}/"
    assert len(answer.urls) == 6


def test_an_alias_is_answered_with_what_it_stands_for() -> None:
    assert client()("/mirrorlist?repo=rawhide&arch=x86_64").comment.startswith("# repo = fedora-44 arch = x86_64 ")


def test_an_unknown_repository_is_404_with_a_list_of_those_that_exist() -> None:
    answer = client()("/mirrorlist?repo=no&arch=x86_64")
    assert answer.status == 404
    assert answer.text.splitlines()[:3] == [
        "# repo = no arch = x86_64 ",
        "error: invalid repo or arch",
        "# following repositories are available:",
    ]
    assert answer.text.splitlines()[3:5] == ["# repo=already-repodata&arch=x86_64", "# repo=bare&arch=x86_64"]


def test_an_unknown_repository_is_a_failure_document_for_a_metalink() -> None:
    answer = client()("/metalink?repo=a--b&arch=x")
    assert (answer.status, answer.headers["Content-Type"]) == (404, METALINK)
    assert "error: invalid repo or arch\n" in answer.text
    ElementTree.fromstring(answer.text)


def test_a_disabled_repository_is_404() -> None:
    """200 in the reference (D7)."""
    answer = client()("/mirrorlist?repo=off&arch=x86_64")
    assert (answer.status, answer.text, answer.headers["Content-Type"]) == (404, "repo disabled", "text/plain")


def test_a_metalink_of_a_directory_that_is_not_cached_is_404() -> None:
    """A plain-text 500 "you broke it!" in the reference (D7)."""
    answer = client()("/metalink?repo=updates-44&arch=x86_64")
    assert (answer.status, answer.headers["Content-Type"]) == (404, METALINK)


def test_a_metalink_without_details_is_404() -> None:
    answer = client()("/metalink?repo=bare&arch=x86_64")
    assert answer.status == 404
    assert f"<!-- {TOP}/bare/repodata/repomd.xml not found or has not metalink\n-->" in answer.text


def test_a_metalink_with_details_is_200() -> None:
    answer = client()(f"/metalink?{FEDORA}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, METALINK)
    for part in ('<hash type="sha256">', "<mm0:timestamp>1767222000<", "<size>6822<", '<file name="repomd.xml">'):
        assert part in answer.text


def test_the_first_host_of_the_cache_is_found_by_its_netblock() -> None:
    """It was not until 2026 in the reference (D13)."""
    answer = client(world(netblock_hosts={"10.0.0.0/8": 1}))(f"/mirrorlist?{FEDORA}", "10.9.9.9")
    assert "Using preferred netblock " in answer.comment
    assert answer.urls[0].startswith("https://swede.example/")


def test_redirect_leads_to_the_best_host() -> None:
    answer = client()(f"/mirrorlist?path={REPODATA}/repomd.xml&redirect=1")
    assert (answer.status, answer.body) == (302, b"")
    assert answer.headers["Location"] == f"https://swede.example/{REPODATA}/repomd.xml"


def test_redirect_without_a_host_is_404() -> None:
    answer = client()(f"/mirrorlist?path={OS}&redirect&protocol=ftp")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (404, b"", "text/plain")


def test_redirect_is_ignored_for_a_metalink() -> None:
    assert client()(f"/metalink?{FEDORA}&redirect").status == 200


def test_no_file_name_splits_the_location_header() -> None:
    answer = client()(f"/mirrorlist?path={OS}/a%0D%0AX:y&redirect")
    assert answer.status == 400


@pytest.mark.parametrize(
    "url", [f"/mirrorlist?{FEDORA}", f"/metalink?{FEDORA}", "/mirrorlist?path=n/a", "/", "/metalink"]
)
def test_head_has_the_headers_of_get_and_no_body(url: str) -> None:
    draw = seeded("1")
    get, head = client(draw=draw)(url), client(draw=draw)(url, method="HEAD")
    assert (head.status, head.headers["Content-Length"], head.body) == (get.status, str(len(get.body)), b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_refused_with_those_that_work(method: str) -> None:
    answer = client()(f"/mirrorlist?{FEDORA}", method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_the_client_behind_a_proxy_is_found() -> None:
    ask = client(policy=CLASSIC._replace(trusted_proxies=1, minimum_hosts=1))
    comment = ask(f"/mirrorlist?{FEDORA}", "127.0.0.1", X_Forwarded_For=f"{IN_GERMANY}, {IN_AMERICA}").comment
    assert comment == "# repo = fedora-44 arch = x86_64 country = US "


@pytest.mark.parametrize("header", ["unknown", "é", "1.2.3.4:80", "", "\x00", ",", "_hidden, 999.1.1.1"])
def test_no_forwarded_header_breaks_an_answer(header: str) -> None:
    """500, or a closed connection, in the reference (D3, D5)."""
    ask = client(policy=CLASSIC._replace(trusted_proxies=1))
    assert ask(f"/mirrorlist?{FEDORA}", "127.0.0.1", X_Forwarded_For=header).status == 200


def without_cache() -> Application:
    return Application(lambda: Refusal(Reason.NOT_READY, "there is no usable mirrorlist cache"), Atlas(), Policy())


@pytest.mark.parametrize("url", [f"/mirrorlist?{FEDORA}", f"/metalink?{FEDORA}", "/healthz/ready"])
def test_without_a_cache_clients_are_asked_to_come_again(url: str) -> None:
    answer = request(without_cache(), environment(url, IN_SWEDEN, "GET", {}))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "10")
    assert "there is no usable mirrorlist cache" in answer.text


def test_without_a_cache_the_process_is_alive() -> None:
    assert request(without_cache(), environment("/healthz/live", "", "GET", {})).status == 200


def test_with_a_cache_the_process_is_ready() -> None:
    answer = client()("/healthz/ready")
    assert (answer.status, answer.text) == (200, "ready: cache generation 7 of 1790000000\n")


@pytest.mark.parametrize("url", [f"/mirrorlist?{FEDORA}", f"/metalink?{FEDORA}", "/", f"/mirrorlist?{FEDORA}&redirect"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_application_keeps_to_the_wsgi_specification(url: str, method: str) -> None:
    index = build(world())
    checked = validator(Application(lambda: index, Atlas(), Policy()))  # type: ignore[arg-type]
    environ = environment(url, IN_SWEDEN, method, {})
    del environ["wsgi.input"]
    setup_testing_defaults(environ)
    body = checked(environ, lambda *_: lambda _: None)
    list(body)
    body.close()  # type: ignore[attr-defined]


WORDS = st.sampled_from(
    f"repo arch path country ip netblock protocol redirect time = & , % fedora-44 x86_64 rawhide {OS} global SE http "
    f"https %0a %00 < -- 1 / {REPODATA}/repomd.xml".split()
)
HOSTILE = st.one_of(st.text(), st.lists(WORDS, max_size=30).map("".join))
INDEX = build(world())
FUZZED = Application(lambda: INDEX, Atlas(), Policy(trusted_proxies=1, allow_ip_parameter=True))


@given(HOSTILE, st.sampled_from(["/mirrorlist", "/metalink"]), st.text(max_size=40))
def test_no_query_or_header_breaks_an_answer(query: str, path: str, forwarded: str) -> None:
    """Never an exception, never a 5xx, never a line or an element that the client made."""
    environ: dict[str, Any] = environment(path, "192.0.2.1", "GET", {"X-Forwarded-For": forwarded})
    answer = request(FUZZED, environ | {"QUERY_STRING": query})
    assert answer.status in (200, 302, 400, 404, 414)
    if path == "/metalink":
        ElementTree.fromstring(answer.text)
    elif answer.status == 200:
        assert all(url.split(":")[0] in ("http", "https", "ftp", "rsync") for url in answer.urls)


@given(st.binary(max_size=60), st.sampled_from(["repo", "path", "country", "protocol", "ip"]))
def test_no_percent_encoded_bytes_break_an_answer(value: bytes, name: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in value)
    answer = request(FUZZED, environment(f"/metalink?{FEDORA}&{name}={encoded}", IN_SWEDEN, "GET", {}))
    assert answer.status in (200, 400, 404)
    ElementTree.fromstring(answer.text)


@pytest.mark.parametrize("path", ["/metrics", "/explain"])
def test_numbers_and_explanations_are_below_no_other_path(path: str) -> None:
    """A proxy that passes /mirrorlist/... on must not open them to everybody."""
    ask = client(policy=CLASSIC._replace(explain="public"), exposition=lambda: b"numbers")
    assert ask(f"{path}?{FEDORA}").status == 200
    assert ask(f"/mirrorlist{path}?{FEDORA}").status == 404
