"""Debian's apt through a mirror list (mirror+http://) and through redirects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys import clients
from tests.journeys.mirrored import CORRUPT, GONE, GOOD, Mirrored

PACKAGE = "mm-hello_1.1_all.deb"


def mirror_list(world: Mirrored, path: str) -> str:
    """As docs/request.md tells administrators to write it."""
    return f"mirror+{world.redirector}/mirrorlist?path={path}&format=apt&stable=1"


def download(folder: Path, source: str) -> bytes:
    """Update and download the package, which must succeed."""
    for finished in clients.apt(folder, source, ("update", "--error-on=any"), ("download", "mm-hello")):
        assert finished.returncode == 0, finished.stdout + finished.stderr
    return (folder / PACKAGE).read_bytes()


@pytest.mark.parametrize("scenario", ["good", "dead", "gone"])
def test_apt_downloads_through_a_mirror_list_from_the_first_mirror_that_works(
    world: Mirrored, scenario: str, tmp_path: Path
) -> None:
    source = f"deb [signed-by={world.keyring}] {mirror_list(world, f'{scenario}/debian')} stable main"
    assert download(tmp_path, source) == world.content(GOOD, f"debian/pool/main/{PACKAGE}")
    assert scenario != "gone" or f"GET /debian/pool/main/{PACKAGE} 404" in world.asked(GONE)


def test_apt_reads_a_repository_without_suites_through_a_mirror_list(world: Mirrored, tmp_path: Path) -> None:
    source = f"deb [trusted=yes] {mirror_list(world, 'good/flat')} ./"
    assert download(tmp_path, source) == world.content(GOOD, f"flat/{PACKAGE}")


def test_apt_reads_the_new_style_of_sources(world: Mirrored, tmp_path: Path) -> None:
    """deb822, where the address may not hold what would need quotes."""
    parts = tmp_path / "etc/sources.list.d"
    parts.mkdir(parents=True)
    (parts / "mm.sources").write_text(
        f"Types: deb\nURIs: {mirror_list(world, 'good/debian')}\nSuites: stable\nComponents: main\n"
        f"Signed-By: {world.keyring}\n"
    )
    assert download(tmp_path, "# in sources.list.d") == world.content(GOOD, f"debian/pool/main/{PACKAGE}")


def test_apt_downloads_through_redirects(world: Mirrored, tmp_path: Path) -> None:
    source = f"deb [signed-by={world.keyring}] {world.redirector}/redirect/good/debian stable main"
    assert download(tmp_path, source) == world.content(GOOD, f"debian/pool/main/{PACKAGE}")


@pytest.mark.parametrize("base", ["mirror", "redirect"])
def test_apt_refuses_what_a_corrupt_mirror_has(world: Mirrored, base: str, tmp_path: Path) -> None:
    """It does not ask the next mirror then."""
    path = "corrupt/debian"
    uri = mirror_list(world, path) if base == "mirror" else f"{world.redirector}/redirect/{path}"
    source = f"deb [signed-by={world.keyring}] {uri} stable main"
    (finished,) = clients.apt(tmp_path, source, ("update", "--error-on=any"))
    assert finished.returncode == 100
    assert "Hash Sum mismatch" in finished.stderr
    assert "GET /debian/dists/stable/main/binary-amd64/Packages 200" in world.asked(CORRUPT)
