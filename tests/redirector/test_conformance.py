"""Every row of the reference's behaviour, redirector.md 1.1 to 1.13, and the test that shows what we do about it.

The table names the tests; those that stand nowhere else are below it. "1.5, 3" is the third sentence or point there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mm_lib.cache.schema import MirrorlistCache
from mm_redirector.address import Address, parse
from mm_redirector.index import Index, build
from mm_redirector.query import Reason, Refusal
from mm_redirector.settings import BALANCED, CLASSIC
from tests.redirector.decisions import decided
from tests.redirector.world import (
    AUSTRIAN,
    BERLINER,
    DANE,
    GERMAN,
    IN_GERMANY,
    IN_SWEDEN,
    JAPANESE,
    LAB,
    NOWHERE,
    OS,
    REPODATA,
    STALE,
    SWEDE,
    TOP,
    YANK,
    cast,
    client,
    fedora,
    host,
    mask,
    world,
)  # fmt: skip

TESTS = Path(__file__).parent.parent
FEDORA = "repo=fedora-44&arch=x86_64"

ROWS = {
    # 1.1 Request line
    "1.1 only the end of the path counts": "test_query.test_the_end_of_the_path_tells_the_form",
    "1.1 any other path is 404": "test_query.test_any_other_path_is_not_served",
    "1.1 HEAD has no body": "test_app.test_head_has_the_headers_of_get_and_no_body",
    "1.1 method is ignored (differs)": "test_query.test_other_methods_than_get_and_head_are_refused",
    "1.1 no percent-decoding (D4)": "test_query.test_values_are_percent_decoded",
    "1.1 no + handling": "test_query.test_plus_is_a_plus",
    "1.1 second = and what follows is dropped": "test_query.test_a_second_equals_sign_ends_the_value",
    "1.1 a parameter without = is empty": "test_query.test_empty_values_are_values",
    "1.1 the last of repeated parameters": "test_query.test_the_last_of_repeated_parameters_wins",
    "1.1 raw < > is 400 (differs)": "test_requests.test_hostile_values_are_only_text",
    "1.1 raw non-ASCII is 400 (differs)": "test_query.test_raw_bytes_outside_of_ascii_are_read_as_utf8",
    "1.1 repo and arch must be there": "test_query.test_without_path_or_repo_and_arch_nothing_is_asked",
    "1.1 repo is case-sensitive": "test_lookup.test_repositories_are_case_sensitive",
    "1.1 source anywhere": "test_query.test_source_anywhere_in_the_repository_asks_for_the_source_architecture",
    "1.1 path wins": "test_lookup.test_path_wins_over_repo_and_arch",
    "1.1 path with repo is logged": "test_access_log.test_a_path_with_a_repository_beside_it_is_logged",
    "1.1 country is sorted, each once": "test_query.test_countries_are_kept_as_typed_sorted_and_each_once",
    "1.1 country is echoed as typed": "test_app.test_a_country_is_echoed_as_typed",
    "1.1 empty country is absent": "test_query.test_an_empty_country_counts_as_absent",
    "1.1 global in any case": "test_selection.test_global_asks_for_all_the_world",
    "1.1 ip (D6)": "test_query.test_ip_is_ignored_unless_the_operator_allows_it",
    "1.1 empty ip is absent": "test_query.test_an_empty_ip_counts_as_absent",
    "1.1 netblock": "test_query.test_any_other_value_of_netblock_switches_them_off_too",
    "1.1 netblock skips both": "test_selection.test_networks_can_be_left_out",
    "1.1 protocol": "test_query.test_protocol_limits_the_urls_of_a_host",
    "1.1 time": "test_query.test_time_is_shown_for_any_value",
    "1.1 redirect": "test_query.test_redirect_needs_no_value",
    "1.1 redirect is ignored on metalink": "test_app.test_redirect_is_ignored_for_a_metalink",
    "1.1 location": "test_requests.test_a_location_group_comes_first",
    "1.1 location is ignored by RS": "test_classic.test_location_groups_do_not_count",
    "1.1 cc": "test_requests.test_cc_means_country_where_country_is_missing_or_empty",
    "1.1 version": "test_requests.test_a_version_is_appended_to_a_repository_that_needs_it",
    "1.1 neither": "test_app.test_missing_parameters_are_a_bad_request",
    # 1.2 What is asked for
    "1.2 one hop": "test_lookup.test_a_redirect_is_followed_once",
    "1.2 disabled": "test_lookup.test_a_disabled_repository_is_named_as_such_also_through_a_redirect",
    "1.2 unknown, with a list": "test_app.test_an_unknown_repository_is_404_with_a_list_of_those_that_exist",
    "1.2 the list is sorted": "test_index.test_the_listing_leaves_out_what_is_switched_off",
    "1.2 metalink appends repodata": "test_lookup.test_a_repository_means_its_repomd_xml_in_a_metalink",
    "1.2 unless it is there": "test_lookup.test_a_directory_that_is_already_repodata_is_not_extended",
    "1.2 list: the directory": "test_lookup.test_a_repository_means_its_directory_in_a_list",
    "1.2 directory not cached": "test_lookup.test_a_metalink_of_a_repository_without_repodata_is_refused_by_name",
    "1.2 slashes": "test_lookup.test_surplus_slashes_of_a_path_do_not_matter",
    "1.2 directory or file": "test_lookup.test_a_file_below_a_known_directory_need_not_be_known",
    "1.2 invalid path": "test_lookup.test_any_other_path_is_invalid",
    "1.2 URL of a host": "test_render.test_a_list_names_directories_with_a_slash",
    "1.2 empty subpath": "test_render.test_without_a_top_directory_the_whole_path_follows_the_base_url",
    "1.2 hosts without the directory": "test_selection.test_a_host_that_is_not_up_to_date_is_left_out",
    # 1.3 Client address
    "1.3 counted proxies": "test_requests.test_the_client_is_counted_from_the_right",
    "1.3 not parseable is 500 (differs)": "test_app.test_no_forwarded_header_breaks_an_answer",
    "1.3 a bad ip=": "test_app.test_an_ip_that_is_none_is_a_bad_request_where_ip_is_allowed",
    "1.3 ports": "test_location.test_ports_and_zones_are_not_part_of_an_address",
    "1.3 mapped addresses": "test_location.test_an_address_mapped_into_ipv6_is_treated_as_ipv4",
    "1.3 no address": "test_location.test_an_odd_address_from_a_proxy_is_served_as_one_of_whom_nothing_is_known",
    "1.3 order matters": "test_app.test_errors_of_path_and_repository_win_over_a_bad_ip",
    # 1.4 Country
    "1.4 netblock override": "test_location.test_the_most_specific_netblock_override_decides_the_country",
    "1.4 malformed key": "test_index.test_a_netblock_that_cannot_be_read_is_reported_and_spoils_nothing",
    "1.4 GeoIP": "test_location.test_the_country_comes_from_the_database_and_the_continent_from_the_cache",
    "1.4 N/A": "test_access_log.test_what_is_unknown_is_not_available",
    "1.4 6to4 and Teredo": "test_requests.test_a_client_in_a_tunnel_stands_where_its_ipv4_address_is",
    # 1.5 Stages
    "1.5 all stages": "test_classic.test_members_and_order_of_the_stages_are_those_of_the_reference",
    "1.5, 1 netblock": "test_selection.test_private_hosts_are_reached_by_their_netblock_most_specific_first",
    "1.5, 1 bare address": "test_index.test_a_bare_address_is_a_netblock",
    "1.5, 1 header once": "test_render.test_a_netblock_is_mentioned_once_and_an_autonomous_system_by_number",
    "1.5, 2 ASN": "test_selection.test_private_hosts_are_reached_by_their_autonomous_system",
    "1.5, 3 requested": "test_selection.test_requested_countries_are_the_whole_answer",
    "1.5, 3 neighbours": "test_selection.test_requested_countries_without_hosts_are_replaced_by_their_neighbours",
    "1.5, 3 trimmed": "test_selection.test_requested_countries_whose_hosts_refuse_the_client_leave_an_empty_answer",
    "1.5, 3 falls through": "test_selection.test_countries_that_lead_nowhere_count_as_not_asked_for",
    "1.5, 4 and 5": "test_selection.test_the_whole_continent_follows_the_country",
    "1.5, 5 random order of headers (differs)": "test_selection.test_a_host_stands_in_the_first_tier_that_has_it",
    "1.5, 6 global": "test_selection.test_all_the_world_fills_up_an_answer_that_is_too_short",
    "1.5, 6 minimum": "test_selection.test_an_answer_of_the_minimum_length_is_not_filled_up",
    "1.5, 6 rsync-only (differs)": "test_selection.test_hosts_that_a_list_cannot_show_do_not_count_towards_the_minimum",
    "1.5 no cap": "test_classic.test_a_list_is_as_long_as_there_are_neighbours",
    "1.5 no nearness": "test_classic.test_only_bandwidth_weighs",
    "1.5 -- is a continent": "test_conformance.test_a_group_of_odd_countries_is_a_continent_like_others",
    # 1.6 Order
    "1.6 netblocks are uniform": "test_selection.test_within_a_netblock_bandwidth_does_not_matter",
    "1.6 by bandwidth": "test_selection.test_within_a_tier_bandwidth_decides",
    "1.6 without replacement": "test_classic.test_a_second_host_is_drawn_by_bandwidth_among_those_that_are_left",
    "1.6 URLs keep their order": "test_index.test_https_comes_first_and_the_rest_keeps_its_order",
    # 1.7 Protocols
    "1.7 list: one per host": "test_render.test_https_is_preferred_in_lists",
    "1.7 several protocols": "test_render.test_several_protocols_give_several_urls_of_a_host",
    "1.7 echo": "test_render.test_an_asked_protocol_is_echoed_without_a_blank_behind_it",
    "1.7 nothing left": "test_selection.test_only_hosts_with_an_asked_protocol_are_named",
    "1.7 metalink: all": "test_render.test_a_metalink_without_protocol_shows_all_urls",
    "1.7 redirect": "test_app.test_redirect_without_a_host_is_404",
    # 1.8 Responses
    "1.8 body and header of a list": "test_app.test_too_few_local_hosts_are_first_and_the_world_follows",
    "1.8 resolved alias": "test_app.test_an_alias_is_answered_with_what_it_stands_for",
    "1.8 time": "test_render.test_the_time_of_the_cache_is_a_second_comment",
    "1.8 normal": "test_app.test_a_metalink_with_details_is_200",
    "1.8 no host, list": "test_render.test_a_list_without_hosts_is_its_comment",
    "1.8 no host, metalink": "test_conformance.test_a_metalink_without_hosts_has_no_urls",
    "1.8 wrong suffix": "test_app.test_a_path_that_is_not_served_is_404",
    "1.8 missing, metalink": "test_app.test_a_metalink_says_so_in_a_comment",
    "1.8 disabled": "test_app.test_a_disabled_repository_is_404",
    "1.8 unknown, metalink": "test_app.test_an_unknown_repository_is_a_failure_document_for_a_metalink",
    "1.8 invalid path": "test_app.test_an_invalid_path_is_404",
    "1.8 no details": "test_app.test_a_metalink_without_details_is_404",
    "1.8 directory": "test_lookup.test_a_directory_has_no_metalink",
    "1.8 directory gone": "test_app.test_a_metalink_of_a_directory_that_is_not_cached_is_404",
    "1.8 redirect": "test_app.test_redirect_leads_to_the_best_host",
    "1.8 headers": "test_conformance.test_an_answer_has_the_headers_of_the_reference",
    # 1.9 Metalink
    "1.9 layout": "test_render.test_a_metalink_has_the_exact_layout_of_the_reference",
    "1.9 zeros are left out": "test_render.test_unknown_values_and_an_empty_history_are_left_out",
    "1.9 preference": "test_render.test_preference_falls_by_one_per_host_to_one_in_document_order",
    "1.9 location": "test_conformance.test_location_is_in_capitals_and_empty_if_unknown",
    "1.9 private": "test_render.test_private_hosts_are_marked",
    "1.9 failure document": "test_render.test_a_failure_is_a_metalink_without_files",
    "1.9 -- in a message": "test_render.test_no_message_breaks_a_failure",
    "1.9 any file": "test_lookup.test_any_file_with_details_has_a_metalink",
    # 1.10 is test_access_log.py, test_server.py and test_store.py
    "1.10 line": "test_access_log.test_the_line_is_that_of_the_reference",
    "1.10 not for others": "test_access_log.test_other_requests_are_not_logged",
    # 1.11 RS against PY
    "1.11, 1": "test_selection.test_the_whole_continent_follows_the_country",
    "1.11, 2": "test_selection.test_netblock_hosts_do_not_end_the_search",
    "1.11, 3": "test_selection.test_country_tiers_respect_the_allowed_countries",
    "1.11, 4": "test_selection.test_global_and_a_country_are_added_up",
    "1.11, 5": "test_selection.test_the_client_is_no_exception_among_the_neighbours",
    "1.11, 6": "test_query.test_protocol_limits_the_urls_of_a_host",
    "1.11, 7": "test_render.test_a_netblock_is_mentioned_once_and_an_autonomous_system_by_number",
    "1.11, 7 host without country": "test_conformance.test_location_is_in_capitals_and_empty_if_unknown",
    "1.11, 8": "test_lookup.test_a_directory_that_is_already_repodata_is_not_extended",
    "1.11, 9": "test_app.test_a_disabled_repository_is_404",
    "1.11, 10": "test_index.test_a_host_with_allowed_countries_is_open_to_these_alone",
    "1.11, 11": "test_requests.test_netblocks_of_ipv6_are_taken_most_specific_first_and_before_those_of_the_tunnel",
    # 1.13 Tests of the reference that are not named above
    "1.13, 2": "test_render.test_a_failure_is_a_metalink_without_files",
    "1.13, 3": "test_geo.test_an_autonomous_system_is_known_by_its_number",
    "1.13, 3 netblocks": "test_index.test_netblocks_match_as_a_scan_over_all_of_them_would",
    "1.13, 10": "test_app.test_enough_local_hosts_are_the_whole_answer",
    "1.13, 16": "test_app.test_the_first_host_of_the_cache_is_found_by_its_netblock",
    "1.13 generator": "lib/test_publish.test_an_empty_topdir_gives_paths_without_leading_slash",
    "1.13 always up to date": "lib/test_publish.test_an_always_up_to_date_host_is_listed_without_a_crawl",
    "1.13 PY redirect": "test_app.test_redirect_leads_to_the_best_host",
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_of_the_reference_has_its_test(row: str) -> None:
    module, _, name = ROWS[row].partition(".")
    path = TESTS / f"{module}.py" if "/" in module else TESTS / "redirector" / f"{module}.py"
    assert re.search(rf"^def {name}\(", path.read_text(), re.MULTILINE), row


def test_a_group_of_odd_countries_is_a_continent_like_others() -> None:
    """Satellite providers (A2) are each other's neighbours (1.5, end)."""
    hosts = cast()
    hosts[SWEDE] = hosts[SWEDE]._replace(country="A2")
    cache = world(hosts=hosts, country_continents={"A1": "--", "A2": "--"}, netblock_countries={"192.0.2.9/32": "A1"})
    assert client(cache)(f"/mirrorlist?path={OS}", NOWHERE).comment.startswith(f"# path = {OS} country = A2 ")


def test_a_country_that_was_moved_is_client_and_supplier_there() -> None:
    """CountryContinentRedirect (1.5, end; issue #319)."""
    continents = world().country_continents | {"SE": "NA"}
    index = build(world(country_continents=continents), CLASSIC)
    around = decided(f"/mirrorlist?path={OS}", index, CLASSIC._replace(minimum_hosts=0)).selection.hosts
    assert set(around) == {SWEDE, YANK}


def test_a_metalink_without_hosts_has_no_urls() -> None:
    answer = client(world(masks=[0] * 4))(f"/metalink?{FEDORA}")
    assert answer.status == 200
    assert '   <resources maxconnections="1">\n   </resources>\n' in answer.text


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (f"/mirrorlist?{FEDORA}", {"Content-Type", "Content-Length"}),
        (f"/metalink?{FEDORA}", {"Content-Type", "Content-Length", "Vary"}),
        (f"/mirrorlist?{FEDORA}&redirect", {"Content-Type", "Content-Length", "Location"}),
        ("/mirrorlist?path=n/a", {"Content-Type", "Content-Length"}),
    ],
)
def test_an_answer_has_the_headers_of_the_reference(url: str, headers: set[str]) -> None:
    """And Vary where Accept has a say (1.8)."""
    assert set(client()(url).headers) == headers


def test_location_is_in_capitals_and_empty_if_unknown() -> None:
    """(1.9; PY refuses such a host's metalink: 1.11, 7)"""
    cache = world(hosts=[host(0, "se"), host(1, ""), *cast()[2:]], masks=[mask(SWEDE, DANE)] * 4)
    text = client(cache)(f"/metalink?{FEDORA}", IN_GERMANY).text
    assert set(re.findall(r'location="(\w*)"', text)) == {"SE", ""}


def test_html_is_never_sent() -> None:
    """PY sent redirects as text/html (1.8)."""
    assert client()(f"/mirrorlist?{FEDORA}&redirect").headers["Content-Type"] == "text/plain"


# 1.12: each known defect of the reference, and that ours is right


def test_d1_a_host_for_other_countries_is_in_no_tier_by_place() -> None:
    """D1: the reference hands it to clients in its country and on its continent."""
    for policy in (CLASSIC, BALANCED):
        index = build(world(), policy)
        assert AUSTRIAN not in decided(f"/mirrorlist?path={OS}", index, policy).selection.hosts
        allowed = decided(f"/mirrorlist?path={OS}", index, policy, IN_GERMANY).selection.hosts
        assert AUSTRIAN in allowed


def test_d1_netblocks_and_autonomous_systems_go_on_serving_whom_they_claimed() -> None:
    cache = world(netblock_hosts={"192.0.2.0/24": mask(AUSTRIAN)})
    assert decided(f"/mirrorlist?path={OS}", build(cache), BALANCED).selection.hosts[0] == AUSTRIAN


@pytest.mark.parametrize("bandwidths", [(0, 0), (0, 1000)])
def test_d2_hosts_without_bandwidth_are_answered(bandwidths: tuple[int, int]) -> None:
    """D2: the reference closes the connection without a reply."""
    hosts = cast()
    for number, bandwidth in zip((GERMAN, BERLINER), bandwidths, strict=True):
        hosts[number] = hosts[number]._replace(bandwidth=bandwidth)
    answer = client(world(hosts=hosts))(f"/mirrorlist?path={OS}&country=DE")
    assert len(answer.urls) == 2


def test_d3_a_header_outside_of_ascii_is_answered() -> None:
    """D3: the reference closes the connection. A full disk: test_access_log.py."""
    ask = client(policy=BALANCED._replace(trusted_proxies=1))
    assert ask(f"/mirrorlist?path={OS}", X_Forwarded_For="\xe9\xff, \u20ac").status == 200


def test_d4_values_are_percent_decoded() -> None:
    """D4"""
    assert client()("/mirrorlist?re%70o=fedora%2D44&arch=x86%5F64").status == 200
    assert client()(f"/mirrorlist?path={OS.replace('/', '%2F')}").status == 200


def test_d5_entries_of_forwarded_headers_need_no_blank_and_several_lines_are_one() -> None:
    """D5: the reference splits at comma and blank, and reads the first of several lines."""
    ask = client(policy=CLASSIC._replace(trusted_proxies=1, minimum_hosts=0))
    joined = f"6.6.6.6,{IN_SWEDEN},{IN_GERMANY}"
    assert "country = DE " in ask(f"/mirrorlist?path={OS}", "127.0.0.1", X_Forwarded_For=joined).comment


def test_d6_a_client_cannot_choose_its_address_unless_it_is_allowed() -> None:
    """D6: private mirrors would serve anybody."""
    url = f"/mirrorlist?path={OS}&ip=10.1.2.3"
    assert "lab.example" not in client(policy=CLASSIC)(url).text
    assert "lab.example" in client(policy=CLASSIC._replace(allow_ip_parameter=True))(url).text


@pytest.mark.parametrize(
    ("url", "status"),
    [("/x", 404), ("/mirrorlist", 400), ("/mirrorlist?repo=off&arch=x86_64", 404), ("/mirrorlist?path=n/a", 404)],
)
def test_d7_errors_have_a_type_and_a_status_that_is_no_success(url: str, status: int) -> None:
    """D7"""
    answer = client()(url)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "text/plain")


def test_d7_an_error_of_a_metalink_is_xml() -> None:
    """D7: the reference sends plain text for a repository without repodata."""
    answer = client()("/metalink?repo=updates-44&arch=x86_64")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/metalink+xml")
    ElementTree.fromstring(answer.text)


@pytest.mark.parametrize("rest", ["", "&redirect", "&format=apt", "&protocol=http,https"])
def test_d8_https_comes_first_whatever_order_the_operator_chose(rest: str) -> None:
    """D8: DANE lists http first."""
    answer = client()(f"/mirrorlist?path={OS}&country=DK{rest}")
    first = answer.headers.get("Location") or answer.urls[0]
    assert first.startswith("https://dane.example/")


def test_d9_xml_is_escaped() -> None:
    """D9"""
    answer = client()(f"/metalink?path={TOP}/images/R%26D%20%3C1%3E.iso")
    root = ElementTree.fromstring(answer.text)
    assert [file.get("name") for file in root.iter("{http://www.metalinker.org/}file")] == ["R&D <1>.iso"]


def test_d10_an_autonomous_system_without_the_content_is_not_mentioned() -> None:
    """D10: STALE claimed AS 99, and does not have the directory."""
    assert "ASN" not in client()(f"/mirrorlist?path={OS}", "203.0.113.9").comment
    assert "Using ASN 99 " in client()(f"/mirrorlist?path={TOP}", "203.0.113.9").comment


DEFECTS_ELSEWHERE = {
    "D3 full disk": "redirector/test_access_log.test_a_full_disk_costs_lines_that_are_counted_and_one_complaint",
    "D11 reload": "redirector/test_store.test_the_background_thread_notices_a_new_file",
    "D11 log": "redirector/test_access_log.test_it_is_opened_anew_on_demand",
    "D11 netblocks": "redirector/test_index.test_a_netblock_that_cannot_be_read_is_reported_and_spoils_nothing",
}


@pytest.mark.parametrize("defect", DEFECTS_ELSEWHERE)
def test_d11_and_others_are_shown_right_where_files_are(defect: str) -> None:
    """D3, D11"""
    module, _, name = DEFECTS_ELSEWHERE[defect].partition(".")
    assert f"\ndef {name}(" in (TESTS / f"{module}.py").read_text()


def test_d12_hosts_that_are_not_in_the_cache_inherit_nothing() -> None:
    """D12: an id that the reference's generator does not know gets the first host's flags.

    A set that names a host which does not exist is refused by the codec (tests/lib/test_cache_codec.py); in memory
    it is served to nobody.
    """
    cache = world(netblock_hosts={"192.0.2.0/24": 1 << 40}, masks=[mask(SWEDE) | 1 << 40] * 4)
    assert decided(f"/mirrorlist?path={OS}", build(cache), BALANCED).selection.hosts == [SWEDE]


@pytest.mark.parametrize("number", [SWEDE, LAB, STALE])
def test_d13_a_host_is_found_by_netblock_and_autonomous_system_whatever_its_number(number: int) -> None:
    """D13: the host with number 0 was not."""
    by_netblock = world(netblock_hosts={"198.18.0.0/15": mask(number)})
    by_system = world(netblock_hosts={}, asn_hosts={1221: mask(number)})
    for cache, address in ((by_netblock, "198.18.1.1"), (by_system, "172.16.0.1")):
        assert decided(f"/mirrorlist?path={TOP}", build(cache), BALANCED, address).selection.hosts[0] == number


class Unscanned(dict[Any, Any]):
    """A table that may be asked for a key, and not be walked through."""

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("somebody scans the table")

    keys = values = items = __iter__  # type: ignore[assignment]


def indexed(cache: MirrorlistCache) -> Index:
    """An index whose tables cannot be scanned after it was built."""
    index = build(cache, BALANCED)
    for category in index.categories:
        category._directories = Unscanned(category._directories)
        category._files = Unscanned(category._files)
    return index


@pytest.mark.parametrize("url", [f"/mirrorlist?{FEDORA}", f"/metalink?{FEDORA}", f"/redirect/{REPODATA}/repomd.xml"])
def test_d14_no_request_scans_directories_or_files(url: str) -> None:
    """D14: the cost of a request does not grow with them."""
    category = fedora()
    index = indexed(world(categories=[category], repositories={("fedora-44", "x86_64"): (0, OS)}))
    assert client(index, BALANCED)(url).status in (200, 302)
    assert client(index, BALANCED)("/mirrorlist?path=no/such/path").status == 404


class Counted(int):
    """Counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: int) -> bool:
        self.comparisons += 1
        return int(self) < int(other)


def test_d14_an_address_is_looked_up_by_a_binary_search_and_not_per_netblock() -> None:
    """D14"""
    blocks = {f"10.{n // 256}.{n % 256}.0/24": mask(SWEDE) for n in range(5000)}
    index = build(world(netblock_hosts=blocks), BALANCED)
    wanted = parse("10.3.7.9")
    assert wanted is not None
    number = Counted(wanted.number)
    assert [claim.netblock for claim in index.netblocks.matches(Address(4, number))] == ["10.3.7.0/24"]
    assert number.comparisons < 20


def test_every_defect_is_named_by_a_test() -> None:
    """D1 to D14 can be found by their numbers."""
    here = Path(__file__).read_text()
    for number in range(1, 15):
        assert f"def test_d{number}_" in here


def test_a_host_that_a_list_cannot_show_is_in_the_metalink() -> None:
    """(1.7)"""
    index = build(world(), BALANCED)
    assert JAPANESE not in decided(f"/mirrorlist?{FEDORA}", index, BALANCED).selection.hosts
    assert JAPANESE in decided(f"/metalink?{FEDORA}", index, BALANCED).selection.hosts


def test_a_refusal_is_a_value() -> None:
    """Every "no" of 1.8 has a name; docs/request.md lists them."""
    refusal = Refusal(Reason.MISSING, "nothing was asked for")
    assert refusal == Refusal(Reason.MISSING, "nothing was asked for") != Refusal(Reason.MISSING, "")
    with pytest.raises(AttributeError):
        refusal.detail = "another"  # type: ignore[misc]
