"""Feeds of mirrors that came and went: what they can say."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import pytest

from mm_lib.model.base import State
from mm_lib.model.state import Health
from mm_lib.services import state_changes


@pytest.mark.parametrize(("words", "kind"), [(state_changes._STATE, State), (state_changes._HEALTH, Health)])
def test_there_are_words_for_every_state(words: Mapping[StrEnum, str], kind: type[StrEnum]) -> None:
    """One without would fail the feed of all mirrors."""
    assert set(words) == set(kind)
