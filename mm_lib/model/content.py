"""What is mirrored: products, versions, arches, categories, their directories, important files, repositories."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mm_lib.model.base import Base, Created, Id, Name, TimesMixin, not_blank, parent


class Product(Base):
    """A distribution or an add-on: "Fedora", "EPEL", "Debian"."""

    __tablename__ = "product"
    __table_args__ = (not_blank("name"),)

    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    public: Mapped[bool] = mapped_column(default=True, doc="shown on the start page")
    sort_order: Mapped[int] = mapped_column(default=0)

    versions: Mapped[list[Version]] = relationship(
        back_populates="product", passive_deletes=True, cascade="all, delete-orphan"
    )


class Version(Base):
    """A release of a product: "44", "development", "9-stream"."""

    __tablename__ = "version"
    __table_args__ = (UniqueConstraint("product_id", "name"), not_blank("name"))

    id: Mapped[Id]
    product_id: Mapped[int] = parent("product")
    name: Mapped[Name]
    display_name: Mapped[str] = mapped_column(default="", doc="shown instead of the name when not empty")
    codename: Mapped[str] = mapped_column(default="")
    is_test: Mapped[bool] = mapped_column(default=False)
    display: Mapped[bool] = mapped_column(default=True)
    sort_order: Mapped[int] = mapped_column(default=0)

    product: Mapped[Product] = relationship(back_populates="versions")


class Arch(Base):
    """A processor architecture as clients spell it, or "source"."""

    __tablename__ = "arch"
    __table_args__ = (not_blank("name"),)

    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)
    public: Mapped[bool] = mapped_column(default=True)
    primary: Mapped[bool] = mapped_column("primary_arch", default=True)


class Category(TimesMixin, Base):
    """A tree of content that is mirrored as a unit."""

    __tablename__ = "category"
    __table_args__ = (
        not_blank("name"),
        CheckConstraint("topdir NOT LIKE '/%' AND topdir NOT LIKE '%/'", name="topdir_normalised"),
        CheckConstraint("max_stale_days >= 0", name="max_stale_days_not_negative"),
        CheckConstraint("max_propagation_days >= 0", name="max_propagation_days_not_negative"),
        CheckConstraint("max_vanished_share BETWEEN 0 AND 1", name="max_vanished_share_range"),
    )

    id: Mapped[Id]
    product_id: Mapped[int] = parent("product")
    name: Mapped[Name] = mapped_column(unique=True)
    topdir: Mapped[str] = mapped_column(default="", doc="where its tree hangs below the content root; may be empty")
    public: Mapped[bool] = mapped_column(default=True)
    admin_only: Mapped[bool] = mapped_column(default=False, doc="only administrators give it to hosts")
    canonical_host: Mapped[str] = mapped_column(default="", doc="address of the master server, shown to mirrors")
    source: Mapped[dict[str, Any]] = mapped_column(
        JSON, default=dict, doc='how the master is scanned: {"type": "directory", "path": ..., "excludes": [...]}'
    )
    sentinels: Mapped[dict[str, list[str]]] = mapped_column(
        JSON, default=dict, doc='files that a scan waits for: {"present": [...], "absent": [...]}'
    )
    max_stale_days: Mapped[float | None] = mapped_column(doc="None in these three: as the settings say")
    max_propagation_days: Mapped[float | None]
    max_vanished_share: Mapped[float | None]
    last_scanned_at: Mapped[datetime | None] = mapped_column(
        doc="of the scans that wrote something"  # see services/scans.py
    )
    list_fingerprint: Mapped[bytes | None] = mapped_column(
        LargeBinary(16), doc="of the list that the last scan read; None: it must be read again in any case"
    )
    vanished: Mapped[int] = mapped_column(default=0, doc="directories gone from the master, kept")

    product: Mapped[Product] = relationship()


class Directory(Base):
    """One directory of the master tree. Its id is never reused: bitmaps of mirrors refer to it."""

    __tablename__ = "directory"
    __table_args__ = (
        UniqueConstraint("category_id", "path"),
        CheckConstraint("path NOT LIKE '/%' AND path NOT LIKE '%/'", name="path_normalised"),
        Index(None, "category_id", "mtime"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id]
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id", ondelete="CASCADE"))
    path: Mapped[str] = mapped_column(index=True, doc="below the content root, with the topdir")
    readable: Mapped[bool] = mapped_column(default=True)
    mtime: Mapped[int] = mapped_column(BigInteger, doc="Unix seconds of its last change on the master")
    file_count: Mapped[int] = mapped_column(default=0)
    listing_digest: Mapped[bytes | None] = mapped_column(LargeBinary(16), doc="over the names and sizes of all files")
    sample: Mapped[list[list[Any]]] = mapped_column(
        JSON, default=list, deferred=True, doc="files that a crawl asks for: [name, size, mtime]"
    )
    created_at: Mapped[Created]
    changed_at: Mapped[Created] = mapped_column(doc="when a scan last saw it new or changed")

    category: Mapped[Category] = relationship()


class FileDetail(Base):
    """One version of an important file. The newest timestamp is current, the others are its alternates."""

    __tablename__ = "file_detail"
    __table_args__ = (
        UniqueConstraint("directory_id", "filename", "content_id"),
        Index(None, "directory_id", "filename", "timestamp"),
        CheckConstraint("size >= 0", name="size_not_negative"),
        CheckConstraint("coalesce(md5, sha1, sha256, sha512) IS NOT NULL", name="has_hash"),
        *(
            CheckConstraint(f"length({name}) = {length} AND lower({name}) = {name}", name=f"{name}_form")
            for name, length in (("md5", 32), ("sha1", 40), ("sha256", 64), ("sha512", 128))
        ),
    )

    id: Mapped[Id]
    directory_id: Mapped[int] = mapped_column(ForeignKey("directory.id", ondelete="CASCADE"))
    filename: Mapped[Name]
    content_id: Mapped[Name] = mapped_column(doc='strongest known hash with its kind, e.g. "sha256:…"')
    timestamp: Mapped[int] = mapped_column(BigInteger, doc="Unix seconds, from the file's own data where it has any")
    size: Mapped[int] = mapped_column(BigInteger)
    md5: Mapped[str | None]
    sha1: Mapped[str | None]
    sha256: Mapped[str | None]
    sha512: Mapped[str | None]
    first_seen_at: Mapped[Created]


class Repository(TimesMixin, Base):
    """What clients ask for by repo= and arch=. A repository without prefix only says that a version has an arch."""

    __tablename__ = "repository"
    __table_args__ = (
        UniqueConstraint("prefix", "arch_id"),
        Index(
            "uq_repository_without_prefix",
            "directory_id",
            "arch_id",
            unique=True,
            sqlite_where=text("prefix IS NULL"),
            postgresql_where=text("prefix IS NULL"),
        ),
        not_blank("prefix"),
    )

    id: Mapped[Id]
    prefix: Mapped[str | None]
    version_id: Mapped[int] = parent("version")
    arch_id: Mapped[int] = parent("arch")
    category_id: Mapped[int] = parent("category")
    directory_id: Mapped[int | None] = mapped_column(ForeignKey("directory.id", ondelete="SET NULL"))
    enabled: Mapped[bool] = mapped_column(default=True)
    pinned: Mapped[bool] = mapped_column(default=False, doc="a scan never moves it")

    version: Mapped[Version] = relationship()
    arch: Mapped[Arch] = relationship()
    category: Mapped[Category] = relationship()
    directory: Mapped[Directory | None] = relationship()


class RepositoryRedirect(Base):
    """An alias: clients that ask for one prefix get another, which may not exist yet."""

    __tablename__ = "repository_redirect"
    __table_args__ = (
        CheckConstraint("from_prefix <> to_prefix", name="not_itself"),
        not_blank("from_prefix"),
        not_blank("to_prefix"),
    )

    id: Mapped[Id]
    from_prefix: Mapped[Name] = mapped_column(unique=True)
    to_prefix: Mapped[Name]


class RepositoryRule(Base):
    """How a path below the topdir becomes a repository; the first rule of a category that matches decides."""

    __tablename__ = "repository_rule"
    __table_args__ = (UniqueConstraint("category_id", "position"), not_blank("pattern"))

    id: Mapped[Id]
    category_id: Mapped[int] = parent("category")
    position: Mapped[int]
    pattern: Mapped[str] = mapped_column(doc="regular expression with named groups, matched against the whole path")
    prefix: Mapped[str] = mapped_column(default="", doc="template; empty: no repository key")
    version: Mapped[str] = mapped_column(default="{version}")
    arch: Mapped[str] = mapped_column(default="{arch}")
    directory: Mapped[str] = mapped_column(default="", doc="template; empty: the path itself, else one above it")
    flags: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, doc='{"test": true, "display": false, …}')
    comment: Mapped[str] = mapped_column(default="")
