"""Records of MMDB files, as MaxMind and as ip-location-db write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def country_of(record: Mapping[str, Any]) -> str:
    """ISO code in capitals; "" if unknown. MaxMind nests the code, the databases of ip-location-db do not."""
    code = record.get("country_code")
    if code is None and isinstance(nested := record.get("country"), dict):
        code = nested.get("iso_code")
    return code.upper() if isinstance(code, str) else ""


def asn_of(record: Mapping[str, Any]) -> int | None:
    """The autonomous system."""
    number = record.get("autonomous_system_number") or record.get("asn")
    return number if isinstance(number, int) else None


def place_of(record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Latitude and longitude in degrees. Databases give the middle of a country for addresses whose city they do not
    know: nobody stands there.
    """
    point = record.get("location")
    if not record.get("city") or not isinstance(point, dict):
        return None
    latitude, longitude = point.get("latitude"), point.get("longitude")
    if isinstance(latitude, int | float) and isinstance(longitude, int | float):
        return float(latitude), float(longitude)
    return None
