"""mm-admin cache with signatures: keys are made, builds are signed, files are checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mm_lib.cache import codec, file, signature
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses


@pytest.fixture
def signing(tmp_path: Path, sqlite_template: Path) -> Admin:
    """An empty registry whose builds are signed by tmp_path/cache.key."""
    shutil.copy(sqlite_template, tmp_path / "mm.sqlite")
    admin = Admin(tmp_path, "sqlite:///mm.sqlite")
    admin.config.write_text(admin.config.read_text() + "[cache]\nsigning_key = 'cache.key'\n")
    return admin


def test_a_build_with_a_key_is_signed_and_can_be_checked(signing: Admin) -> None:
    folder = signing.folder
    assert "redirector.cache_public_key" in signing.ok("cache", "keygen", str(folder / "cache.key"))
    for _ in range(2):
        assert f"Signed in {folder / 'mirrorlist.cache.sig'}" in signing.ok("cache", "build")
    path, key = folder / "mirrorlist.cache", folder / "cache.key.pub"
    generation = codec.decode(file.read(path)).generation
    assert f"generation {generation}, signed by" in signing.ok("cache", "verify", str(path), "--key", str(key))


def test_a_build_without_a_setting_is_not_signed(signing: Admin) -> None:
    signing.config.write_text("[database]\nurl = 'sqlite:///mm.sqlite'\n")
    assert "Signed" not in signing.ok("cache", "build")
    assert not (signing.folder / "mirrorlist.cache.sig").exists()


def test_a_build_whose_key_is_missing_publishes_nothing(signing: Admin) -> None:
    assert "cache.key cannot be read" in signing.refused("cache", "build")
    assert not (signing.folder / "mirrorlist.cache").exists()


def test_a_key_is_not_overwritten(signing: Admin) -> None:
    signing.ok("cache", "keygen", str(signing.folder / "cache.key"))
    assert "exists already" in signing.refused("cache", "keygen", str(signing.folder / "cache.key"))


def test_a_file_that_somebody_changed_is_not_verified(signing: Admin) -> None:
    path, key = signing.folder / "mirrorlist.cache", signing.folder / "cache.key"
    signing.ok("cache", "keygen", str(key))
    signing.ok("cache", "build")
    path.write_bytes(path.read_bytes() + b"x")
    assert "the signature does not fit" in signing.refused("cache", "verify", str(path), "--key", f"{key}.pub")
    signature.path_of(path).unlink()
    assert "No such file" in signing.refused("cache", "verify", str(path), "--key", f"{key}.pub")
