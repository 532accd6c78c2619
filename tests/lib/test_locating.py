"""mm-admin geodata locate: mirrors get the coordinates of the city that most of their addresses are in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.base import State
from mm_lib.model.geography import EmbargoedCountry
from mm_lib.model.hosts import AsnKind, Host, HostAsn
from mm_lib.services import probes
from mm_lib.settings import DatabaseSettings
from tests import factories
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses

BERLIN, PARIS = {"latitude": 52.52, "longitude": 13.4}, {"latitude": 48.86, "longitude": 2.35}
NAMES = {
    "ber.example.org": ["192.0.2.1", "192.0.2.2", "198.51.100.1"],  # two of three are in Berlin
    "country.example.org": ["203.0.113.1"],  # only its country is known
    "gone.example.org": [],
}


def database(path: Path, records: dict[str, dict[str, object]]) -> Path:
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test", float_type="f64")
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def admin(tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Admin]:
    """Mirrors of all kinds, databases that know their addresses, and a DNS that knows their names."""
    path = tmp_path / "test.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    admin = Admin(tmp_path, f"sqlite:///{path}")
    cities = database(
        tmp_path / "city.mmdb",
        {
            "192.0.2.0/24": {"city": {"geoname_id": 1}, "location": BERLIN},
            "198.51.100.0/24": {"city": {"geoname_id": 2}, "location": PARIS},
            "203.0.113.0/24": {"location": PARIS},
        },
    )
    asns = database(tmp_path / "asn.mmdb", {"192.0.2.0/24": {"autonomous_system_number": 64500}})
    with admin.config.open("a") as config:
        config.write(f"[geo]\ncity_database = '{cities}'\nasn_database = '{asns}'\n")
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(engine)() as session, transaction(session):
        _fill(session)
    monkeypatch.setattr(probes, "resolve", lambda name: NAMES.get(name, ["192.0.2.9"]))
    yield admin
    engine.dispose()


def _fill(session: Session) -> None:
    linux = factories.category(session)
    for name in (*NAMES, "entered.example.org"):
        factories.carries(session, factories.host(session, name, country="DE"), linux)
    entered = session.scalars(select(Host).where(Host.name == "entered.example.org")).one()
    entered.latitude, entered.longitude = 1.0, 2.0
    entered.asns.append(HostAsn(asn=64511, kind=AsnKind.OWN))
    for name, options in (("private", {"private": True}), ("off", {"state": State.ADMIN_DISABLED})):
        factories.carries(session, factories.host(session, name, **options), linux)  # type: ignore[arg-type]
    factories.carries(session, factories.host(session, "embargoed", country="KP"), linux)
    hidden = factories.host(session, "hidden-address", country="DE")
    factories.carries(session, hidden, linux, url="http://192.0.2.77/x", url_private=True)
    session.add(EmbargoedCountry(country="KP"))


def placed(admin: Admin) -> dict[str, tuple[float, float]]:
    engine: Engine = make_engine(DatabaseSettings(url=f"sqlite:///{admin.folder}/test.sqlite"))
    with make_sessions(engine)() as session:
        rows = session.execute(select(Host.name, Host.latitude, Host.longitude).where(Host.latitude.is_not(None)))
        found = {name: (latitude, longitude) for name, latitude, longitude in rows}
    engine.dispose()
    return found


def systems(admin: Admin) -> dict[str, int]:
    engine: Engine = make_engine(DatabaseSettings(url=f"sqlite:///{admin.folder}/test.sqlite"))
    with make_sessions(engine)() as session:
        found = dict(iter(session.execute(select(Host.name, HostAsn.asn).join(HostAsn, HostAsn.host_id == Host.id))))
    engine.dispose()
    return found


def test_mirrors_without_coordinates_get_those_of_most_of_their_addresses_and_nobody_else(admin: Admin) -> None:
    rows = {row["host"]: row for row in admin.rows("geodata", "locate")}
    assert placed(admin) == {"ber.example.org": (52.52, 13.4), "entered.example.org": (1.0, 2.0)}
    assert rows.keys() == {*NAMES, "hidden-address"}
    assert rows["country.example.org"]["problem"] == "no address has a known city"
    assert rows["gone.example.org"]["problem"] == rows["hidden-address"]["problem"] == "no address"
    assert systems(admin) == {"entered.example.org": 64511}


def test_a_dry_run_tells_and_changes_nothing(admin: Admin) -> None:
    assert "52.52" in admin.ok("geodata", "locate", "--dry-run")
    assert placed(admin) == {"entered.example.org": (1.0, 2.0)}


def test_on_demand_coordinates_are_found_again_and_systems_are_filled_in(admin: Admin) -> None:
    admin.ok("geodata", "locate", "--again", "--asns")
    assert placed(admin)["entered.example.org"] == (52.52, 13.4)
    assert systems(admin) == {"ber.example.org": 64500, "entered.example.org": 64511}


def test_what_changes_while_dns_is_asked_stays(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mirror is removed, for another one somebody enters where it stands, and its system."""

    def resolve(name: str) -> list[str]:
        if name == "ber.example.org":
            engine = make_engine(DatabaseSettings(url=f"sqlite:///{admin.folder}/test.sqlite"))
            with make_sessions(engine)() as session, transaction(session):
                session.delete(session.scalars(select(Host).where(Host.name == "country.example.org")).one())
                host = session.scalars(select(Host).where(Host.name == name)).one()
                host.latitude, host.longitude = 3.0, 4.0
                host.asns.append(HostAsn(asn=64512, kind=AsnKind.OWN))
            engine.dispose()
        return ["192.0.2.9"]

    monkeypatch.setattr(probes, "resolve", resolve)
    admin.ok("geodata", "locate", "--asns")
    assert placed(admin)["ber.example.org"] == (3.0, 4.0)
    assert systems(admin)["ber.example.org"] == 64512


def test_without_a_database_of_cities_it_says_which_setting_is_missing(admin: Admin) -> None:
    admin.config.write_text(admin.config.read_text().partition("[geo]")[0])
    assert "geo.city_database is not set" in admin.refused("geodata", "locate", code=2)
