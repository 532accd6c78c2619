"""Arch Linux's status JSON: a list of URLs with their countries."""

from __future__ import annotations

import json
from typing import Any

from mm_lib.importers.drafts import DraftUrl, Found, MirrorDraft, refused


def parse(text: str, file: str) -> Found:
    """A draft for each URL."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield refused("file", file, file, f"is no JSON: {error}")
        return
    urls = values.get("urls") if isinstance(values, dict) else None
    if not isinstance(urls, list):
        yield refused("file", file, file, 'has no list "urls"')
        return
    for number, entry in enumerate(urls, 1):
        yield _url(entry, f"{file}:urls[{number}]")


def _url(entry: Any, where: str) -> Any:
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        return refused("url", where, str(entry)[:80], "has no url")
    url = entry["url"]
    if entry.get("active") is False:
        return refused("url", where, url, "is not active there")
    country = entry.get("country_code") or entry.get("country") or ""
    return MirrorDraft(where, (DraftUrl(url),), country=str(country), whole=False)
