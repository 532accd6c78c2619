"""Real OpenPGP keys, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crawler.openpgp import PAST, Signer


@pytest.fixture(autouse=True)
def _mirrors_on_loopback(_no_settings_from_outside: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirrors of these tests are on this machine; test_private_addresses.py sees that others' may not be."""
    monkeypatch.setenv("MM_CRAWLER__PRIVATE_MIRRORS", "true")


@pytest.fixture(scope="session")
def signer() -> Iterator[Signer]:
    """The archive's key, a successor, a stranger's, one that expired and one that is to be revoked."""
    signer = Signer()
    try:
        for name in ("archive", "successor", "stranger", "revoked"):
            signer.make_key(name)
        signer.make_key("expired", "1d", at=PAST)
        yield signer
    finally:
        signer.close()


@pytest.fixture(scope="session")
def keyring(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys whose signatures count."""
    path = tmp_path_factory.mktemp("keys") / "archive.gpg"
    path.write_bytes(signer.public("archive", "successor", "expired"))
    return path
