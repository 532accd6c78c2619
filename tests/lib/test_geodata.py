"""Country data from tor-geoipdb's text files: built whole or not at all, and its source named."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import maxminddb
import pytest
from click.testing import CliRunner

from mm_lib.cli.main import main
from mm_lib.services import geodata
from mm_lib.settings import GeoSettings

IPV4 = "# a comment\n16777216,16777471,AU\n16777472,16778239,CN\n16778240,16778241,??\n"
IPV6 = "# a comment\n2001:4:112::,2001:4:112:ffff:ffff:ffff:ffff:ffff,US\n"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "geoip").write_text(IPV4)
    (tmp_path / "geoip6").write_text(IPV6)
    return tmp_path


def build(texts: Path, output: Path, minimum: int = 1) -> int:
    ranges = chain.from_iterable(geodata.read_ranges(texts / name) for name in ("geoip", "geoip6"))
    return geodata.build(ranges, output, minimum, lambda _: None)


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("1.0.0.0", "AU"),
        ("1.0.0.255", "AU"),
        ("1.0.1.0", "CN"),
        ("1.0.3.255", "CN"),
        ("2001:4:112::1", "US"),
    ],
)
def test_the_ends_of_every_range_have_its_country(texts: Path, address: str, country: str) -> None:
    build(texts, texts / "out.mmdb")
    with maxminddb.open_database(texts / "out.mmdb") as database:
        assert database.get(address) == {"country": {"iso_code": country}}


@pytest.mark.parametrize("address", ["0.255.255.255", "1.0.4.0", "127.0.0.1", "2001:4:113::"])
def test_what_is_in_no_range_or_unknown_has_no_country(texts: Path, address: str) -> None:
    build(texts, texts / "out.mmdb")
    with maxminddb.open_database(texts / "out.mmdb") as database:
        assert database.get(address) is None


def test_too_few_ranges_leave_the_old_file(texts: Path) -> None:
    (texts / "out.mmdb").write_bytes(b"old")
    with pytest.raises(geodata.GeodataError, match="Only 3 ranges"):
        build(texts, texts / "out.mmdb", minimum=1000)
    assert (texts / "out.mmdb").read_bytes() == b"old"


def test_a_line_that_is_no_range_is_named(texts: Path) -> None:
    (texts / "geoip").write_text("1,2\n")
    with pytest.raises(geodata.GeodataError, match="geoip:1: not a range"):
        build(texts, texts / "out.mmdb")


def test_nothing_but_the_database_is_left_in_the_folder(texts: Path) -> None:
    build(texts, texts / "out.mmdb")
    assert {path.name for path in texts.iterdir()} == {"geoip", "geoip6", "out.mmdb"}


def test_the_source_of_the_data_is_named_as_its_licence_asks(texts: Path) -> None:
    build(texts, texts / "out.mmdb")
    assert "IPFire Location" in geodata.attribution(GeoSettings(country_database=texts / "out.mmdb"))
    assert "CC BY-SA 4.0" in geodata.attribution(GeoSettings(country_database=texts / "out.mmdb"))


def test_embedded_data_asks_for_no_attribution() -> None:
    assert geodata.attribution(GeoSettings()) == ""


def test_the_command_builds_where_the_configuration_says(texts: Path) -> None:
    (texts / "mm.toml").write_text("[geo]\ncountry_database = 'country.mmdb'\n")
    command = ["--config", str(texts / "mm.toml"), "geodata", "update", "--from", str(texts), "--minimum", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "from 3 ranges" in result.output
    assert result.stderr == ""  # what cron would mail
    assert (texts / "country.mmdb").is_file()


def test_the_command_wants_to_know_where_to_write(texts: Path) -> None:
    (texts / "mm.toml").write_text("")
    result = CliRunner().invoke(main, ["--config", str(texts / "mm.toml"), "geodata", "update"])
    assert result.exit_code == 2
    assert "--output" in result.output
