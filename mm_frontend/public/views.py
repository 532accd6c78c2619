"""What everybody may see: the start page, mirrors and countries, what the crawler does, what is kept of visitors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flask
from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mm_frontend import banners, language
from mm_frontend.db import session
from mm_frontend.guards import viewer
from mm_frontend.public import conditional, twins
from mm_frontend.public.forms import MAX_TEXT, PERCENTS, ListRequest, list_values, pager, read_list_request
from mm_frontend.public.kept import Kept, Pages
from mm_frontend.settings import crawler, frontend
from mm_lib.rules.urls import MIRROR_SCHEMES
from mm_lib.services import mirrors as services
from mm_lib.services.errors import NotFound
from mm_lib.services.geography import continents
from mm_lib.services.mirrors import Content, Mirror, MirrorFilters, MirrorPage, Registry, Served

blueprint = Blueprint("public", __name__)
blueprint.after_request(conditional.finish)

_KEPT, _MOMENT, _PAGES = "public_registry", "public_moment", "public_pages"


@blueprint.record_once
def _prepare(state: BlueprintSetupState) -> None:
    """Each application keeps a registry of its own."""
    forget_kept(state.app, state.options.get("seconds", 0))


def forget_kept(app: App, seconds: float) -> None:
    """Keep nothing yet; what is read from now on is kept so long."""
    app.extensions[_KEPT] = Kept[Registry](seconds)
    app.extensions[_MOMENT] = Kept[object](seconds)
    app.extensions[_PAGES] = {of: Pages() for of in (Registry, object)}


def kept_registry() -> Registry:
    """What the public may know, at most as old as frontend.cache_seconds."""
    kept: Kept[Registry] = current_app.extensions[_KEPT]
    return kept.get(lambda: services.read_registry(session()))


def kept_moment() -> object:
    """The same object for frontend.cache_seconds: for pages that need no registry."""
    kept: Kept[object] = current_app.extensions[_MOMENT]
    return kept.get(object)


def served() -> dict[int, Served]:
    """The mirrors of the public list by number; the whole list is not read for it."""
    kept: Kept[Registry] = current_app.extensions[_KEPT]
    registry = kept.fresh()
    return services.read_served(session()) if registry is None else registry.served()


def mirror_pages() -> str:
    """What addresses of mirrors' pages begin with: of hundreds of them each by itself takes long to make."""
    return url_for("public.mirror", host_id=0).removesuffix("0")


def kept_page(shown: object, template: str, make: Callable[[], dict[str, Any]]) -> str:
    """The page of a registry or moment; the same one for all who are not signed in, read the same language, and have
    no message waiting."""
    if viewer() is not None or "_flashes" in flask.session:
        return render_template(template, **make())
    pages: Pages = current_app.extensions[_PAGES][type(shown)]
    key = (language.current(), request.full_path, banners.shown())
    return pages.get(shown, key, lambda: render_template(template, **make()))


@blueprint.get("/")
def start() -> ResponseReturnValue:
    """What is mirrored, and by how many."""
    registry = kept_registry()
    if twins.wanted(twins.JSON) == twins.JSON:
        return twins.as_json(twins.of_matrix(registry.matrix()))
    return kept_page(
        registry, "public/start.html", lambda: {"matrix": registry.matrix(), "example": _example(registry)}
    )


def _example(registry: Registry) -> str:
    """An address that a client could ask the redirector for; empty when there is none to show."""
    base = frontend().redirector_url.rstrip("/")
    shown = [version for product in registry.catalogue.products for version in product.versions if version.displayed]
    askable = [version for version in shown if version.id in registry.examples]
    askable.sort(key=lambda version: not version.name[:1].isdecimal())  # a release rather than "development"
    if not base or not askable:
        return ""
    prefix, arch = registry.examples[askable[0].id]
    return f"{base}/metalink?repo={prefix}&arch={arch}"


@blueprint.get("/mirrors")
@blueprint.get("/mirrors/<product>")
@blueprint.get("/mirrors/<product>/<version>")
@blueprint.get("/mirrors/<product>/<version>/<arch>")
def mirrors(**path: str) -> ResponseReturnValue:
    """The mirrors that match the address and the filters."""
    asked = read_list_request(path, request.args)
    registry = kept_registry()
    filters = asked.filters(registry.catalogue.choose(asked.product, asked.version, asked.arch))
    link = partial(_link, filters, asked.page_size)
    if "release" in request.args:  # the form was sent: one list has one address
        return redirect(link())
    form = twins.wanted(twins.JSON, twins.TEXT)
    if form == twins.TEXT:
        return twins.as_text(twins.urls(registry.find(filters)[:MAX_TEXT], filters.protocol))
    if form == twins.JSON:
        size = asked.page_size or frontend().page_size
        page = registry.page(filters, asked.page_number, size, language.current())
        return twins.as_json(_list_as_json(page, filters, link))
    return kept_page(registry, "public/mirrors.html", lambda: _list(registry, filters, asked, link))


def _list(registry: Registry, filters: MirrorFilters, asked: ListRequest, link: Callable[..., str]) -> dict[str, Any]:
    page = registry.page(filters, asked.page_number, asked.page_size or frontend().page_size, language.current())
    return {
        "page": page,
        "filters": filters,
        "catalogue": registry.catalogue,
        "protocols": MIRROR_SCHEMES,
        "percents": PERCENTS,
        "page_size": asked.page_size,
        "pager": pager(page.number, page.pages),
        "link": link,
    }


def _link(filters: MirrorFilters, page_size: int | None, **changes: str | int) -> str:
    return url_for("public.mirrors", **list_values(filters, page_size, changes))


def _list_as_json(page: MirrorPage, filters: MirrorFilters, link: Callable[..., str]) -> dict[str, object]:
    more = page.number < page.pages
    return {
        "filters": twins.of_filters(filters),
        "total": page.total,
        "page": page.number,
        "pages": page.pages,
        "next": link(page_number=page.number + 1, format=twins.JSON) if more else None,
        "mirrors": [twins.of_mirror(mirror, _page_of(mirror)) for mirror in page.mirrors],
        "countries": [twins.of_country(country) for country in page.countries],
    }


def _page_of(mirror: Mirror) -> str:
    return url_for("public.mirror", host_id=mirror.id)


@blueprint.get("/mirror/<int:host_id>")
def mirror(host_id: int) -> ResponseReturnValue:
    """One mirror: where it is, what it carries, how to reach it."""
    registry = kept_registry()
    found = registry.mirror(host_id)
    if found is None:
        raise NotFound(gettext("There is no public mirror with this number. It may have been switched off."))
    form = twins.wanted(twins.JSON, twins.TEXT)
    if form == twins.JSON:
        return twins.as_json(twins.of_mirror(found, _page_of(found)))
    if form == twins.TEXT:
        return twins.as_text(twins.urls([found]))
    return kept_page(registry, "public/mirror.html", lambda: {"mirror": found})


@blueprint.get("/crawler/<int:host_id>.log")
def crawl_log(host_id: int) -> ResponseReturnValue:
    """Where crawl logs were for everybody, private addresses included: the mirror's public page says how it is."""
    return redirect(url_for("public.mirror", host_id=host_id))


@blueprint.get("/countries")
def countries() -> ResponseReturnValue:
    """Where there are mirrors."""
    registry = kept_registry()
    found = services.count_countries(registry.mirrors, language.current())
    if twins.wanted(twins.JSON) == twins.JSON:
        return twins.as_json({"countries": [twins.of_country(country) for country in found]})
    most = max((country.mirrors for country in found), default=1)
    return kept_page(registry, "public/countries.html", lambda: {"countries": found, "most": most})


@blueprint.get("/country/<code>")
def country(code: str) -> ResponseReturnValue:
    """The mirrors of one country."""
    if code.upper() not in continents():
        raise NotFound(gettext("There is no country with this code. Countries have two letters, as in ISO 3166."))
    if code != code.upper():
        return redirect(url_for("public.country", code=code.upper(), **request.args.to_dict()))  # type: ignore[arg-type]
    registry = kept_registry()
    found = registry.find(MirrorFilters(Content(), code), language.current())
    form = twins.wanted(twins.JSON, twins.TEXT)
    if form == twins.TEXT:
        return twins.as_text(twins.urls(found))
    if form == twins.JSON:
        listed = [twins.of_mirror(mirror, _page_of(mirror)) for mirror in found]
        return twins.as_json({"country": code, "total": len(found), "mirrors": listed})
    return kept_page(registry, "public/country.html", lambda: {"code": code, "mirrors": found})


@blueprint.get("/crawler")
def about_crawler() -> ResponseReturnValue:
    """What the crawler asks mirrors, how often, within which limits, and how to opt out: its User-Agent leads here."""
    return render_template("public/crawler.html", crawler=crawler())


@blueprint.get("/privacy")
def privacy() -> ResponseReturnValue:
    """What is kept of people who visit, sign in, or download."""
    return render_template("public/privacy.html", session_hours=frontend().session_hours)
