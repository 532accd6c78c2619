"""mm_redirector.memory: what is remembered, and what is forgotten."""

from __future__ import annotations

from mm_redirector.memory import Memory


def test_who_came_first_goes_when_there_are_too_many() -> None:
    memory: Memory[str, int] = Memory(2)
    for number, key in enumerate("abc"):
        memory.keep(key, number)
    assert memory == {"b": 1, "c": 2}


def test_what_is_kept_again_takes_no_second_place() -> None:
    memory: Memory[str, int] = Memory(2)
    for number, key in enumerate("aab"):
        memory.keep(key, number)
    assert memory == {"a": 1, "b": 2}
