"""Builds a small but real master tree: Fedora-like releases, updates and images, EPEL-like repositories.

    python utils/demo/master_tree.py DIRECTORY [--day 0|1]

Day 0 is the older state; day 1 adds a package to the updates, as a push on the next day does. Names, contents and
times are the same on every machine.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FEDORA = Path("pub/fedora/linux")  # topdirs of the two categories
EPEL = Path("pub/epel")
ARCHES = ("x86_64", "aarch64")
DAY_0 = 1_760_940_000  # 2025-10-20 06:00 UTC
DAY = 86_400

PACKAGES = Path(__file__).parent / "packages"
CREATEREPO = Path(sys.executable).with_name("createrepo_c")  # the wheel's, not the system's
HELLO_1_0 = "hello-mirror-1.0-1.noarch.rpm"
HELLO_1_1 = "hello-mirror-1.1-1.noarch.rpm"
DOCS = "hello-mirror-docs-1.0-1.noarch.rpm"
SOURCE = "hello-mirror-1.0-1.src.rpm"


@dataclass(frozen=True)
class Repo:
    """A repository, its packages and when it was last pushed."""

    path: Path
    packages: tuple[str, ...]
    time: int = DAY_0


def build(root: Path, day: int = 1) -> None:
    """Make the tree below root as it is on that day, or bring an existing one there; what is right already stays."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda repo: _build_repo(root, repo), repos(day)))
    for arch in ARCHES:
        _build_images(root / FEDORA / "releases/44/Workstation" / arch / "iso", arch)
    _set_times_of_folders(root / "pub", repos(day))


def repos(day: int) -> list[Repo]:
    """Every repository of the tree on a day."""
    pushed = (HELLO_1_0, HELLO_1_1) if day else (HELLO_1_0,)
    found = [Repo(FEDORA / "releases/44/Everything/source/tree", (SOURCE,))]
    for arch in ARCHES:
        release = FEDORA / "releases/44/Everything" / arch
        found += [
            Repo(release / "os", (HELLO_1_0, DOCS)),
            Repo(release / "debug/tree", (DOCS,)),
            Repo(FEDORA / "updates/44/Everything" / arch, pushed, DAY_0 + day * DAY),
            Repo(FEDORA / "development/rawhide/Everything" / arch / "os", (HELLO_1_1, DOCS)),
            Repo(EPEL / "9/Everything" / arch, (HELLO_1_0,)),
            Repo(EPEL / "10/Everything" / arch, (HELLO_1_1,)),
        ]
    return found


def _build_repo(root: Path, repo: Repo) -> None:
    target = root / repo.path
    packages = target / "Packages" / "h"
    if (target / "repodata/repomd.xml").is_file() and {file.name for file in packages.iterdir()} == set(repo.packages):
        return
    shutil.rmtree(target, ignore_errors=True)
    packages.mkdir(parents=True)
    for name in repo.packages:
        shutil.copyfile(PACKAGES / name, packages / name)
        os.utime(packages / name, (DAY_0, DAY_0))
    subprocess.run(
        [CREATEREPO, "--quiet", "--revision", str(repo.time), "--set-timestamp-to-revision", "."],
        cwd=target,
        check=True,
    )
    for path in [*target.rglob("*"), target]:
        if path.suffix != ".rpm":
            os.utime(path, (repo.time, repo.time))


def _build_images(folder: Path, arch: str) -> None:
    """Stand-ins for installation images, with the checksum file that Fedora has beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for kind in ("Live", "netinst"):
        image = folder / f"Fedora-Workstation-{kind}-44-1.7.{arch}.iso"
        content = f"stand-in for {image.name}\n".encode() * 1024
        lines += [
            f"# {image.name}: {len(content)} bytes",
            f"SHA256 ({image.name}) = {hashlib.sha256(content).hexdigest()}",
        ]
        _write(image, content)
    _write(folder / f"Fedora-Workstation-44-1.7-{arch}-CHECKSUM", "\n".join([*lines, ""]).encode())


def _write(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)
        os.utime(path, (DAY_0, DAY_0))


def _set_times_of_folders(top: Path, all_repos: list[Repo]) -> None:
    """Folders above and beside the repositories; those inside have the time of their push."""
    ours = {top.parent / repo.path for repo in all_repos}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        if folder not in ours:
            waiting += [entry for entry in folder.iterdir() if entry.is_dir()]
            os.utime(folder, (DAY_0, DAY_0))


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(description="Build the demonstration's master tree.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--day", type=int, choices=(0, 1), default=1)
    arguments = parser.parse_args()
    build(arguments.root, arguments.day)


if __name__ == "__main__":
    main()
