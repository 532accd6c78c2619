"""The declarative base, the column types that every table shares, and the mixins for state and time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    TypeDecorator,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# Names for every constraint, so that a migration can drop what it made on any database.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC: naive values are refused, and SQLite's answers get their zone back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """UTC for the database. Raises ValueError for a time without zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone cannot be stored; use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: UtcDateTime}


Id = Annotated[int, mapped_column(primary_key=True)]
Created = Annotated[datetime, mapped_column(UtcDateTime, server_default=func.now())]


def text_enum(kind: type[StrEnum], name: str) -> Enum:
    """A column that holds one of the enum's values as text, checked by the database."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


def parent(table: str, **options: Any) -> Any:
    """A required foreign key whose rows go with their parent, deleted by the database."""
    return mapped_column(ForeignKey(f"{table}.id", ondelete="CASCADE"), index=True, **options)


def country_check(column: str) -> CheckConstraint:
    """Two capitals: what ISO 3166-1 alpha-2 codes look like; forms and imports check against the real list."""
    return CheckConstraint(f"length({column}) = 2 AND upper({column}) = {column}", name=f"{column}_is_code")


def unique_while_kept(table: str, *columns: str) -> Index:
    """Unique among the rows that are not deleted: what was deleted does not keep its name from others."""
    kept = text("deleted_at IS NULL")
    return Index(f"uq_{table}_{'_'.join(columns)}", *columns, unique=True, sqlite_where=kept, postgresql_where=kept)


def not_blank(column: str) -> CheckConstraint:
    """A name that is not empty and has no blanks around it."""
    return CheckConstraint(f"trim({column}) <> '' AND trim({column}) = {column}", name=f"{column}_not_blank")


def web_address(column: str) -> CheckConstraint:
    """Empty or an http(s) address: pages make a link of it, and a link must never run a script."""
    return _schemes(column, ("https", "http"), f"{column} = ''")


def mirror_address(column: str) -> CheckConstraint:
    """Reached by a protocol that mirrors are asked and offered by."""
    return _schemes(column, ("https", "http", "rsync", "ftp", "ftps"))


def _schemes(column: str, schemes: Iterable[str], *others: str) -> CheckConstraint:
    allowed = (*others, *(f"{column} LIKE '{scheme}://_%'" for scheme in schemes))
    return CheckConstraint(" OR ".join(allowed), name=f"{column}_scheme")


def argon2id(column: str) -> CheckConstraint:
    """A hash of the one kind that we make: a password in clear cannot be stored by mistake."""
    return CheckConstraint(f"{column} LIKE '$argon2id$%'", name=f"{column}_is_argon2id")


def sha256(column: str) -> CheckConstraint:
    """As long as a hexadecimal SHA-256: a token in clear cannot be stored by mistake."""
    return CheckConstraint(f"length({column}) = 64 AND lower({column}) = {column}", name=f"{column}_is_sha256")


class State(StrEnum):
    """Whether a site or host takes part, and who said so."""

    ACTIVE = "active"
    OWNER_DISABLED = "owner-disabled"
    ADMIN_DISABLED = "admin-disabled"
    AUTO_DISABLED = "auto-disabled"
    WAITING = "waiting"  # a new site that no administrator has looked at yet


class StateMixin:
    """A state that always comes with its reason, since when, and by whom."""

    state: Mapped[State] = mapped_column(text_enum(State, "state"), default=State.ACTIVE, index=True)
    state_reason: Mapped[str] = mapped_column(default="")
    state_since: Mapped[Created]
    state_by: Mapped[str] = mapped_column(default="", doc="user name, or the program that decided")


def state_explained() -> CheckConstraint:
    """Whoever is switched off can be told why and by whom."""
    return CheckConstraint(
        "state = 'active' OR (trim(state_reason) <> '' AND trim(state_by) <> '')", name="state_explained"
    )


class DeletedMixin:
    """Kept for a while after it was deleted, so that this can be undone; mm_lib.model.hiding keeps it out of sight."""

    deleted_at: Mapped[datetime | None] = mapped_column(index=True)
    deleted_by: Mapped[str] = mapped_column(default="")


class TimesMixin:
    """When a row was made and last changed."""

    created_at: Mapped[Created]
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=func.now(), onupdate=func.now())


Name = Annotated[str, mapped_column(String(255))]
Country = Annotated[str, mapped_column(String(2))]
