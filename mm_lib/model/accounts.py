"""Who may do something: users, where they sign in from, groups, API tokens, and what they did."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mm_lib.model.base import Base, Created, Id, Name, TimesMixin, argon2id, not_blank, parent, sha256, text_enum


class Role(StrEnum):
    """What a user may do beyond the own sites."""

    USER = "user"
    AUDITOR = "auditor"  # reads everything, changes nothing
    ADMIN = "admin"  # may do everything


class User(TimesMixin, Base):
    """A person, from whichever source. Local accounts have a password hash."""

    __tablename__ = "user_account"  # "user" is a reserved word in PostgreSQL
    __table_args__ = (not_blank("name"), argon2id("password_hash"))

    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    display_name: Mapped[str] = mapped_column(default="")
    email: Mapped[str] = mapped_column(default="")
    role: Mapped[Role] = mapped_column(text_enum(Role, "role"), default=Role.USER)
    active: Mapped[bool] = mapped_column(default=True)
    password_hash: Mapped[str | None] = mapped_column(doc="argon2id; none: signs in elsewhere")
    last_login_at: Mapped[datetime | None]
    email_confirmed_at: Mapped[datetime | None] = mapped_column(doc="when the address was last shown to be theirs")

    identities: Mapped[list[Identity]] = relationship(
        back_populates="user", passive_deletes=True, foreign_keys="Identity.user_id"
    )


class Identity(Base):
    """A user as an identity provider knows them: the issuer's stable subject, never a name."""

    __tablename__ = "identity"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[Id]
    user_id: Mapped[int] = parent("user_account")
    issuer: Mapped[str]
    subject: Mapped[str]
    created_at: Mapped[Created]
    came_from_id: Mapped[int | None] = mapped_column(
        ForeignKey("user_account.id", ondelete="SET NULL"), index=True, doc="the user before two were linked"
    )

    user: Mapped[User] = relationship(back_populates="identities", foreign_keys=[user_id])


class Group(Base):
    """A named set of users."""

    __tablename__ = "user_group"
    __table_args__ = (not_blank("name"),)

    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    display_name: Mapped[str] = mapped_column(default="")


class GroupMember(Base):
    """A user is in a group."""

    __tablename__ = "group_member"

    group_id: Mapped[int] = mapped_column(ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class LoginSession(Base):
    """A sign-in that is kept on the server; the cookie holds only the token whose hash is here."""

    __tablename__ = "login_session"
    __table_args__ = (sha256("token_hash"),)

    id: Mapped[Id]
    user_id: Mapped[int] = parent("user_account")
    identity_id: Mapped[int | None] = parent("identity", nullable=True)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True, doc="SHA-256, hexadecimal")
    created_at: Mapped[Created]
    seen_at: Mapped[Created]
    expires_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(default="")
    user_agent: Mapped[str] = mapped_column(default="")
    source: Mapped[str] = mapped_column(default="", doc="where the sign-in came from: local, ldap, or oidc.PROVIDER")
    role: Mapped[Role] = mapped_column(text_enum(Role, "role"), default=Role.USER, doc="what the source's groups give")
    strong: Mapped[bool] = mapped_column(default=True, doc="false: too weak for more than a user's rights")
    provider_session: Mapped[str] = mapped_column(default="", doc="the sid that back-channel logouts name")
    id_token: Mapped[str] = mapped_column(default="", doc="hint for the provider when signing out; opens nothing")


class TokenPurpose(StrEnum):
    """What a link in a mail is for."""

    REGISTER = "register"
    RESET = "reset"
    ADDRESS = "address"  # a new mail address of a user


class AccountToken(Base):
    """A link that was mailed to an address. It works once: using it removes it."""

    __tablename__ = "account_token"
    __table_args__ = (
        sha256("token_hash"),
        CheckConstraint("(purpose = 'register') = (user_id IS NULL)", name="user_unless_new"),
    )

    id: Mapped[Id]
    purpose: Mapped[TokenPurpose] = mapped_column(text_enum(TokenPurpose, "purpose"))
    user_id: Mapped[int | None] = parent("user_account", nullable=True)
    email: Mapped[str]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True, doc="SHA-256, hexadecimal")
    created_at: Mapped[Created]
    expires_at: Mapped[datetime]


class SecondFactor(Base):
    """The secret of a user's one-time codes (TOTP, RFC 6238). It counts once a first code has confirmed it."""

    __tablename__ = "second_factor"

    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    secret: Mapped[str] = mapped_column(doc="base32; needed in clear to check codes")
    created_at: Mapped[Created]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int] = mapped_column(default=0, doc="the time step of the last code: no code works twice")


class RecoveryCode(Base):
    """Opens an account once when the device with the one-time codes is lost."""

    __tablename__ = "recovery_code"
    __table_args__ = (sha256("code_hash"), UniqueConstraint("user_id", "code_hash"))

    id: Mapped[Id]
    user_id: Mapped[int] = parent("user_account")
    code_hash: Mapped[str] = mapped_column(String(64), doc="SHA-256, hexadecimal")


class ApiToken(Base):
    """A program's right to act for a user or a site. Only a hash is kept."""

    __tablename__ = "api_token"
    __table_args__ = (
        CheckConstraint("(user_id IS NULL) <> (site_id IS NULL)", name="one_owner"),
        not_blank("name"),
        sha256("token_hash"),
    )

    id: Mapped[Id]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id", ondelete="CASCADE"), index=True)
    name: Mapped[Name]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True, doc="SHA-256 of a random 256-bit token")
    scopes: Mapped[list[str]] = mapped_column(JSON, default=list)
    role: Mapped[Role] = mapped_column(
        text_enum(Role, "role"), default=Role.USER, doc="of the sign-in that made it: a token is never worth more"
    )
    created_by: Mapped[str] = mapped_column(default="", doc="user name")
    created_at: Mapped[Created]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class KeptAnswer(Base):
    """What a program was answered to a request with an Idempotency-Key: sent again, it gets the same answer."""

    __tablename__ = "kept_answer"
    __table_args__ = (sha256("key_hash"), sha256("request_hash"))

    id: Mapped[Id]
    key_hash: Mapped[str] = mapped_column(String(64), unique=True, doc="of who asked and their key")
    request_hash: Mapped[str] = mapped_column(String(64), doc="of what was asked")
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    body: Mapped[str]
    created_at: Mapped[Created]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AuditEvent(Base):
    """Who changed what, when, from where. Rows outlive their actor, site and object."""

    __tablename__ = "audit_event"
    __table_args__ = (Index(None, "object_type", "object_id"),)

    id: Mapped[Id]
    at: Mapped[Created] = mapped_column(index=True)
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"), index=True)
    actor: Mapped[str] = mapped_column(doc="user name at that time, or the program")
    address: Mapped[str] = mapped_column(default="")
    site_id: Mapped[int | None] = mapped_column(ForeignKey("site.id", ondelete="SET NULL"), index=True)
    action: Mapped[str]
    object_type: Mapped[str]
    object_id: Mapped[int | None]
    object_name: Mapped[str] = mapped_column(default="")
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
