"""Pickles of somebody else's database, read without executing anything: plain values or nothing.

Before a pickle is read at all, its instructions are walked through: one that would look up a class or function, call
something, or make room for what is not there is refused by its name. The reader itself refuses every class as well.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, NoReturn

MAX_BYTES = 16 << 20
_MAX_NUMBER = 1_000  # bytes of a whole number: reading larger ones in text form takes long
_INSTRUCTIONS = """
    MARK STOP POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET
    ADDITEMS FROZENSET PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE PROTO FRAME
"""
_PLAIN = frozenset(_INSTRUCTIONS.split())
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_NUMBERS = frozenset(("INT", "LONG", "LONG1", "LONG4"))


class NotPlain(ValueError):
    """The pickle holds more than plain values, or is none."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise NotPlain(f"asks for {module}.{name}")

    def persistent_load(self, _pid: Any) -> NoReturn:
        raise NotPlain("refers to an object outside of it")


def load(data: bytes) -> Any:
    """The plain value that a pickle of protocol 0 to 5 holds. Raises NotPlain."""
    if len(data) > MAX_BYTES:
        raise NotPlain(f"has {len(data):,} bytes, more than anybody lists")
    _look_through(data)
    # Texts of Python 2 are bytes; what is no UTF-8 among them is kept apart from real text.
    reader = _PlainUnpickler(io.BytesIO(data), encoding="utf-8", errors="surrogateescape", fix_imports=False)
    try:
        return reader.load()
    except NotPlain:
        raise
    except Exception as error:  # a hostile pickle can raise nearly anything: every way means "no"
        raise NotPlain(f"cannot be read ({type(error).__name__})") from error


def _look_through(data: bytes) -> None:
    try:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name not in _PLAIN:
                raise NotPlain(f"holds the instruction {instruction.name}")
            if instruction.name in _PUTS and (argument or 0) > len(data):
                raise NotPlain("keeps a value in a place that only makes it large")
            if instruction.name in _NUMBERS and (argument or 0).bit_length() > 8 * _MAX_NUMBER:
                raise NotPlain("holds a number without end")
    except NotPlain:
        raise
    except Exception as error:
        raise NotPlain(f"is no pickle ({type(error).__name__})") from error
