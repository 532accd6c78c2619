"""Real RPMs and Debian packages, and repositories made of them by createrepo_c and apt-ftparchive."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

from tests.journeys.program import BIN

SPEC = """
Name: mm-hello
Version: {version}
Release: 1
Summary: Says that it came from a mirror
License: MIT
BuildArch: noarch
%description
A package for tests.
%install
mkdir -p %{{buildroot}}/usr/share/mm-hello
echo {version} > %{{buildroot}}/usr/share/mm-hello/version
%files
/usr/share/mm-hello
"""


def build_rpm(folder: Path, version: str) -> Path:
    """A noarch package of that version."""
    spec = folder / f"mm-hello-{version}.spec"
    spec.write_text(SPEC.format(version=version))
    defines = [f"--define=_topdir {folder}/rpmbuild", f"--define=_rpmdir {folder}", f"--define=_dbpath {folder}/db"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *defines, str(spec)], check=True, capture_output=True, cwd=folder)
    return folder / f"noarch/mm-hello-{version}-1.noarch.rpm"


FIRST_DAY = int(time.time()) - 2 * 86_400  # recent, so that what it is superseded by is recent too


def create_repository(folder: Path, day: int) -> None:
    """(Re)write the metadata of a repository, dated a number of days after FIRST_DAY."""
    moment = FIRST_DAY + day * 86_400
    subprocess.run(
        [BIN / "createrepo_c", "-q", "--no-database", f"--revision={moment}", "--set-timestamp-to-revision", folder],
        check=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
    )


CONTROL = """Package: mm-hello
Version: {version}
Architecture: all
Maintainer: MirrorManager <root@localhost>
Description: says that it came from a mirror
"""


def build_deb(folder: Path, version: str) -> Path:
    """A Debian package of that version for all architectures."""
    content = folder / f"deb-{version}"
    (content / "DEBIAN").mkdir(parents=True)
    (content / "DEBIAN/control").write_text(CONTROL.format(version=version))
    target = folder / f"mm-hello_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", str(content), str(target)], check=True, capture_output=True
    )
    return target


class Signer:
    """A key of its own in a folder of its own; clients trust the file `keyring`."""

    def __init__(self, keyring: Path) -> None:
        self.keyring = keyring
        self._home = Path(tempfile.mkdtemp(prefix="mm-gpg-"))  # short: it will hold a socket
        self._gpg("--passphrase", "", "--quick-gen-key", "archive@localhost", "ed25519", "sign", "never")
        self._gpg("--output", str(keyring), "--export")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True, capture_output=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def sign(self, source: Path, target: Path) -> None:
        """The target becomes the source with a signature around it."""
        self._gpg("--output", str(target), "--clearsign", str(source))

    def _gpg(self, *arguments: str) -> None:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--quiet", *arguments]
        subprocess.run(command, check=True, capture_output=True)


def create_apt_repository(root: Path, package: Path, signer: Signer) -> None:
    """Below root: debian/ with the signed suite "stable" and its component "main", and flat/, not signed."""
    pool, suite, flat = (root / name for name in ("debian/pool/main", "debian/dists/stable", "flat"))
    binary = suite / "main/binary-amd64"
    for folder in (pool, binary, flat):
        folder.mkdir(parents=True)
    shutil.copy(package, pool)
    shutil.copy(package, flat)
    (binary / "Packages").write_text(_ftparchive(root / "debian", "packages", "pool"))
    (suite / "Release").write_text(_ftparchive(suite, *_NAMES, "release", "."))
    signer.sign(suite / "Release", suite / "InRelease")
    (flat / "Packages").write_text(_ftparchive(flat, "packages", "."))
    (flat / "Release").write_text(_ftparchive(flat, "release", "."))


_NAMES = tuple(
    f"-oAPT::FTPArchive::Release::{name}={value}"
    for name, value in (
        ("Suite", "stable"), ("Codename", "stable"), ("Components", "main"), ("Architectures", "amd64")
    )
)  # fmt: skip


def _ftparchive(folder: Path, *arguments: str) -> str:
    command = ["apt-ftparchive", *arguments]
    return subprocess.run(command, check=True, capture_output=True, cwd=folder, text=True).stdout
