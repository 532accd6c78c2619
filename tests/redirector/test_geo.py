"""Countries and autonomous systems, from real files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mm_lib.settings import GeoSettings
from mm_redirector.geo import Database, GeoData

DATA = Path(__file__).parent / "data"
COUNTRY = DATA / "GeoIP2-Country-Test.mmdb"
ASN = DATA / "GeoLite2-ASN-Test.mmdb"


def geo(**files: Path) -> GeoData:
    return GeoData(GeoSettings(**files))


@pytest.mark.parametrize(
    ("address", "country"),
    [("89.160.20.113", "SE"), ("81.2.69.160", "GB"), ("2001:218::1", "JP"), ("127.0.0.1", ""), ("::1", "")],
)
def test_a_country_database_knows_countries(address: str, country: str) -> None:
    assert geo(country_database=COUNTRY).country(address) == country


def test_a_city_database_stands_in_for_a_country_database() -> None:
    assert geo(city_database=COUNTRY).country("89.160.20.113") == "SE"


def test_without_a_database_the_embedded_countries_are_used() -> None:
    assert geo().country("193.0.6.139") == "NL"
    assert geo().country("10.0.0.1") == ""


def test_the_embedded_countries_can_be_switched_off() -> None:
    assert GeoData(GeoSettings(embedded=False)).country("193.0.6.139") == ""


def test_a_database_that_cannot_be_used_is_reported_and_replaced_by_the_embedded_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "country.mmdb"
    broken.write_bytes(b"not a database")
    source = geo(country_database=broken)
    source.refresh()
    assert source.country("193.0.6.139") == "NL"
    assert len(caplog.records) == 1
    assert f"the database {broken} cannot be used" in caplog.text


def test_an_autonomous_system_is_known_by_its_number() -> None:
    source = geo(asn_database=ASN)
    assert source.asn("1.128.0.0") == 1221
    assert source.asn("127.0.0.1") is None
    assert geo().asn("1.128.0.0") is None


def test_a_replaced_database_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "country.mmdb"
    source = geo(country_database=path)
    assert source.country("89.160.20.113") == "SE"  # as the embedded one knows
    shutil.copy(ASN, tmp_path / "new")
    (tmp_path / "new").rename(path)
    source.refresh()
    assert source.country("89.160.20.113") == ""
    shutil.copy(COUNTRY, tmp_path / "new")
    (tmp_path / "new").rename(path)
    source.refresh()
    assert source.country("89.160.20.113") == "SE"


def test_the_age_of_each_database_is_known() -> None:
    built = geo(country_database=COUNTRY, asn_database=ASN).built()
    assert set(built) == {"GeoIP2-Country-Test", "GeoLite2-ASN-Test"}
    assert all(1_400_000_000 < epoch < 2_000_000_000 for epoch in built.values())
    assert geo().built() == {}


@pytest.mark.parametrize("loss", ["removed", "replaced by a broken one"])
def test_a_database_that_is_lost_goes_on_answering(tmp_path: Path, loss: str) -> None:
    path = tmp_path / "country.mmdb"
    shutil.copy(COUNTRY, path)
    source = geo(country_database=path)
    path.unlink()
    if loss != "removed":
        path.write_bytes(b"broken")
    source.refresh()
    assert source.country("89.160.20.113") == "SE"


def test_flat_records_are_understood(tmp_path: Path) -> None:
    """The databases of ip-location-db are not nested as MaxMind's are."""
    from mmdb_writer import MMDBWriter
    from netaddr import IPSet

    path = tmp_path / "flat.mmdb"
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="country ipvAll")
    writer.insert_network(IPSet(["192.0.2.0/24"]), {"country_code": "nl"})
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"asn": 64500, "country": "odd"})
    writer.to_db_file(str(path))
    assert geo(country_database=path).country("192.0.2.1") == "NL"
    assert geo(country_database=path).country("198.51.100.1") == ""
    assert geo(asn_database=path).asn("198.51.100.1") == 64500


def test_an_unreadable_record_is_no_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(COUNTRY.read_bytes())
    separator = data.index(b"\0" * 16)
    data[separator + 16 : separator + 4000] = b"\xff" * 3984
    path = tmp_path / "damaged.mmdb"
    path.write_bytes(data)
    assert Database(path).get("89.160.20.113") == {}
    assert "cannot be used" in caplog.text
