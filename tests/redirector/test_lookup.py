"""Which directory and file a query means."""

from __future__ import annotations

import pytest

from mm_lib.cache.schema import Category
from mm_redirector.index import build
from mm_redirector.lookup import Target, find
from mm_redirector.query import MirrorQuery, Reason, Refusal, parse
from mm_redirector.settings import Policy
from tests.redirector.world import NEWEST, OLDER, OS, REPODATA, STALE, TOP, mask, world

INDEX = build(world())


def found(query: str, path: str = "/mirrorlist") -> Target | Refusal:
    asked = parse({"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query}, Policy())
    assert isinstance(asked, MirrorQuery)
    return find(asked, INDEX)


def target(query: str, path: str = "/mirrorlist") -> Target:
    result = found(query, path)
    assert isinstance(result, Target)
    return result


def reason(query: str, path: str = "/mirrorlist") -> Reason:
    result = found(query, path)
    assert isinstance(result, Refusal)
    return result.reason


def test_a_repository_means_its_directory_in_a_list() -> None:
    hit = target("repo=fedora-44&arch=x86_64")
    assert (hit.path, hit.file, hit.title) == (OS, None, "repo = fedora-44 arch = x86_64")


def test_a_mirror_with_old_metadata_is_not_in_the_list_of_a_repository() -> None:
    """A list carries no hash by which dnf could tell."""
    assert target("repo=lagging&arch=x86_64").carriers == mask(*range(STALE))


def test_a_mirror_with_old_metadata_still_carries_the_directory_itself() -> None:
    assert target(f"path={TOP}/lagging").carriers == mask(*range(STALE + 1))


def test_a_repository_means_its_repomd_xml_in_a_metalink() -> None:
    hit = target("repo=fedora-44&arch=x86_64", "/metalink")
    assert (hit.path, hit.file) == (REPODATA, "repomd.xml")


def test_a_directory_that_is_already_repodata_is_not_extended() -> None:
    hit = target("repo=already-repodata&arch=x86_64", "/metalink")
    assert (hit.path, hit.file) == (REPODATA, "repomd.xml")


def test_a_redirect_is_followed_once() -> None:
    assert target("repo=rawhide&arch=x86_64").title == "repo = fedora-44 arch = x86_64"
    assert reason("repo=twice&arch=x86_64") is Reason.UNKNOWN_REPOSITORY


def test_repositories_are_case_sensitive() -> None:
    assert reason("repo=Fedora-44&arch=x86_64") is Reason.UNKNOWN_REPOSITORY


def test_a_disabled_repository_is_named_as_such_also_through_a_redirect() -> None:
    assert reason("repo=off&arch=x86_64") is Reason.DISABLED
    assert reason("repo=alias-of-off&arch=x86_64") is Reason.DISABLED


def test_a_metalink_of_a_repository_without_repodata_is_refused_by_name() -> None:
    """In the reference this is a plain-text 500 (D7)."""
    assert found("repo=updates-44&arch=x86_64", "/metalink") == Refusal(
        Reason.NO_DETAILS, f"{TOP}/updates/44/x86_64/repodata/repomd.xml not found or has not metalink"
    )


def test_a_metalink_without_file_details_is_refused() -> None:
    assert reason("repo=bare&arch=x86_64", "/metalink") is Reason.NO_DETAILS


def test_a_metalink_whose_newest_version_has_only_md5_is_refused() -> None:
    """librepo takes md5 as proof, and a size as nothing to check at all."""
    assert reason("repo=old&arch=x86_64", "/metalink") is Reason.NO_DETAILS


def test_older_versions_with_md5_alone_are_left_out() -> None:
    assert target(f"path={REPODATA}/repomd.xml", "/metalink").details == (NEWEST, OLDER)


@pytest.mark.parametrize("path", [OS, f"/{OS}", f"{OS}/", f"///{OS}//", OS.replace("/", "///")])
def test_surplus_slashes_of_a_path_do_not_matter(path: str) -> None:
    hit = target(f"path={path}")
    assert (hit.path, hit.file, hit.title) == (OS, None, f"path = {OS}")


def test_a_file_below_a_known_directory_need_not_be_known() -> None:
    hit = target(f"path={OS}/any-file")
    assert (hit.path, hit.file) == (OS, "any-file")


@pytest.mark.parametrize("path", ["", "/", "n/a", "nowhere/file", f"{OS}/no/such", f"{OS}/..", f"{OS}/.", ".."])
def test_any_other_path_is_invalid(path: str) -> None:
    assert found(f"path={path}") == Refusal(Reason.INVALID_PATH, "error: invalid path")


def test_path_wins_over_repo_and_arch() -> None:
    assert target(f"path={TOP}&repo=fedora-44&arch=x86_64").path == TOP


def test_a_directory_has_no_metalink() -> None:
    assert reason(f"path={OS}", "/metalink") is Reason.NO_DETAILS


def test_any_file_with_details_has_a_metalink() -> None:
    assert target(f"path={TOP}/images/a.iso", "/metalink").details == (NEWEST,)


def test_a_category_without_top_directory_is_found_by_the_whole_path() -> None:
    hit = target("path=dists/trixie/Release")
    assert hit.category.below_topdir(hit.path) == "dists/trixie"


def test_the_first_category_that_has_a_path_answers_for_it() -> None:
    second = Category("Copy", "pub", {}, {OS: 1}, {})
    index = build(world(categories=[*world().categories, second]))
    asked = parse({"REQUEST_METHOD": "GET", "PATH_INFO": "/mirrorlist", "QUERY_STRING": f"path={OS}"}, Policy())
    assert isinstance(asked, MirrorQuery)
    hit = find(asked, index)
    assert isinstance(hit, Target)
    assert (hit.category.name, hit.carriers) == ("Fedora Linux", mask(*range(10)))
