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


def test_the_oldest_entries_are_forgotten_bit_by_bit() -> None:
    memory: Memory[int, str] = Memory(10)
    for number in range(5):
        memory.keep(number, str(number))
    assert memory.forget(2)
    assert list(memory) == [2, 3, 4]
    assert not memory.forget(4)
    assert not memory
    memory.keep(7, "as before")
    assert memory.get(7) == "as before"
