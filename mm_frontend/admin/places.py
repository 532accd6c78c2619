"""Embargoed countries, and what is known better about places than databases do; each with its effect before saving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import render_template, url_for
from flask.typing import ResponseReturnValue
from wtforms import SelectChoice, SelectField, StringField
from wtforms.validators import Length

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.admin.pages import confirmation, form_page
from mm_frontend.admin.previews import PreviewForm, previewed
from mm_frontend.db import Work, session
from mm_frontend.operators.forms import required
from mm_frontend.operators.pages import Change, saved, with_values
from mm_frontend.settings import everything
from mm_lib.model.base import Base
from mm_lib.model.geography import CONTINENTS, CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.services import places, probes
from mm_lib.services.mirrors import country_names
from mm_lib.services.places import Effect

CONTINENT_NAMES = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}


def _countries() -> list[SelectChoice]:
    names = sorted(country_names().items(), key=lambda item: item[1])
    return [SelectChoice("", "Choose a country"), *(SelectChoice(code, f"{name} ({code})") for code, name in names)]


class EmbargoForm(PreviewForm):
    """A country whose mirrors are not used."""

    country = SelectField("Country", [required("a country")], choices=_countries)


class ContinentForm(PreviewForm):
    """A country counts as part of a continent."""

    country = SelectField("Country", [required("a country")], choices=_countries)
    continent = SelectField(
        "Continent",
        [required("a continent")],
        choices=[
            SelectChoice("", "Choose a continent"),
            *(SelectChoice(code, f"{CONTINENT_NAMES[code]} ({code})") for code in CONTINENTS),
        ],
    )


class NetworkForm(PreviewForm):
    """Clients of a network are in a country."""

    netblock = StringField(
        "Network", [required("a network"), Length(max=100)], description="Such as 192.0.2.0/24 or 2001:db8::/32."
    )
    country = SelectField("Country", [required("a country")], choices=_countries)


def _back() -> tuple[str, str]:
    return url_for("admin.place_list"), "Countries and networks"


@blueprint.get("/places")
def place_list() -> ResponseReturnValue:
    """All three tables."""
    return render_template(
        "admin/places.html",
        embargoes=places.list_embargoes(session()),
        continents=places.list_continents(session()),
        netblocks=places.list_netblocks(session()),
    )


def _form(
    form: PreviewForm, title: str, effect: Callable[[], Effect], change: Change, intro: str
) -> ResponseReturnValue:
    done, shown = previewed(form, effect, change)
    if done:
        return saved("Saved.", _back()[0])
    return form_page(form, title, _back(), template="admin/preview.html", intro=intro, effect=shown)


def _removal(row: Base, what: str, effect: Effect) -> ResponseReturnValue:
    return confirmation(
        f"Remove {what}?",
        "Yes, remove",
        _back(),
        lambda database: places.remove(database, row),
        done=f"Removed {what}.",
        effect=effect,
    )


@blueprint.route("/places/embargo/new", methods=["GET", "POST"])
def new_embargo() -> ResponseReturnValue:
    """Use no mirrors of a country any more."""
    form = EmbargoForm()
    return _form(
        form,
        "New embargo",
        lambda: places.embargo_effect(session(), form.country.data),
        lambda database: places.add_embargo(database, form.country.data),
        "Mirrors that stand in this country are neither crawled nor handed out. Clients from there are still answered.",
    )


@blueprint.route("/places/embargo/<int:override_id>/delete", methods=["GET", "POST"])
def drop_embargo(override_id: int) -> ResponseReturnValue:
    """Use mirrors of a country again."""
    row = places.find(session(), EmbargoedCountry, override_id)
    effect = places.embargo_effect(session(), row.country, ends=True)
    return _removal(row, f"the embargo of {row.country}", effect)


@blueprint.route("/places/continent/new", methods=["GET", "POST"])
def new_continent() -> ResponseReturnValue:
    """Let a country count as part of another continent."""
    return _continent(ContinentForm(), None, "New continent of a country")


@blueprint.route("/places/continent/<int:override_id>", methods=["GET", "POST"])
def edit_continent(override_id: int) -> ResponseReturnValue:
    """Change which."""
    row = places.find(session(), CountryContinent, override_id)
    return _continent(with_values(ContinentForm(), row), row, f"Change the continent of {row.country}")


def _continent(form: Any, row: CountryContinent | None, title: str) -> ResponseReturnValue:
    def change(database: Work) -> None:
        places.save_continent(database, row, form.country.data, form.continent.data)

    return _form(
        form,
        title,
        lambda: places.continent_effect(session(), row, form.country.data, form.continent.data),
        change,
        "Clients get mirrors of their continent where their country has too few.",
    )


@blueprint.route("/places/continent/<int:override_id>/delete", methods=["GET", "POST"])
def drop_continent(override_id: int) -> ResponseReturnValue:
    """Let it be where it is."""
    row = places.find(session(), CountryContinent, override_id)
    return _removal(row, f"the continent of {row.country}", places.continent_effect(session(), row))


@blueprint.route("/places/network/new", methods=["GET", "POST"])
def new_client_network() -> ResponseReturnValue:
    """Say in which country the clients of a network are."""
    return _network(NetworkForm(), None, "New network of clients")


@blueprint.route("/places/network/<int:override_id>", methods=["GET", "POST"])
def edit_client_network(override_id: int) -> ResponseReturnValue:
    """Change it."""
    row = places.find(session(), NetblockCountry, override_id)
    return _network(with_values(NetworkForm(), row), row, f"Change {row.netblock}")


def _network(form: Any, row: NetblockCountry | None, title: str) -> ResponseReturnValue:
    def effect() -> Effect:
        country_of = probes.countries(everything().geo)
        return places.netblock_effect(session(), row, form.netblock.data, form.country.data, country_of=country_of)

    def change(database: Work) -> None:
        places.save_netblock(database, row, form.netblock.data, form.country.data)

    return _form(
        form, title, effect, change, "Clients of this network are in this country, whatever the database says."
    )


@blueprint.route("/places/network/<int:override_id>/delete", methods=["GET", "POST"])
def drop_client_network(override_id: int) -> ResponseReturnValue:
    """Believe the database again."""
    row = places.find(session(), NetblockCountry, override_id)
    effect = places.netblock_effect(session(), row, country_of=probes.countries(everything().geo))
    return _removal(row, f"the country of {row.netblock}", effect)
