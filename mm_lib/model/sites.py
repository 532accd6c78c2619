"""Organisations that run mirrors, and the people who speak for them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mm_lib.model.accounts import User
from mm_lib.model.base import (
    Base,
    Created,
    DeletedMixin,
    Id,
    Name,
    StateMixin,
    TimesMixin,
    argon2id,
    not_blank,
    parent,
    sha256,
    state_explained,
    text_enum,
    unique_while_kept,
    web_address,
)

if TYPE_CHECKING:
    from mm_lib.model.hosts import Host


class Site(StateMixin, TimesMixin, DeletedMixin, Base):
    """An organisation that runs mirrors."""

    __tablename__ = "site"
    __table_args__ = (
        unique_while_kept("site", "name"),
        not_blank("name"),
        web_address("org_url"),
        state_explained(),
    )

    id: Mapped[Id]
    name: Mapped[Name]
    org_url: Mapped[str] = mapped_column(default="")
    private: Mapped[bool] = mapped_column(default=False, doc="none of its hosts is shown or served to the public")
    all_sites_can_pull: Mapped[bool] = mapped_column(default=False)
    downstream_comments: Mapped[str] = mapped_column(default="")
    weekly_report: Mapped[bool] = mapped_column(default=False, doc="those who speak for it get one by mail")
    created_by: Mapped[str] = mapped_column(default="")

    hosts: Mapped[list[Host]] = relationship(back_populates="site", passive_deletes=True, cascade="all, delete-orphan")
    members: Mapped[list[SiteMember]] = relationship(
        back_populates="site", passive_deletes=True, cascade="all, delete-orphan"
    )


class MemberRole(StrEnum):
    """What a member may do with the site."""

    OWNER = "owner"
    ADMIN = "admin"
    VIEWER = "viewer"


class SiteMember(Base):
    """A user speaks for a site."""

    __tablename__ = "site_member"
    __table_args__ = (UniqueConstraint("site_id", "user_id"),)

    id: Mapped[Id]
    site_id: Mapped[int] = parent("site")
    user_id: Mapped[int] = parent("user_account")
    role: Mapped[MemberRole] = mapped_column(text_enum(MemberRole, "role"), default=MemberRole.ADMIN)
    created_at: Mapped[Created]

    site: Mapped[Site] = relationship(back_populates="members")
    user: Mapped[User] = relationship()


class SiteInvitation(Base):
    """Whoever gets the mail may become a member, until it expires. Using it removes it."""

    __tablename__ = "site_invitation"
    __table_args__ = (sha256("token_hash"), not_blank("email"), UniqueConstraint("site_id", "email"))

    id: Mapped[Id]
    site_id: Mapped[int] = parent("site")
    email: Mapped[Name]
    role: Mapped[MemberRole] = mapped_column(text_enum(MemberRole, "role"), default=MemberRole.ADMIN)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True, doc="SHA-256, hexadecimal")
    invited_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[Created]
    expires_at: Mapped[datetime]


class SiteJoinRequest(Base):
    """A user would like to become a member; an owner or admin of the site says yes or no."""

    __tablename__ = "site_join_request"
    __table_args__ = (UniqueConstraint("site_id", "user_id"),)

    id: Mapped[Id]
    site_id: Mapped[int] = parent("site")
    user_id: Mapped[int] = parent("user_account")
    message: Mapped[str] = mapped_column(default="")
    created_at: Mapped[Created]

    user: Mapped[User] = relationship()


class SitePassword(Base):
    """What a private mirror's check-in proves itself with. Two rows overlap while it is being changed."""

    __tablename__ = "site_password"
    __table_args__ = (argon2id("password_hash"),)

    id: Mapped[Id]
    site_id: Mapped[int] = parent("site")
    password_hash: Mapped[str] = mapped_column(doc="argon2id")
    created_at: Mapped[Created]
    expires_at: Mapped[datetime | None]


class SiteUpstream(Base):
    """A site mirrors from another one, whose members may see its private URLs."""

    __tablename__ = "site_upstream"
    __table_args__ = (CheckConstraint("upstream_id <> downstream_id", name="not_itself"),)

    upstream_id: Mapped[int] = mapped_column(ForeignKey("site.id", ondelete="CASCADE"), primary_key=True)
    downstream_id: Mapped[int] = mapped_column(ForeignKey("site.id", ondelete="CASCADE"), primary_key=True, index=True)
    created_at: Mapped[Created]
