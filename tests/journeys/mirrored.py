"""A redirector with a cache made by hand, in front of mirrors of which some are good and others bad in one way each.

Every scenario is a category: its path on the redirector starts with its name. All of them have the same content below
that, so one tree per mirror serves them all:

    repo/     an RPM repository         iso/    images, one with an odd name
    debian/   an APT repository         flat/   an APT repository without suites
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mm_lib.cache import codec, file
from mm_lib.cache.schema import Category, FileDetail, Host, MirrorlistCache
from tests.journeys.packages import Signer, build_deb, build_rpm, create_apt_repository, create_repository
from tests.journeys.program import Installation
from tests.servers import Nginx

# In this order in every answer to this machine, see netblock_hosts.
DEAD, GONE, CORRUPT, STALE, GOOD, SPARE = HOSTS = ("dead", "gone", "corrupt", "stale", "good", "spare")

SCENARIOS = {
    "good": (GOOD, SPARE),
    "dead": (DEAD, GOOD),
    "gone": (GONE, GOOD),
    "corrupt": (CORRUPT, GOOD),
    "stale": (STALE, GOOD),
    "bad": (DEAD, GONE, CORRUPT),
    "outdated": (STALE,),
    "superseded": (STALE,),  # the metalink has the hash of its metadata as an alternate
}
IMAGE = "image.iso"
ODD_IMAGE = "R&D <1> 100% ü'+.iso"
AMPERSAND_IMAGE = "R&D+2.iso"  # as much as wget2 can bear
IMAGES = (IMAGE, ODD_IMAGE, AMPERSAND_IMAGE)
DEAD_ADDRESS = "127.0.0.2"
SIGNED = ("Release", "InRelease")  # the corrupt mirror has them as they should be: what they name is bad
REPOMD = "repo/repodata/repomd.xml"
DIRECTORIES = (
    *("", "repo", "repo/repodata", "iso", "flat", "debian", "debian/pool/main", "debian/dists/stable"),
    "debian/dists/stable/main/binary-amd64",
)


@dataclass(frozen=True)
class Mirrored:
    """Where everything is."""

    redirector: str
    nginx: Nginx
    urls: dict[str, str]  # of the mirrors
    trees: dict[str, Path]
    keyring: Path  # of the APT repository

    def content(self, mirror: str, path: str) -> bytes:
        """A file as a mirror has it."""
        return (self.trees[mirror] / path).read_bytes()

    def asked(self, mirror: str) -> list[str]:
        """What a mirror was asked so far."""
        return self.nginx.requests(mirror)


@contextmanager
def mirrored(folder: Path) -> Iterator[Mirrored]:
    """Make the trees, start the mirrors, publish the cache and start the redirector."""
    keyring = folder / "archive.gpg"
    with Signer(keyring) as signer:
        trees = _make_trees(folder, signer)
    with socket.socket() as unanswered, Nginx(trees) as nginx:
        # Bound, but never listening: connections are refused as long as it is held. On an address of its own, because
        # apt gives up an address, whatever the port, after one refused connection.
        unanswered.bind((DEAD_ADDRESS, 0))
        urls = nginx.urls | {DEAD: f"http://{DEAD_ADDRESS}:{unanswered.getsockname()[1]}"}
        installation = Installation(folder, redirector__workers="1")
        (folder / "mirrormanager.toml").touch()
        file.publish(folder / "mirrorlist.cache", codec.encode(_cache(urls, trees)))
        with installation.serving("mm-redirector", "REDIRECTOR") as redirector:
            yield Mirrored(redirector, nginx, urls, trees, keyring)


def _make_trees(folder: Path, signer: Signer) -> dict[str, Path]:
    trees = {name: folder / "mirrors" / name for name in HOSTS if name != DEAD}
    for name, version, day in ((STALE, "1.0", 0), (GOOD, "1.1", 1)):
        (trees[name] / "repo").mkdir(parents=True)
        shutil.copy(build_rpm(folder, version), trees[name] / "repo")
        create_repository(trees[name] / "repo", day)
        create_apt_repository(trees[name], build_deb(folder, version), signer)
        (trees[name] / "iso").mkdir()
        for image in IMAGES:
            (trees[name] / "iso" / image).write_bytes(f"{image} {version} ".encode() * 5000)
    trees[GONE].mkdir()
    for name in (SPARE, CORRUPT):
        shutil.copytree(trees[GOOD], trees[name])
    for path in filter(Path.is_file, trees[CORRUPT].rglob("*")):
        if path.name not in SIGNED:
            _tamper(path)
    return trees


def _tamper(path: Path) -> None:
    """Same size, and still well-formed where that matters: only a hash can tell."""
    content = path.read_bytes()
    changed = content.replace(b"<revision>1", b"<revision>9", 1)
    path.write_bytes(changed if changed != content else content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])


def _cache(urls: dict[str, str], trees: dict[str, Path]) -> MirrorlistCache:
    hosts = [Host(n, name, "Site", "DE", 100, False, 1, None, None, (), ()) for n, name in enumerate(HOSTS)]
    categories = [_category(name, members, urls, trees) for name, members in SCENARIOS.items()]
    return MirrorlistCache(
        generated_at=int(time.time()),
        generation=1,
        hosts=hosts,
        masks=[_mask(members) for members in SCENARIOS.values()],
        categories=categories,
        repositories={(name, "x86_64"): (n, f"{name}/repo") for n, name in enumerate(SCENARIOS)},
        # The more specific the netblock, the earlier the host.
        netblock_hosts={
            f"{'127.0.0.1' if not n else '127.0.0.0'}/{32 - n}": 1 << n for n in range(len(HOSTS))
        },
        country_continents={"DE": "EU"},
    )  # fmt: skip


def _mask(members: tuple[str, ...]) -> int:
    return sum(1 << HOSTS.index(name) for name in members)


def _category(scenario: str, members: tuple[str, ...], urls: dict[str, str], trees: dict[str, Path]) -> Category:
    versions = (GOOD, STALE) if scenario == "superseded" else (GOOD,)
    files = [REPOMD, *(f"iso/{image}" for image in IMAGES)]
    return Category(
        scenario,
        scenario,
        {HOSTS.index(name): (urls[name],) for name in members},
        {f"{scenario}/{path}".rstrip("/"): list(SCENARIOS).index(scenario) for path in DIRECTORIES},
        {f"{scenario}/{path}": tuple(_detail(trees[tree] / path) for tree in versions) for path in files},
    )


def _detail(path: Path) -> FileDetail:
    content = path.read_bytes()
    sums = [hashlib.new(name, content).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")]
    return FileDetail(int(path.stat().st_mtime), len(content), *sums)
