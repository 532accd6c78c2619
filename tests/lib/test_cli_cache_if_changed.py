"""mm-admin cache build --if-changed: published when something that the cache holds has changed, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.cache import codec, file
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.content import Directory
from mm_lib.settings import DatabaseSettings
from tests import factories as make
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses


@contextmanager
def opened(url: str) -> Iterator[Session]:
    engine = make_engine(DatabaseSettings(url=url))
    with make_sessions(engine)() as session, transaction(session):
        yield session
    engine.dispose()


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Admin:
    """A registry with hosts that grow no more, and a cache that was published from it."""
    with opened(database_url) as session:
        fedora = make.category(session)
        repodata = make.directory(session, fedora, "releases/44/repodata")
        for number in (44, 45):
            make.repository(session, make.directory(session, fedora, f"releases/{number}"), f"fedora-{number}")
        make.file_detail(session, repodata, 100)
        for name, country in (("a", "DE"), ("b", "FR"), ("c", None)):
            make.carries(session, make.host(session, name, country=country), fedora, [repodata])
    admin = Admin(tmp_path, database_url)
    admin.config.write_text(admin.config.read_text() + "[weights]\nslow_start_hours = 0\n")
    admin.ok("cache", "build")
    return admin


def built(admin: Admin) -> bool:
    """Whether another build publishes."""
    path = admin.folder / "mirrorlist.cache"
    before = file.stamp(path)
    said = admin.ok("cache", "build", "--if-changed")
    changed = file.stamp(path) != before
    assert ("Nothing has changed" in said) != changed
    assert ("Published" in said) == changed
    return changed


def test_a_file_that_holds_the_same_is_left(admin: Admin) -> None:
    assert not built(admin)


def test_a_change_is_published_once(admin: Admin) -> None:
    admin.ok("repository", "disable", "fedora-44")
    assert built(admin)
    assert not built(admin)


def test_what_the_cache_does_not_hold_is_no_change(admin: Admin) -> None:
    admin.ok("user", "add", "alice", "--password-stdin", stdin="correct horse battery staple\n")
    admin.ok("product", "add", "EPEL")
    assert not built(admin)


def test_a_directory_that_a_mirror_has_is_a_change(admin: Admin, database_url: str) -> None:
    with opened(database_url) as session:
        top = session.scalars(select(Directory).where(Directory.path.like("%/44"))).one()
        make.carries(session, make.host(session, "d"), top.category, [top])
    assert built(admin)


@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_a_file_that_cannot_be_used_is_replaced(admin: Admin, damage: str) -> None:
    path = admin.folder / "mirrorlist.cache"
    path.unlink() if damage == "missing" else path.write_bytes(b"nonsense")
    assert built(admin)


def test_a_file_that_redirectors_soon_call_too_old_is_replaced(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    admin.config.write_text(admin.config.read_text() + "[redirector]\nmax_cache_age_hours = 2\n")
    assert not built(admin)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3700)
    assert built(admin)


def test_a_file_that_the_key_did_not_sign_is_replaced(admin: Admin) -> None:
    admin.ok("cache", "keygen", str(admin.folder / "cache.key"))
    admin.config.write_text(admin.config.read_text() + "[cache]\nsigning_key = 'cache.key'\n")
    assert built(admin)
    assert not built(admin)


def test_the_order_of_sets_in_a_process_is_no_change(admin: Admin) -> None:
    """Python orders sets of text anew in each process."""
    path = admin.folder / "mirrorlist.cache"
    generation = codec.decode(file.read(path)).generation
    command = [Path(sys.executable).parent / "mm-admin", "--config", admin.config, "cache", "build", "--if-changed"]
    for seed in ("1", "2", "3"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run(command, check=True, env=environment, capture_output=True)
    assert codec.decode(file.read(path)).generation == generation
