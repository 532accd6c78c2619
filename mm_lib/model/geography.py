"""What operators know better than the databases of addresses and countries."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from mm_lib.model.base import Base, Country, Id, Name, country_check, not_blank

CONTINENTS = ("AF", "AN", "AS", "EU", "NA", "OC", "SA")


class CountryContinent(Base):
    """A country counts as part of this continent, both for clients and for mirrors."""

    __tablename__ = "country_continent"
    __table_args__ = (
        country_check("country"),
        CheckConstraint(f"continent IN ({', '.join(repr(code) for code in CONTINENTS)})", name="continent_known"),
    )

    id: Mapped[Id]
    country: Mapped[Country] = mapped_column(unique=True)
    continent: Mapped[str] = mapped_column(String(2))


class NetblockCountry(Base):
    """Clients of this network are in this country, whatever the address databases say."""

    __tablename__ = "netblock_country"
    __table_args__ = (
        country_check("country"),
        not_blank("netblock"),
        CheckConstraint("family IN (4, 6)", name="family_known"),
    )

    id: Mapped[Id]
    netblock: Mapped[Name] = mapped_column(unique=True, doc="normalised CIDR")
    country: Mapped[Country]
    family: Mapped[int] = mapped_column(SmallInteger)
    first_address: Mapped[bytes] = mapped_column(LargeBinary(16))
    last_address: Mapped[bytes] = mapped_column(LargeBinary(16))


class EmbargoedCountry(Base):
    """Mirrors that stand in this country are not used."""

    __tablename__ = "embargoed_country"
    __table_args__ = (country_check("country"),)

    id: Mapped[Id]
    country: Mapped[Country] = mapped_column(unique=True)
