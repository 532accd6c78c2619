"""What everybody may see: the start page and the list of mirrors."""

from __future__ import annotations

from functools import partial

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from mm_frontend.db import session
from mm_frontend.public.forms import list_values, pager, read_list_request
from mm_frontend.settings import crawler, frontend
from mm_lib.rules.urls import MIRROR_SCHEMES
from mm_lib.services import mirrors as services
from mm_lib.services.mirrors import Matrix, MirrorFilters

blueprint = Blueprint("public", __name__)

_ROBOTS = "User-agent: *\nDisallow: /login\nDisallow: /logout\nDisallow: /account\n"


@blueprint.get("/")
def start() -> ResponseReturnValue:
    """What is mirrored, and by how many."""
    matrix = services.matrix(session())
    return render_template("public/start.html", matrix=matrix, example=_example(matrix))


def _example(matrix: Matrix) -> str:
    """An address that a client could ask the redirector for; empty when there is none to show."""
    base = frontend().redirector_url.rstrip("/")
    versions = [row.version for product in matrix.products for row in product.versions if any(row.cells)]
    versions.sort(key=lambda version: not version.name[:1].isdecimal())  # a release rather than "development"
    found = services.example_repository(session(), versions[0].id) if base and versions else None
    return f"{base}/metalink?repo={found[0]}&arch={found[1]}" if found else ""


@blueprint.get("/mirrors")
@blueprint.get("/mirrors/<product>")
@blueprint.get("/mirrors/<product>/<version>")
@blueprint.get("/mirrors/<product>/<version>/<arch>")
def mirrors(**path: str) -> ResponseReturnValue:
    """The mirrors that match the address and the filters."""
    asked = read_list_request(path, request.args)
    catalogue = services.catalogue(session())
    filters = asked.filters(catalogue.choose(asked.product, asked.version, asked.arch))
    if "release" in request.args:  # the form was sent: one list has one address
        return redirect(_link(filters, asked.page_size))
    size = asked.page_size or frontend().page_size
    page = services.public_mirrors(session(), filters, asked.page_number, size)
    return render_template(
        "public/mirrors.html",
        page=page,
        filters=filters,
        catalogue=catalogue,
        protocols=MIRROR_SCHEMES,
        page_size=asked.page_size,
        pager=pager(page.number, page.pages),
        link=partial(_link, filters, asked.page_size),
    )


def _link(filters: MirrorFilters, page_size: int | None, **changes: str | int) -> str:
    return url_for("public.mirrors", **list_values(filters, page_size, changes))


@blueprint.get("/crawler")
def about_crawler() -> ResponseReturnValue:
    """What the crawler asks mirrors, how often, within which limits, and how to opt out: its User-Agent leads here."""
    return render_template("public/crawler.html", crawler=crawler())


@blueprint.get("/robots.txt")
def robots() -> Response:
    """What search engines should leave alone."""
    return Response(_ROBOTS, content_type="text/plain; charset=utf-8")
