"""A small master tree on disk, and the category that is scanned from it."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from mm_crawler.master.scan import Options, Outcome, scan_category
from mm_lib.cli.common import Program
from mm_lib.database import make_sessions, transaction
from mm_lib.model.content import Arch, Category, Product
from mm_lib.services.rules import load_rules
from mm_lib.settings import DatabaseSettings, Settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
OLD = int(LONG_AGO.timestamp())
TOPDIR = "pub/fedora/linux"

RULES = r"""
[["Fedora Linux"]]
pattern = '(?:.*/)?(?:Cloud|Workstation|Server)(?:/.*)?'
skip = true

[["Fedora Linux"]]
pattern = 'releases/(?P<version>\d+)/Everything/(?P<arch>[^/]+)/os'
prefix = "fedora-{version}"

[["Fedora Linux"]]
pattern = 'development/(?P<version>\d+)/Everything/(?P<arch>[^/]+)/os'
prefix = "fedora-{version}"

[["Fedora Linux"]]
pattern = 'development/(?P<version>\d+)/(?P<arch>[^/]+)/os'

[["Fedora Linux"]]
pattern = 'releases/test/(?P<version>[^/]+)/(?P<arch>[^/]+)/os'
test = true
display = false

[["Fedora Linux"]]
pattern = 'atomic/(?P<version>\d+)'
prefix = "atomic-{version}"
arch = "x86_64"
"""


def repomd(*timestamps: object, extra: str = "") -> bytes:
    """A repomd.xml with these timestamps."""
    data = "".join(f'<data type="x{i}"><timestamp>{stamp}</timestamp></data>' for i, stamp in enumerate(timestamps))
    return f'<repomd xmlns="http://linux.duke.edu/metadata/repo">{extra}{data}</repomd>'.encode()


def put(top: Path, name: str, content: bytes | str = b"x") -> Path:
    """A file in the tree, with the folders above it."""
    path = top / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_repository(top: Path, path: str, *timestamps: object) -> Path:
    """A directory with repository metadata."""
    return put(top, f"{path}/repodata/repomd.xml", repomd(*(timestamps or (100,))))


def settle(top: Path, when: int = OLD) -> None:
    """Give everything a time long before the scan."""
    for path in (top, *top.rglob("*")):
        os.utime(path, (when, when), follow_symlinks=False)


def sha256(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def make_program(engine: Engine) -> Program:
    """What commands work with, on the test's database."""
    program = Program(None)
    program.engine = engine
    program.settings = Settings(database=DatabaseSettings(url=engine.url.render_as_string(hide_password=False)))
    return program


def add_category(
    engine: Engine,
    top: Path,
    *,
    name: str = "Fedora Linux",
    topdir: str = TOPDIR,
    rules: str = RULES,
    **source: object,
) -> None:
    """A category that is scanned from `top`, with two arches and its rules; last edited long ago."""
    with make_sessions(engine)() as session, transaction(session):
        session.add(
            Category(
                name=name,
                topdir=topdir,
                product=Product(name=f"Product of {name}"),
                source={"type": "directory", "path": str(top), **source},
                updated_at=LONG_AGO,
            )
        )
        session.add_all([Arch(name="x86_64"), Arch(name="source")])
        session.flush()
        if rules:
            load_rules(session, rules)


def scan(program: Program, now: datetime = NOW, name: str = "Fedora Linux", **options: bool) -> Outcome:
    """One scan, as the command does it."""
    return scan_category(program, name, Options(**options), now, lambda _: None)
