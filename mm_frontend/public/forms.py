"""What a reader of the mirror list asks for: addresses and form fields in, clean values out. Wrong ones never fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm_lib.rules.urls import MIRROR_SCHEMES
from mm_lib.services.geography import continents
from mm_lib.services.mirrors import Content, MirrorFilters

MAX_PAGE_SIZE = 100
MAX_TEXT = 2000  # mirrors in a list of bare addresses, which is there to be taken whole
PERCENTS = (100, 95, 50)  # what the form offers; addresses take any
_MAX_NUMBER = 1_000_000  # larger ones are nonsense, and some take long to read


@dataclass(frozen=True)
class ListRequest:
    """Names as they were asked for; empty: any. `page_size` is None when the default is meant."""

    product: str
    version: str
    arch: str
    country: str
    protocol: str
    ipv6: bool
    percent: int
    page_number: int
    page_size: int | None

    def filters(self, content: Content) -> MirrorFilters:
        """The filters, with the names looked up."""
        return MirrorFilters(content, self.country, self.protocol, self.ipv6, self.percent)


def read_list_request(path: Mapping[str, str], arguments: Mapping[str, str]) -> ListRequest:
    """Names in the path win over those in the query; an unknown country or protocol counts as none."""
    product, _, version = arguments.get("release", "").partition("/")
    named = {"product": product, "version": version} | {**arguments} | {**path}
    country, protocol = named.get("country", "").upper(), named.get("protocol", "").lower()
    return ListRequest(
        product=named["product"],
        version=named["version"],
        arch=named.get("arch", ""),
        country=country if country in continents() else "",
        protocol=protocol if protocol in MIRROR_SCHEMES else "",
        ipv6=named.get("ipv6", "").lower() in ("1", "on", "true", "yes"),
        percent=max(0, min(_number(named.get("percent", "")) or 0, 100)),
        page_number=max(1, _number(named.get("page_number", "")) or 1),
        page_size=_page_size(named.get("page_size", "")),
    )


def list_values(filters: MirrorFilters, page_size: int | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the address of a list: of these filters, with changes; without what is empty."""
    content = filters.content
    values = {
        "product": content.product.name if content.product else "",
        "version": content.version.name if content.version else "",
        "arch": content.arch.name if content.arch else "",
        "country": filters.country,
        "protocol": filters.protocol,
        "ipv6": 1 if filters.ipv6 else "",
        "percent": filters.percent,
        "page_size": page_size,
        **changes,
    }
    if not values["product"]:
        values["version"] = ""
    return {name: value for name, value in values.items() if value}


def pager(number: int, pages: int, around: int = 2) -> list[int | None]:
    """Page numbers to link: the first, the last, those around this one; None stands for a gap."""
    shown = sorted({1, pages, *range(max(1, number - around), min(pages, number + around) + 1)})
    line: list[int | None] = []
    for page in shown:
        last = line[-1] if line else 0
        if last is not None and page - last == 2:
            line.append(page - 1)  # a gap of one page is no shorter than its number
        elif last is not None and page - last > 2:
            line.append(None)
        line.append(page)
    return line


def _page_size(text: str) -> int | None:
    """0 and below asked for everything once; now that means as much as there may be."""
    number = _number(text)
    if number is None:
        return None
    return MAX_PAGE_SIZE if number < 1 else min(number, MAX_PAGE_SIZE)


def _number(text: str) -> int | None:
    if len(text) > 20:
        return None
    try:
        return max(-_MAX_NUMBER, min(int(text), _MAX_NUMBER))
    except ValueError:
        return None
