"""The forms of a page for programs and for people who copy: JSON and plain text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Response, json, request

from mm_lib.services.mirrors import CountryCount, Matrix, Mirror, MirrorCategory, MirrorFilters

HTML, JSON, TEXT = "html", "json", "text"


def wanted(*possible: str) -> str:
    """The form that `format=` asks for, of those that a page has; else the page itself."""
    asked = request.args.get("format", "")
    return asked if asked in possible else HTML


def as_json(members: dict[str, Any]) -> Response:
    """An answer that programs, also scripts of other hosts, may read."""
    answer = Response(json.dumps(members), content_type="application/json")
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


def as_text(lines: Iterable[str]) -> Response:
    """One line each, and an empty body for none."""
    return Response("".join(f"{line}\n" for line in lines), content_type="text/plain; charset=utf-8")


def urls(mirrors: Iterable[Mirror], protocol: str = "") -> list[str]:
    """All addresses in the order of the list; of one protocol where one is asked for."""
    return [
        f"{url}/"
        for mirror in mirrors
        for category in mirror.categories
        for url in category.urls
        if not protocol or url.startswith(f"{protocol}://")
    ]


def of_matrix(matrix: Matrix) -> dict[str, Any]:
    """The start page."""
    return {
        "mirrors": matrix.mirrors,
        "organisations": matrix.organisations,
        "countries": matrix.countries,
        "products": [
            {
                "name": product.name,
                "versions": [
                    {
                        "name": row.version.name,
                        "label": row.version.label,
                        "mirrors": {cell.arch: cell.mirrors for cell in row.cells if cell},
                    }
                    for row in product.versions
                ],
            }
            for product in matrix.products
        ],
    }


def of_filters(filters: MirrorFilters) -> dict[str, Any]:
    """What was understood of the question; null: any."""
    content = filters.content
    return {
        "product": content.product.name if content.product else None,
        "version": content.version.name if content.version else None,
        "arch": content.arch.name if content.arch else None,
        "country": filters.country or None,
        "protocol": filters.protocol or None,
        "ipv6": filters.ipv6 or None,
        "percent": filters.percent or None,
    }


def of_mirror(mirror: Mirror, page: str) -> dict[str, Any]:
    """A mirror, with the address of its page."""
    return {
        "id": mirror.id,
        "name": mirror.name,
        "page": page,
        "organisation": mirror.site,
        "organisation_url": mirror.site_url or None,
        "country": mirror.country,
        "bandwidth_mbps": mirror.bandwidth_mbps,
        "ipv4": mirror.has_ipv4,
        "ipv6": mirror.has_ipv6,
        "comment": mirror.comment or None,
        "categories": [_of_category(category) for category in mirror.categories],
    }


def _of_category(category: MirrorCategory) -> dict[str, Any]:
    return {
        "name": category.name,
        "urls": [f"{url}/" for url in category.urls],
        "percent": category.percent,
        "always_up_to_date": category.always_up_to_date,
        "directories_up_to_date": category.directories_up_to_date,
        "directories_total": category.directories_total,
        "checked_at": category.checked_at.isoformat() if category.checked_at else None,
    }


def of_country(country: CountryCount) -> dict[str, Any]:
    """A country with the number of its mirrors."""
    return {"code": country.code, "name": country.name, "mirrors": country.mirrors}
