"""From a master tree to dnf: scan, crawl, build, serve, and the real dnf fetches through the answer."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import TEMPLATE
from tests.journeys import clients
from tests.journeys.clients import Finished
from tests.journeys.packages import build_rpm, create_repository
from tests.journeys.program import Installation, get
from tests.postgres import Postgres
from tests.servers import Nginx

TOPDIR = "pub/fedora/linux"
REPOSITORY = f"{TOPDIR}/updates/44/Everything/x86_64"
REPOMD = f"{REPOSITORY}/repodata/repomd.xml"
QUERY = "repo=updates-released-f44&arch=x86_64"


class World:
    """A master, three mirrors behind nginx (one stale), and an installation that knows them."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.master = folder / "master"
        self.mirrors = {name: folder / name for name in ("first", "second", "stale")}
        # A stale mirror is out at once here; that alternates keep it in for a while has its own test.
        self.installation = Installation(folder, database__url=database_url, crawler__max_stale_days="0")
        self.dnf_runs = 0

    def publish_update(self, version: str, day: int) -> None:
        """The master gets a new version of the package."""
        repository = self.master / REPOSITORY
        repository.mkdir(parents=True, exist_ok=True)
        shutil.copy(build_rpm(self.folder, version), repository)
        create_repository(repository, day)

    def sync(self, *names: str) -> None:
        """Mirrors copy the master."""
        for name in names:
            shutil.rmtree(self.mirrors[name], ignore_errors=True)
            shutil.copytree(self.master, self.mirrors[name])

    def register(self, nginx: Nginx) -> None:
        """What an administrator does once."""
        admin = self.installation.admin
        admin("init")
        admin("db", "upgrade")
        admin("product", "add", "Fedora")
        admin("arch", "add", "x86_64")
        admin(
            "category",
            "add",
            "Fedora Linux",
            "--product",
            "Fedora",
            "--topdir",
            TOPDIR,
            "--source",
            str(self.master / TOPDIR),
        )
        admin("rules", "load", "fedora")
        for name, url in nginx.urls.items():
            admin("site", "add", name.title())
            admin("host", "add", name.title(), f"{name}.example", "--country", "DE")
            admin("url", "add", f"{name}.example", "Fedora Linux", f"{url}/{TOPDIR}")
        admin("netblock", "add", "first.example", "127.0.0.0/8")  # first in every answer to this machine

    def scan_crawl_publish(self) -> None:
        """What cron does. The scan keeps the older version of the metadata as an alternate."""
        self.installation.run("mm-crawler", "master", crawler__max_stale_days="4")
        self.installation.run("mm-crawler", "mirrors")
        self.installation.admin("cache", "build")

    def dnf(self, url: str, *command: str) -> Finished:
        """Run dnf with an empty cache and the metalink as its only source."""
        self.dnf_runs += 1
        source = f"metalink={url}/metalink?repo=updates-released-f$releasever&arch=x86_64"
        return clients.dnf(self.folder / f"dnf-{self.dnf_runs}", source, *command)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp(f"journey-{request.param}")
    if request.param == "sqlite":
        yield World(folder, f"sqlite:///{folder}/mm.sqlite")
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.create(TEMPLATE)
    yield World(folder, server.url(name))
    server.drop(name)


@pytest.fixture(scope="module")
def nginx(world: World) -> Iterator[Nginx]:
    """The mirrors: two in sync, one a day behind; the master knows both days."""
    world.publish_update("1.0", day=0)
    world.sync("first", "second", "stale")
    with Nginx(world.mirrors) as server:
        world.register(server)
        world.scan_crawl_publish()
        world.publish_update("1.1", day=1)
        world.sync("first", "second")
        world.scan_crawl_publish()
        yield server


@pytest.fixture(scope="module")
def redirector(world: World, nginx: Nginx) -> Iterator[str]:
    with world.installation.serving("mm-redirector", "REDIRECTOR") as url:
        yield url


@pytest.fixture(autouse=True)
def _mirrors_as_they_were(world: World, redirector: str) -> Iterator[None]:
    yield
    world.sync("first", "second")


def asked(nginx: Nginx, mirror: str) -> list[str]:
    return [line for line in nginx.requests(mirror) if line.startswith("GET") and "/repodata/" in line]


def test_the_stale_mirror_is_absent_from_the_answer(redirector: str, nginx: Nginx) -> None:
    listed = get(f"{redirector}/mirrorlist?{QUERY}")
    assert nginx.urls["first"] in listed
    assert nginx.urls["second"] in listed
    assert nginx.urls["stale"] not in listed


def test_the_preferred_mirror_comes_first(redirector: str, nginx: Nginx) -> None:
    urls = re.findall(r"<url [^>]*>([^<]+)", get(f"{redirector}/metalink?{QUERY}"))
    assert urls[0] == f"{nginx.urls['first']}/{REPOMD}"


def test_dnf_makes_its_cache_through_the_metalink(world: World, redirector: str) -> None:
    finished = world.dnf(redirector, "makecache")
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_dnf_downloads_the_newest_rpm(world: World, redirector: str) -> None:
    target = world.folder / "downloaded"
    finished = world.dnf(redirector, "install", "--downloadonly", f"--downloaddir={target}", "mm-hello")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (rpm,) = target.glob("*.rpm")
    assert rpm.read_bytes() == (world.master / REPOSITORY / "mm-hello-1.1-1.noarch.rpm").read_bytes()


def test_dnf_goes_on_to_the_next_mirror_when_the_first_has_lost_its_metadata(
    world: World, redirector: str, nginx: Nginx
) -> None:
    (world.mirrors["first"] / REPOMD).unlink()
    before = len(asked(nginx, "second"))
    finished = world.dnf(redirector, "makecache")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"GET /{REPOMD} 404" in nginx.requests("first")[-20:]
    assert len(asked(nginx, "second")) > before


def test_dnf_skips_a_mirror_with_a_tampered_repomd_thanks_to_the_hash(
    world: World, redirector: str, nginx: Nginx
) -> None:
    tampered = world.mirrors["first"] / REPOMD
    content = tampered.read_bytes()
    # Same size and still well-formed: only the hash can tell.
    tampered.write_bytes(content.replace(b"<revision>1", b"<revision>9", 1))
    assert tampered.read_bytes() != content
    before = len(asked(nginx, "second"))
    finished = world.dnf(redirector, "makecache")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"GET /{REPOMD} 200" in nginx.requests("first")[-20:]
    assert f"GET /{REPOMD} 200" in asked(nginx, "second")[before:]


def test_dnf_fails_when_no_mirror_is_good(world: World, redirector: str) -> None:
    """What proves that the tests above can fail."""
    for name in ("first", "second"):
        (world.mirrors[name] / REPOMD).unlink()
    assert world.dnf(redirector, "makecache").returncode != 0


def test_a_recently_superseded_mirror_is_offered_together_with_its_hash_as_alternate(
    world: World, redirector: str, nginx: Nginx
) -> None:
    """With max_stale_days=4 the day-old mirror is in the answer, and the metalink lets clients accept its file."""
    installation = Installation(world.folder, database__url=world.installation.environment["MM_DATABASE__URL"])
    installation.environment["MM_CACHE__FILE"] = str(world.folder / "alternates.cache")
    for command in (("mm-crawler", "mirrors"), ("mm-admin", "cache", "build")):
        installation.run(*command, crawler__max_stale_days="4")
    with installation.serving("mm-redirector", "REDIRECTOR") as url:
        metalink = ET.fromstring(get(f"{url}/metalink?{QUERY}"))
    mirrors = [node.text for node in metalink.iter("{http://www.metalinker.org/}url")]
    alternates = list(metalink.iter("{http://fedorahosted.org/mirrormanager}alternate"))
    assert f"{nginx.urls['stale']}/{REPOMD}" in mirrors
    assert len(alternates) == 1
