"""Real RPMs made by rpmbuild, and repositories made of them by createrepo_c."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

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
