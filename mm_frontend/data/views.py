"""Public data for programs: who mirrors what and how fresh it is, addresses for firewalls, feeds of state changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from flask import Blueprint, Response, current_app, g, request, url_for
from flask.blueprints import BlueprintSetupState

from mm_frontend.data import documents, feeds
from mm_frontend.db import session
from mm_frontend.public.kept import Kept, Pages
from mm_frontend.settings import frontend
from mm_lib.rules.urls import MIRROR_SCHEMES
from mm_lib.services import public_data, state_changes
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.geography import country_code
from mm_lib.services.public_data import Snapshot

blueprint = Blueprint("data", __name__)

SCHEMAS = ("mirrors", "status")
JSON, TEXT, ATOM = "application/json", "text/plain; charset=utf-8", "application/atom+xml; charset=utf-8"
_KEPT, _PAGES = "public_data", "public_data_documents"


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    """Each application keeps a snapshot of its own."""
    state.app.extensions[_KEPT] = Kept[Snapshot](state.options.get("seconds", 0))
    state.app.extensions[_PAGES] = Pages()


@blueprint.before_request
def _begin() -> None:
    g.for_everybody = True  # mm_frontend.security: whoever asks


@blueprint.after_request
def _finish(response: Response) -> Response:
    """The same for everybody: any cache may keep it, and any page of others may read it."""
    if request.method in ("GET", "HEAD") and response.status_code == 200:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Cache-Control"] = f"public, max-age={int(frontend().cache_seconds)}"
        response.add_etag()
        response.make_conditional(request)
    return response


@blueprint.get("/mirrors.json")
def mirrors() -> Response:
    """Every public mirror with its state per category, version and arch."""
    schema = _address("data.schema", name="mirrors")
    return _answer(JSON, lambda snapshot: json.dumps(documents.mirrors(_asked(snapshot), _page, schema)))


@blueprint.get("/status.json")
def status() -> Response:
    """The same for tools that were written for Arch Linux."""
    return _answer(JSON, lambda snapshot: json.dumps(documents.status(_asked(snapshot), _page)))


@blueprint.get("/urls.txt")
def urls() -> Response:
    """Every address of a mirror, for firewalls."""
    return _answer(TEXT, lambda snapshot: _lines(documents.urls(_asked(snapshot))))


@blueprint.get("/servers.txt")
def servers() -> Response:
    """Every name of a server in these addresses, for firewalls that know nothing else."""
    return _answer(TEXT, lambda snapshot: _lines(documents.servers(_asked(snapshot))))


@blueprint.get("/feed.atom")
def feed() -> Response:
    """How mirrors came and went."""
    title = f"{frontend().site_name}: mirrors that came and went"

    def make(_snapshot: Snapshot) -> str:
        home = _address("public.mirrors")
        return feeds.atom(title, _address("data.feed"), home, state_changes.recent(session()), _page)

    return _answer(ATOM, make)


@blueprint.get("/site/<int:site_id>/feed.atom")
def site_feed(site_id: int) -> Response:
    """The same of one public site."""

    def make(_snapshot: Snapshot) -> str:
        name = state_changes.public_site(session(), site_id)
        changes = state_changes.recent(session(), site_id)
        address = _address("data.site_feed", site_id=site_id)
        return feeds.atom(f"{name}: mirrors that came and went", address, _address("public.mirrors"), changes, _page)

    return _answer(ATOM, make)


@blueprint.get("/schemas/<name>.json")
def schema(name: str) -> Response:
    """The JSON Schema of a document."""
    if name not in SCHEMAS:
        raise NotFound(f"There are schemas of {', '.join(SCHEMAS)}.")
    text = files("mm_frontend.data").joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
    return Response(text, content_type="application/schema+json")


def _answer(kind: str, make: Callable[[Snapshot], str]) -> Response:
    """Each document is made once per question, as long as the snapshot is kept."""
    kept: Kept[Snapshot] = current_app.extensions[_KEPT]
    pages: Pages = current_app.extensions[_PAGES]
    snapshot = kept.get(lambda: public_data.read(session(), datetime.now(UTC)))
    # Not the whole address: arguments that say nothing must not make us write everything once more.
    question = request.path, _named("category"), _named("protocol"), request.args.get("country", "")
    return Response(pages.get(snapshot, question, lambda: make(snapshot)), content_type=kind)


def _asked(snapshot: Snapshot) -> Snapshot:
    """The part that the address asks for. Raises InvalidValue: a firewall must not take a misspelt name for nothing."""
    categories, protocols = _named("category"), _named("protocol")
    country = request.args.get("country", "")
    if unknown := categories - snapshot.categories:
        known = ", ".join(sorted(snapshot.categories))
        raise InvalidValue("category", f"there is no public category {', '.join(sorted(unknown))}; there are: {known}")
    if unknown := protocols - set(MIRROR_SCHEMES):
        raise InvalidValue("protocol", f"{', '.join(sorted(unknown))} is none of {', '.join(MIRROR_SCHEMES)}")
    return snapshot.only(categories, protocols, country_code("country", country) if country else "")


def _named(argument: str) -> frozenset[str]:
    """Names that are asked for, each by an argument of its own or with commas between."""
    values = ",".join(request.args.getlist(argument)).split(",")
    return frozenset(value.strip() for value in values if value.strip())


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _page(host_id: int) -> str:
    return _address("public.mirror", host_id=host_id)


def _address(endpoint: str, **values: Any) -> str:
    """With the public address of these pages where it is known; what a client calls us is not to be trusted."""
    return frontend().public_url + url_for(endpoint, **values)
