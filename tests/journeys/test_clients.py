"""Real clients read our answers, check what they fetch, and go on to the next mirror as far as each of them can.

The scenarios are in mirrored.py: "gone" is a mirror that answers 404 before a good one, and so on. yum and dnf5 are not
in Debian; librepo is what both ask through.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.journeys import clients
from tests.journeys.clients import Finished
from tests.journeys.mirrored import (
    AMPERSAND_IMAGE,
    CORRUPT,
    GONE,
    GOOD,
    IMAGE,
    ODD_IMAGE,
    REPOMD,
    SCENARIOS,
    STALE,
    Mirrored,
)  # fmt: skip
from tests.journeys.program import get

METALINKS = ("metalink", "meta4")
MIRROR_FAILS = ("dead", "gone")  # scenarios of a first mirror that has nothing, where the second is good
HASH_DIFFERS = {"corrupt": CORRUPT, "stale": STALE}  # the same with other content, and the mirror that has it


def repository(world: Mirrored, scenario: str, kind: str = "metalink") -> str:
    """The URL of the answer about an RPM repository."""
    return f"{world.redirector}/{kind}?repo={scenario}&arch=x86_64"


def metalink(world: Mirrored, scenario: str, form: str = "metalink", image: str = IMAGE) -> str:
    """The URL of the metalink of an image."""
    return f"{world.redirector}/metalink?path={scenario}/iso/{quote(image)}&format={form}"


def version(finished: Finished) -> str:
    """Of the package that a package manager found in the repository; it must have succeeded."""
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = re.search(r"\b1\.\d(?=-1\b)", finished.stdout)
    assert found, finished.stdout + finished.stderr
    return found.group()


def downloaded(folder: Path, finished: Finished) -> bytes:
    """The one file that a client left; it must have succeeded."""
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (path,) = folder.iterdir()
    return path.read_bytes()


@pytest.mark.parametrize(("scenario", "mirrors"), list(SCENARIOS.items()))
def test_mirrors_are_answered_in_the_order_that_the_other_tests_rely_on(
    world: Mirrored, scenario: str, mirrors: tuple[str, ...]
) -> None:
    ports = re.findall(r"http://127\.0\.0\.\d:(\d+)/iso/", get(metalink(world, scenario)))
    expected = [world.urls[name].rpartition(":")[2] for name in mirrors]
    assert ports == expected


# dnf


@pytest.mark.parametrize("scenario", ["good", *MIRROR_FAILS, *HASH_DIFFERS])
def test_dnf_finds_the_newest_package_whatever_the_first_mirror_does(
    world: Mirrored, scenario: str, tmp_path: Path
) -> None:
    before = {name: len(world.asked(name)) for name in (GONE, CORRUPT, STALE)}
    source = f"metalink={repository(world, scenario)}"
    assert version(clients.dnf(tmp_path, source, "-q", "repoquery", "mm-hello")) == "1.1"
    first = SCENARIOS[scenario][0]
    assert first not in before or any(REPOMD in line for line in world.asked(first)[before[first] :])


@pytest.mark.parametrize("scenario", ["good", *MIRROR_FAILS])
def test_dnf_reads_a_mirrorlist(world: Mirrored, scenario: str, tmp_path: Path) -> None:
    source = f"mirrorlist={repository(world, scenario, 'mirrorlist')}"
    assert version(clients.dnf(tmp_path, source, "-q", "repoquery", "mm-hello")) == "1.1"


def test_dnf_follows_redirects_below_a_base_url(world: Mirrored, tmp_path: Path) -> None:
    target = tmp_path / "rpms"
    source = f"baseurl={world.redirector}/redirect/good/repo/"
    finished = clients.dnf(tmp_path / "dnf", source, "install", "--downloadonly", f"--downloaddir={target}", "mm-hello")
    assert downloaded(target, finished) == world.content(GOOD, "repo/mm-hello-1.1-1.noarch.rpm")


def test_dnf_accepts_a_stale_mirror_whose_hash_is_an_alternate(world: Mirrored, tmp_path: Path) -> None:
    source = f"metalink={repository(world, 'superseded')}"
    assert version(clients.dnf(tmp_path, source, "-q", "repoquery", "mm-hello")) == "1.0"


@pytest.mark.parametrize("scenario", ["outdated", "bad"])
def test_dnf_refuses_mirrors_of_which_none_has_what_the_metalink_describes(
    world: Mirrored, scenario: str, tmp_path: Path
) -> None:
    finished = clients.dnf(tmp_path, f"metalink={repository(world, scenario)}", "makecache")
    assert finished.returncode == 1
    assert "All mirrors were tried" in finished.stderr


# librepo


@pytest.mark.parametrize("scenario", ["good", *MIRROR_FAILS, *HASH_DIFFERS])
def test_librepo_fetches_the_newest_metadata_whatever_the_first_mirror_does(
    world: Mirrored, scenario: str, tmp_path: Path
) -> None:
    finished = clients.librepo(tmp_path, "LRO_METALINKURL", repository(world, scenario))
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "repodata/repomd.xml").read_bytes() == world.content(GOOD, REPOMD)


def test_librepo_reads_all_hashes(world: Mirrored, tmp_path: Path) -> None:
    finished = clients.librepo(tmp_path, "LRO_METALINKURL", repository(world, "good"))
    assert finished.returncode == 0, finished.stderr
    assert clients.facts(finished) == {"hashes": ["md5", "sha1", "sha256", "sha512"], "alternates": 0}


def test_librepo_accepts_a_stale_mirror_whose_hash_is_an_alternate(world: Mirrored, tmp_path: Path) -> None:
    finished = clients.librepo(tmp_path, "LRO_METALINKURL", repository(world, "superseded"))
    assert finished.returncode == 0, finished.stderr
    assert clients.facts(finished)["alternates"] == 1
    assert (tmp_path / "repodata/repomd.xml").read_bytes() == world.content(STALE, REPOMD)


@pytest.mark.parametrize("scenario", ["outdated", "bad"])
def test_librepo_refuses_mirrors_of_which_none_has_what_the_metalink_describes(
    world: Mirrored, scenario: str, tmp_path: Path
) -> None:
    finished = clients.librepo(tmp_path, "LRO_METALINKURL", repository(world, scenario))
    assert finished.returncode == 1
    assert "All mirrors were tried" in finished.stderr


@pytest.mark.parametrize("scenario", ["good", *MIRROR_FAILS])
def test_librepo_reads_a_mirrorlist(world: Mirrored, scenario: str, tmp_path: Path) -> None:
    finished = clients.librepo(tmp_path, "LRO_MIRRORLISTURL", repository(world, scenario, "mirrorlist"))
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "repodata/repomd.xml").read_bytes() == world.content(GOOD, REPOMD)


# zypper. It takes a metalink for a list of URLs: it does not compare hashes, so a stale mirror would be believed.


@pytest.mark.parametrize(
    ("key", "kind"), [("metalink", "metalink"), ("mirrorlist", "metalink"), ("mirrorlist", "mirrorlist")]
)
def test_zypper_reads_metalinks_under_both_keys_and_lists(world: Mirrored, key: str, kind: str, tmp_path: Path) -> None:
    finished = clients.zypper(tmp_path, f"{key}={repository(world, 'good', kind)}", "search", "-s", "mm-hello")
    assert version(finished) == "1.1"


@pytest.mark.parametrize("scenario", [*MIRROR_FAILS, "corrupt"])
def test_zypper_goes_on_to_the_next_mirror(world: Mirrored, scenario: str, tmp_path: Path) -> None:
    """Of the corrupt mirror it is the files that repomd.xml names by their hash which give it away."""
    source = f"metalink={repository(world, scenario)}"
    assert version(clients.zypper(tmp_path, source, "search", "-s", "mm-hello")) == "1.1"


# aria2


@pytest.mark.parametrize("form", METALINKS)
@pytest.mark.parametrize("scenario", ["good", *MIRROR_FAILS])
def test_aria2_downloads_and_verifies_from_the_first_mirror_that_has_the_file(
    world: Mirrored, scenario: str, form: str, tmp_path: Path
) -> None:
    finished = clients.aria2(tmp_path, metalink(world, scenario, form))
    assert downloaded(tmp_path, finished) == world.content(GOOD, f"iso/{IMAGE}")
    assert "Verification finished successfully" in finished.stdout


@pytest.mark.parametrize("form", METALINKS)
@pytest.mark.parametrize("scenario", list(HASH_DIFFERS))
def test_aria2_refuses_a_file_with_another_hash(world: Mirrored, scenario: str, form: str, tmp_path: Path) -> None:
    """It does not ask the next mirror then."""
    assert clients.aria2(tmp_path, metalink(world, scenario, form)).returncode == clients.ARIA2_CHECKSUM_ERROR


@pytest.mark.parametrize("form", METALINKS)
def test_aria2_downloads_a_file_with_an_odd_name(world: Mirrored, form: str, tmp_path: Path) -> None:
    finished = clients.aria2(tmp_path, metalink(world, "good", form, ODD_IMAGE))
    assert downloaded(tmp_path, finished) == world.content(GOOD, f"iso/{ODD_IMAGE}")


@pytest.mark.parametrize("scenario", ["good", *MIRROR_FAILS])
def test_aria2_is_given_a_metalink_where_others_are_redirected(world: Mirrored, scenario: str, tmp_path: Path) -> None:
    """It says in its Accept header that it would rather have one."""
    finished = clients.aria2(tmp_path, f"{world.redirector}/redirect/{scenario}/iso/{IMAGE}")
    assert downloaded(tmp_path, finished) == world.content(GOOD, f"iso/{IMAGE}")
    assert "Verification finished successfully" in finished.stdout


# wget2. Where the first mirror fails it asks the same URL for ever, so it meets good mirrors only.


@pytest.mark.parametrize("form", METALINKS)
@pytest.mark.parametrize("image", [IMAGE, AMPERSAND_IMAGE])
def test_wget2_downloads_and_verifies(world: Mirrored, form: str, image: str, tmp_path: Path) -> None:
    finished = clients.wget2(tmp_path, metalink(world, "good", form, image))
    assert downloaded(tmp_path, finished) == world.content(GOOD, f"iso/{image}")
    assert "Checksum OK" in finished.stdout


@pytest.mark.parametrize("image", [IMAGE, AMPERSAND_IMAGE])
def test_wget2_follows_the_link_to_the_metalink_that_describes_a_redirect(
    world: Mirrored, image: str, tmp_path: Path
) -> None:
    # Version 1.99.1 leaves the port out of its own Host header.
    host = f"Host: {world.redirector.removeprefix('http://')}"
    finished = clients.wget2(tmp_path, "--header", host, f"{world.redirector}/redirect/good/iso/{quote(image)}")
    assert downloaded(tmp_path, finished) == world.content(GOOD, f"iso/{image}")
    assert "Checksum OK" in finished.stdout


# curl


@pytest.mark.parametrize("image", [IMAGE, ODD_IMAGE])
def test_curl_follows_the_redirect_to_a_file(world: Mirrored, image: str, tmp_path: Path) -> None:
    finished = clients.curl(tmp_path, f"{world.redirector}/redirect/good/iso/{quote(image)}")
    assert downloaded(tmp_path, finished) == world.content(GOOD, f"iso/{image}")


def test_curl_follows_the_redirect_to_a_directory(world: Mirrored, tmp_path: Path) -> None:
    finished = clients.curl(tmp_path, f"{world.redirector}/redirect/good/repo")
    assert b"mm-hello-1.1-1.noarch.rpm" in downloaded(tmp_path, finished)
    assert "GET /repo/ 200" in world.asked(GOOD)


def test_curl_is_told_of_a_file_that_no_mirror_has(world: Mirrored, tmp_path: Path) -> None:
    assert "404" in clients.curl(tmp_path, f"{world.redirector}/redirect/elsewhere/{IMAGE}").stderr
