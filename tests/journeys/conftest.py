"""What several journeys share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.mirrored import Mirrored, mirrored


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    """A redirector in front of good and bad mirrors. Nothing in it changes, so all tests share it."""
    with mirrored(tmp_path_factory.mktemp("mirrored")) as made:
        yield made
