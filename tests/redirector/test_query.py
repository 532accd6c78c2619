"""What the client asks for."""

from __future__ import annotations

from typing import Any

import pytest

from mm_redirector.query import Choice, Form, Kind, MirrorQuery, Reason, Refusal, client_address, parse
from mm_redirector.settings import Policy

REPO = "repo=r&arch=a"


def asked(query: str = REPO, path: str = "/mirrorlist", policy: Policy | None = None, **environ: Any) -> Any:
    request = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_ADDR": "192.0.2.1"}
    return parse(request | environ, policy or Policy())


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/mirrorlist", Kind.MIRRORLIST),
        ("/metalink", Kind.METALINK),
        ("/any/prefix/mirrorlist", Kind.MIRRORLIST),
        ("/a%20b/metalink", Kind.METALINK),
    ],
)
def test_the_end_of_the_path_tells_the_form(path: str, kind: Kind) -> None:
    assert asked(path=path).kind is kind


@pytest.mark.parametrize("path", ["/", "", "/mirrorlist/", "/metalink/x", "/xmetalink", "mirrorlist", "/MIRRORLIST"])
def test_any_other_path_is_not_served(path: str) -> None:
    assert asked(path=path) == Refusal(Reason.NOT_SERVED, "We don't serve their kind here!")


def test_a_mount_point_counts_as_prefix() -> None:
    assert asked(path="", SCRIPT_NAME="/mirrorlist").kind is Kind.MIRRORLIST


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_other_methods_than_get_and_head_are_refused(method: str) -> None:
    assert asked(REQUEST_METHOD=method).reason is Reason.METHOD


@pytest.mark.parametrize("query", ["", "repo=r", "arch=a", "repository=r&arch=a", "country=SE", "&&&", "Repo=r&arch=a"])
def test_without_path_or_repo_and_arch_nothing_is_asked(query: str) -> None:
    assert asked(query) == Refusal(Reason.MISSING, "# either path=, or repo= and arch= must be specified")


def test_empty_values_are_values() -> None:
    assert (asked("repo=&arch").repo, asked("repo=&arch").arch) == ("", "")


@pytest.mark.parametrize("repo", ["fedora-source-44", "source", "resourced"])
def test_source_anywhere_in_the_repository_asks_for_the_source_architecture(repo: str) -> None:
    assert asked(f"repo={repo}&arch=x86_64").arch == "source"


def test_values_are_percent_decoded() -> None:
    """The reference does not (D4)."""
    assert asked("re%70o=f%2D1&arch=x86%5F64").repo == "f-1"
    assert asked("path=pub%2Ff%C3%A9").path == "pub/fé"


def test_raw_bytes_outside_of_ascii_are_read_as_utf8() -> None:
    assert asked("path=" + "fé".encode().decode("latin-1")).path == "fé"


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    assert asked("path=%ff").path == "\ufffd"


def test_plus_is_a_plus() -> None:
    assert asked("repo=libstdc++&arch=a").repo == "libstdc++"


def test_a_second_equals_sign_ends_the_value() -> None:
    assert asked("repo=f-1=zz&arch=a").repo == "f-1"


def test_the_last_of_repeated_parameters_wins() -> None:
    assert asked("repo=x&repo=y&arch=a").repo == "y"


def test_unknown_parameters_are_ignored() -> None:
    """dnf adds countme=1 now and then."""
    assert asked(f"{REPO}&countme=1&x=%00&%0a") == asked(REPO)


@pytest.mark.parametrize(
    "name",
    ["repo", "arch", "path", "country", "ip", "netblock", "protocol", "time", "redirect", "cc", "version", "location"],
)
@pytest.mark.parametrize("value", ["%00", "a%0Ab", "a%0D", "%7f", "%C2%85", "%E2%80%A8", "%EF%BF%BE"])
def test_control_characters_in_a_parameter_are_refused(name: str, value: str) -> None:
    assert asked(f"{REPO}&{name}={value}").reason is Reason.BAD_VALUE


def test_an_overlong_query_is_refused() -> None:
    assert asked(f"{REPO}&country={'A' * 5000}").reason is Reason.TOO_LONG


def test_countries_are_kept_as_typed_sorted_and_each_once() -> None:
    assert asked(f"{REPO}&country=se,DE,,se,FR").countries == ("DE", "FR", "se")


def test_an_empty_country_counts_as_absent() -> None:
    assert asked(f"{REPO}&country=").countries == ()


@pytest.mark.parametrize(("query", "counts"), [("", True), ("netblock=1", True), ("netblock=0", False)])
def test_netblock_switches_networks_off(query: str, counts: bool) -> None:
    assert asked(f"{REPO}&{query}").networks is counts


@pytest.mark.parametrize("value", ["2", "", "yes"])
def test_any_other_value_of_netblock_switches_them_off_too(value: str) -> None:
    assert asked(f"{REPO}&netblock={value}").networks is False


@pytest.mark.parametrize("value", ["=0", "=1", ""])
def test_redirect_needs_no_value(value: str) -> None:
    assert asked(f"{REPO}&redirect{value}").form is Form.REDIRECT


def test_a_metalink_is_never_a_redirect() -> None:
    query = asked(f"{REPO}&redirect=1", "/metalink")
    assert (query.form, query.choice) == (Form.METALINK, Choice(None, None))


@pytest.mark.parametrize(
    ("path", "query", "protocols", "limit"),
    [
        ("/mirrorlist", "", {"https", "http", "ftp"}, 1),
        ("/mirrorlist", "protocol=rsync", {"rsync"}, 1),
        ("/mirrorlist", "protocol=http,ftp,http", {"http", "ftp"}, 2),
        ("/mirrorlist", "protocol=", set(), 0),
        ("/mirrorlist", "protocol=HTTP", {"HTTP"}, 1),
        ("/mirrorlist", "redirect", {"https", "http"}, 1),
        ("/mirrorlist", "redirect&protocol=http,rsync", {"http"}, 1),
        ("/metalink", "protocol=https", {"https"}, 1),
    ],
)
def test_protocol_limits_the_urls_of_a_host(path: str, query: str, protocols: set[str], limit: int) -> None:
    assert asked(f"{REPO}&{query}", path).choice == Choice(frozenset(protocols), limit)


def test_time_is_shown_for_any_value() -> None:
    assert asked(f"{REPO}&time=0").show_time


def test_ip_is_ignored_unless_the_operator_allows_it() -> None:
    """In the reference anyone may choose an address (D6)."""
    query: MirrorQuery = asked(f"{REPO}&ip=198.51.100.1")
    assert query.ip is None
    query = asked(f"{REPO}&ip=198.51.100.1", policy=Policy(allow_ip_parameter=True))
    assert query.ip == "198.51.100.1"


def test_an_empty_ip_counts_as_absent() -> None:
    assert asked(f"{REPO}&ip=", policy=Policy(allow_ip_parameter=True)).ip is None


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, "198.51.100.1", "192.0.2.1"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6,198.51.100.1", "198.51.100.1"),
        (1, " 198.51.100.1 ", "198.51.100.1"),
        (2, "6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "198.51.100.1", "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, ",,,", "192.0.2.1"),
    ],
)
def test_the_client_is_what_the_outermost_trusted_proxy_saw(proxies: int, forwarded: str, client: str) -> None:
    """Counted from the right: what stands further left is the client's own claim. No blank is needed (D5)."""
    assert client_address({"REMOTE_ADDR": "192.0.2.1", "HTTP_X_FORWARDED_FOR": forwarded}, proxies) == client
