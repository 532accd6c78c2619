"""Sessions: what one sees while others write."""

from __future__ import annotations

from sqlalchemy import Engine, func, select

from mm_lib.database import freeze, make_sessions, transaction
from mm_lib.model.content import Product


def test_a_frozen_session_sees_one_moment_whatever_others_write(engine: Engine) -> None:
    count = select(func.count()).select_from(Product)
    with make_sessions(engine)() as reader:
        freeze(reader)
        assert reader.scalar(count) == 0
        with make_sessions(engine)() as writer, transaction(writer):
            writer.add(Product(name="Fedora"))
        assert reader.scalar(count) == 0
    with make_sessions(engine)() as reader:
        assert reader.scalar(count) == 1


def test_freezing_leaves_nothing_behind_on_the_connection(engine: Engine) -> None:
    """The pool hands the same connection to the next session, which must see what is written meanwhile."""
    count = select(func.count()).select_from(Product)
    with make_sessions(engine)() as reader:
        freeze(reader)
        reader.scalar(count)
    with make_sessions(engine)() as reader:
        assert reader.scalar(count) == 0
        reader.rollback()
        with make_sessions(engine)() as writer, transaction(writer):
            writer.add(Product(name="Fedora"))
        assert reader.scalar(count) == 1
