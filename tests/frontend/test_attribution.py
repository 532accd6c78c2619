"""Pages name whose country data is in use where its licence asks for that."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from mm_frontend.app import create_app
from mm_lib.services.geodata import build, read_ranges
from mm_lib.settings import Settings

SECRET = "k3yWithEnoughDifferentCharacters0123456789"


def page(engine: Engine, geo: dict[str, object]) -> str:
    settings = Settings.model_validate({"frontend": {"secret_key": SECRET, "https": False}, "geo": geo})
    return create_app(settings, engine).test_client().get("/").get_data(as_text=True)


def test_data_of_ipfire_location_is_credited_on_every_page(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "geoip").write_text("16777216,16777471,AU\n")
    build(read_ranges(tmp_path / "geoip"), tmp_path / "country.mmdb", 1, lambda _: None)
    assert "IPFire Location" in page(engine, {"country_database": tmp_path / "country.mmdb"})


def test_embedded_data_is_not_credited(engine: Engine) -> None:
    assert "IPFire" not in page(engine, {})
