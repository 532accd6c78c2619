"""Embargoes, continents and networks: what each would do is shown first, and that is what is saved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.base import State
from mm_lib.model.geography import CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.services import places
from tests import factories
from tests.frontend import admin_world, world
from tests.frontend.admin_world import Stage


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two hosts in Germany (operators_world), and further ones: one in Cuba, one switched off there, one in Mexico."""
    with admin_world.stage(sqlite_template, tmp_path_factory.mktemp("places")) as made:
        with made.sessions() as session, transaction(session):
            factories.host(session, "havana.example", country="CU")
            factories.host(session, "off.example", country="CU", state=State.OWNER_DISABLED)
            factories.host(session, "mexico.example", country="MX")
        yield made


@pytest.fixture
def session(stage: Stage) -> Iterator[Session]:
    """Entries of a test are gone after it."""
    with stage.sessions() as session:
        yield session
        session.rollback()
        with transaction(session):
            for table in (EmbargoedCountry, CountryContinent, NetblockCountry):
                for row in session.scalars(select(table)):
                    session.delete(row)


def look(stage: Stage, path: str, **form: Any) -> tuple[str, str]:
    """The text of the page that shows the effect, and the mark of what was shown."""
    answer = stage.send(path, **form)
    found = re.search(r'name="seen"[^>]*value="(\w*)"', answer.text)
    return world.text(answer), found[1] if found else ""


def save(stage: Stage, path: str, **form: Any) -> TestResponse:
    _, seen = look(stage, path, **form)
    return stage.send(path, seen=seen, save="1", **form)


def test_an_embargo_says_which_hosts_vanish_and_what_clients_there_get(stage: Stage, session: Session) -> None:
    page, _ = look(stage, "/admin/places/embargo/new", country="CU")
    assert "1 host in Cuba (CU) vanish from all answers and crawls." in page
    assert "1 more stand there, but are switched off." in page
    assert "havana.example" in page and "mexico.example" not in page
    assert "a client in Cuba (CU) 1 mirror in CU first 1 mirror on its continent (NA) first changes" in page
    assert session.scalars(select(EmbargoedCountry)).all() == []


def test_what_was_shown_is_saved_with_an_audit_event(stage: Stage, session: Session) -> None:
    assert save(stage, "/admin/places/embargo/new", country="CU").location == "/admin/places"
    assert session.scalars(select(EmbargoedCountry.country)).all() == ["CU"]
    assert "Cuba (CU) 2" in stage.page("/admin/places")
    event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None and (event.actor, event.action) == ("super", "add embargoed_country")


def test_other_values_than_those_that_were_shown_are_shown_first(stage: Stage, session: Session) -> None:
    _, seen = look(stage, "/admin/places/embargo/new", country="CU")
    answer = stage.send("/admin/places/embargo/new", seen=seen, save="1", country="MX")
    assert answer.status_code == 200 and "mexico.example" in answer.text
    assert stage.send("/admin/places/embargo/new", save="1", country="CU").status_code == 200
    assert session.scalars(select(EmbargoedCountry)).all() == []


def test_the_end_of_an_embargo_shows_who_comes_back(stage: Stage, session: Session) -> None:
    with transaction(session):
        row = places.add_embargo(session, "CU")
    path = f"/admin/places/embargo/{row.id}/delete"
    page = stage.page(path)
    assert "1 host in Cuba (CU) can be served and crawled again." in page
    assert "1 mirror on its continent (NA) first 1 mirror in CU first changes" in page
    stage.send(path)
    session.expire_all()
    assert session.scalars(select(EmbargoedCountry)).all() == []


def test_a_country_is_embargoed_once(stage: Stage, session: Session) -> None:
    with transaction(session):
        places.add_embargo(session, "CU")
    page, _ = look(stage, "/admin/places/embargo/new", country="CU")
    assert "Cuba (CU) is embargoed already." in page


def test_a_continent_shows_hosts_and_clients_that_change(stage: Stage, session: Session) -> None:
    path, form = "/admin/places/continent/new", {"country": "MX", "continent": "SA"}
    page, _ = look(stage, path, **form)
    assert "Mexico (MX) counts as part of SA instead of NA." in page and "mexico.example" in page
    assert save(stage, path, **form).status_code == 302
    row = session.scalars(select(CountryContinent)).one()
    assert (row.country, row.continent) == ("MX", "SA")
    assert "Mexico (MX) SA NA" in stage.page("/admin/places")
    page, _ = look(stage, f"/admin/places/continent/{row.id}", country="GB", continent="NA")
    assert "United Kingdom (GB) counts as part of NA instead of EU." in page
    assert "Mexico (MX) counts as part of NA instead of SA." in page
    assert "Mexico (MX) counts as part of NA instead of SA." in stage.page(f"/admin/places/continent/{row.id}/delete")


def test_a_continent_that_changes_nothing_says_so(stage: Stage, session: Session) -> None:
    page, _ = look(stage, "/admin/places/continent/new", country="MX", continent="NA")
    assert "Nothing changes: that is its continent already." in page


def test_a_network_shows_sample_clients_before_and_after(stage: Stage, session: Session) -> None:
    with transaction(session):
        places.save_netblock(session, None, "192.0.2.0/24", "FR")
        places.save_netblock(session, None, "192.0.2.64/26", "PL")
    path, form = "/admin/places/network/new", {"netblock": "192.0.2.0/25", "country": "DE"}
    page, _ = look(stage, path, **form)
    assert "2 of 5 sample addresses change their country." in page
    assert "192.0.2.0 FR DE changes" in page and "192.0.2.64 PL PL" in page
    assert "Smaller networks inside it keep their own country: 192.0.2.64/26." in page
    assert save(stage, path, **form).status_code == 302
    assert "192.0.2.0/25" in stage.page("/admin/places")


def test_removing_a_network_shows_what_the_database_says(stage: Stage, session: Session) -> None:
    with transaction(session):
        row = places.save_netblock(session, None, "2001:db8::/32", "FR")
    page = stage.page(f"/admin/places/network/{row.id}/delete")
    assert "2001:db8:: FR not known changes" in page


@pytest.mark.parametrize(
    ("path", "form", "told"),
    [
        ("network", {"netblock": "nonsense", "country": "DE"}, "is not a network such as 192.0.2.0/24"),
        ("network", {"netblock": "192.0.2.0/24", "country": "XX"}, "Not a valid choice"),
        ("continent", {"country": "MX", "continent": ""}, "Enter a continent."),
        ("embargo", {"country": ""}, "Enter a country."),
    ],
)
def test_what_cannot_be_is_explained(stage: Stage, path: str, form: dict[str, str], told: str) -> None:
    answer = stage.send(f"/admin/places/{path}/new", **form)
    assert (answer.status_code, told in world.text(answer)) == (422, True)


def test_auditors_see_entries_and_change_nothing(stage: Stage, session: Session) -> None:
    with transaction(session):
        row = places.add_embargo(session, "CU")
    page = stage.browser("auditor").get("/admin/places").text
    assert "Cuba" in page and "delete" not in page
    assert stage.browser("auditor").post(f"/admin/places/embargo/{row.id}/delete").status_code == 403
