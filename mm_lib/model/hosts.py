"""Mirror servers: what they carry, how they are reached, and whom they serve first."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, LargeBinary, SmallInteger, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from mm_lib.model.base import (
    Base,
    Country,
    Created,
    DeletedMixin,
    Id,
    Name,
    StateMixin,
    TimesMixin,
    country_check,
    mirror_address,
    not_blank,
    parent,
    state_explained,
    text_enum,
    unique_while_kept,
)
from mm_lib.model.content import Category
from mm_lib.model.sites import Site


class Host(StateMixin, TimesMixin, DeletedMixin, Base):
    """One mirror server of a site."""

    __tablename__ = "host"
    __table_args__ = (
        unique_while_kept("host", "site_id", "name"),
        not_blank("name"),
        state_explained(),
        country_check("country"),
        CheckConstraint("bandwidth_mbps > 0", name="bandwidth_positive"),
        CheckConstraint("max_connections > 0", name="max_connections_positive"),
        CheckConstraint("latitude BETWEEN -90 AND 90", name="latitude_range"),
        CheckConstraint("longitude BETWEEN -180 AND 180", name="longitude_range"),
        CheckConstraint("(latitude IS NULL) = (longitude IS NULL)", name="coordinates_whole"),
    )

    id: Mapped[Id]
    site_id: Mapped[int] = parent("site")
    name: Mapped[Name] = mapped_column(index=True, doc="the name that users see, usually the DNS name")
    country: Mapped[Country | None] = mapped_column(index=True)
    bandwidth_mbps: Mapped[int] = mapped_column(default=100)
    max_connections: Mapped[int] = mapped_column(default=1, doc="per client")
    private: Mapped[bool] = mapped_column(default=False, doc="served only to its netblocks and ASNs")
    crawl_private: Mapped[bool] = mapped_column(default=False, doc="although private it may be crawled, says its owner")
    asn_clients: Mapped[bool] = mapped_column(default=True, doc="preferred for clients of its own ASNs")
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    has_ipv4: Mapped[bool | None] = mapped_column(doc="reachable by IPv4; None: not known")
    has_ipv6: Mapped[bool | None]
    comment: Mapped[str] = mapped_column(default="", doc="public")
    robot_email: Mapped[str] = mapped_column(default="")
    last_checked_in_at: Mapped[datetime | None]
    last_crawled_at: Mapped[datetime | None]
    last_crawl_seconds: Mapped[float | None]

    site: Mapped[Site] = relationship(back_populates="hosts")
    categories: Mapped[list[HostCategory]] = relationship(
        back_populates="host", passive_deletes=True, cascade="all, delete-orphan"
    )
    netblocks: Mapped[list[HostNetblock]] = relationship(passive_deletes=True, cascade="all, delete-orphan")
    asns: Mapped[list[HostAsn]] = relationship(passive_deletes=True, cascade="all, delete-orphan")
    countries: Mapped[list[HostCountry]] = relationship(passive_deletes=True, cascade="all, delete-orphan")


class HostNetblock(Base):
    """Clients of this network get the host first. A DNS name stands for its addresses and has no bounds here."""

    __tablename__ = "host_netblock"
    __table_args__ = (
        UniqueConstraint("host_id", "netblock"),
        not_blank("netblock"),
        CheckConstraint("(family IS NULL) = (first_address IS NULL)", name="bounds_whole"),
        CheckConstraint("(family IS NULL) = (last_address IS NULL)", name="bounds_both"),
        CheckConstraint("family IN (4, 6)", name="family_known"),
    )

    id: Mapped[Id]
    host_id: Mapped[int] = parent("host")
    netblock: Mapped[Name] = mapped_column(doc="normalised CIDR, or a DNS name in lower case")
    name: Mapped[str] = mapped_column(default="", doc="what the owner calls it")
    family: Mapped[int | None] = mapped_column(SmallInteger)
    first_address: Mapped[bytes | None] = mapped_column(LargeBinary(16), index=True, doc="big-endian, 4 or 16 bytes")
    last_address: Mapped[bytes | None] = mapped_column(LargeBinary(16))


class AsnKind(StrEnum):
    """Whose network it is."""

    OWN = "own"
    PEER = "peer"


class HostAsn(Base):
    """Clients of this autonomous system get the host first."""

    __tablename__ = "host_asn"
    __table_args__ = (
        UniqueConstraint("host_id", "asn"),
        CheckConstraint("asn BETWEEN 1 AND 4294967295", name="asn_range"),
    )

    id: Mapped[Id]
    host_id: Mapped[int] = parent("host")
    asn: Mapped[int] = mapped_column(BigInteger, index=True)
    kind: Mapped[AsnKind] = mapped_column(text_enum(AsnKind, "kind"))
    name: Mapped[str] = mapped_column(default="")


class CountryKind(StrEnum):
    """What a country means for a host."""

    EXTRA = "extra"  # counts as local there too
    ALLOWED = "allowed"  # serves clients of the allowed countries only


class HostCountry(Base):
    """A country besides the one that the host stands in."""

    __tablename__ = "host_country"
    __table_args__ = (UniqueConstraint("host_id", "country", "kind"), country_check("country"))

    id: Mapped[Id]
    host_id: Mapped[int] = parent("host")
    country: Mapped[Country]
    kind: Mapped[CountryKind] = mapped_column(text_enum(CountryKind, "kind"))


class HostAclAddress(Base):
    """An address or DNS name that may pull from the master server by rsync."""

    __tablename__ = "host_acl_address"
    __table_args__ = (UniqueConstraint("host_id", "address"), not_blank("address"))

    id: Mapped[Id]
    host_id: Mapped[int] = parent("host")
    address: Mapped[Name]


class Location(Base):
    """A named group of hosts that clients can ask for, e.g. a cloud region."""

    __tablename__ = "location"
    __table_args__ = (not_blank("name"),)

    id: Mapped[Id]
    name: Mapped[Name] = mapped_column(unique=True)


class HostLocation(Base):
    """A host belongs to a location group."""

    __tablename__ = "host_location"

    location_id: Mapped[int] = mapped_column(ForeignKey("location.id", ondelete="CASCADE"), primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True, index=True)


class Maintenance(Base):
    """The host is taken out of the answers between two moments, announced by its owner."""

    __tablename__ = "maintenance"
    __table_args__ = (CheckConstraint("starts_at < ends_at", name="starts_before_it_ends"),)

    id: Mapped[Id]
    host_id: Mapped[int] = parent("host")
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(default="", doc="for the members of the site")
    announced_by: Mapped[str] = mapped_column(default="")
    created_at: Mapped[Created]


class DirectoryHost(Base):
    """Only the hosts listed for a directory may serve it; without rows every host may."""

    __tablename__ = "directory_host"

    directory_id: Mapped[int] = mapped_column(ForeignKey("directory.id", ondelete="CASCADE"), primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True, index=True)


class HostCategory(TimesMixin, Base):
    """A host carries a category."""

    __tablename__ = "host_category"
    __table_args__ = (UniqueConstraint("host_id", "category_id"),)

    id: Mapped[Id]
    host_id: Mapped[int] = parent("host")
    category_id: Mapped[int] = parent("category")
    always_up_to_date: Mapped[bool] = mapped_column(default=False, doc="a master or a cache: served without a crawl")

    host: Mapped[Host] = relationship(back_populates="categories")
    category: Mapped[Category] = relationship()
    urls: Mapped[list[HostCategoryUrl]] = relationship(
        back_populates="host_category",
        passive_deletes=True,
        cascade="all, delete-orphan",
        order_by="HostCategoryUrl.id",
    )


class HostCategoryUrl(Base):
    """An address of the category's topdir on the host."""

    __tablename__ = "host_category_url"
    __table_args__ = (
        mirror_address("url"),
        CheckConstraint("url NOT LIKE '%/' AND url NOT LIKE '% %'", name="url_normalised"),
        not_blank("url"),
    )

    id: Mapped[Id]
    host_category_id: Mapped[int] = parent("host_category")
    url: Mapped[str] = mapped_column(unique=True, doc="without trailing slash")
    private: Mapped[bool] = mapped_column(default=False, doc="for other mirrors and the crawler, never published")
    tried_at: Mapped[datetime | None] = mapped_column(doc="when the crawler last asked whether it leads anywhere")
    problem: Mapped[str] = mapped_column(default="", doc="why it does not; not published meanwhile")
    certificate_ends_at: Mapped[datetime | None]
    created_at: Mapped[Created]

    host_category: Mapped[HostCategory] = relationship(back_populates="urls")
