"""Drafts put into the registry as it is: what is known is found again, so that an import can be repeated.

A host is known by a URL, else by its name in its site, else by its DNS name if only one host has it. An import adds,
and changes the fields that its source has; it takes nothing away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mm_lib.importers.cleaning import Clean
from mm_lib.importers.report import Report
from mm_lib.registry.documents import HostEntry, SiteFile

Host = dict[str, Any]


class Merger:
    """The sites that an import touches, growing draft by draft."""

    def __init__(self, current: Mapping[str, SiteFile], report: Report) -> None:
        self._report = report
        self._sites = {name.lower(): site.model_dump() for name, site in current.items()}
        self._touched: dict[str, None] = {}  # keys of _sites, in order
        self._filled: set[str] = set()  # those whose own fields the source has set already
        self._met: dict[int, str] = {}  # id of a host -> where the source has it
        self._by_url: dict[str, tuple[str, Host]] = {}
        self._by_name: dict[str, list[tuple[str, Host]]] = {}
        self.places: dict[tuple[str, str], str] = {}  # (site, host) -> where the source has it
        for key, site in self._sites.items():
            for host in site["hosts"]:
                self._remember(key, host)

    def _remember(self, key: str, host: Host) -> None:
        self._by_name.setdefault(host["name"].lower(), []).append((key, host))
        for category in host["categories"]:
            for url in (*category["urls"], *category["private_urls"]):
                self._by_url[url] = key, host

    def add(self, draft: Clean) -> None:
        """Put one draft in."""
        key, host = self._find(draft)
        site = self._sites[key]
        if draft.whole and (first := self._met.get(id(host))):
            reason = f"stands in the source before ({first}); both were put together"
            self._report.repaired("host", draft.where, draft.host, reason)
        repeated = id(host) in self._met
        self._met.setdefault(id(host), draft.where)
        self._touched[key] = None
        self.places.setdefault((site["name"], host["name"]), draft.where)
        self._fields(site, draft.site_fields, draft, repeated or key in self._filled)
        self._filled.add(key)
        self._fields(host, draft.fields, draft, repeated)
        for category, url in draft.urls:
            self._url(key, host, category, url, draft)
        known = {entry["netblock"] for entry in host["netblocks"]}
        host["netblocks"] += [{"netblock": block, "name": ""} for block in draft.netblocks if block not in known]
        numbers = {entry["asn"] for entry in (*host["own_asns"], *host["peer_asns"])}
        fresh = [{"asn": number, "name": ""} for number in draft.asns if number not in numbers]
        # A mirror stands in one network; the others are told for their clients.
        own = fresh[:1] if not host["own_asns"] else []
        host["own_asns"] += own
        host["peer_asns"] += fresh[len(own) :]

    def _find(self, draft: Clean) -> tuple[str, Host]:
        for _, url in draft.urls:
            if url in self._by_url:
                return self._by_url[url]
        key = draft.site.lower()
        named = self._by_name.get(draft.host.lower(), [])
        for owner, host in named:
            if owner == key:
                return owner, host
        if len(named) == 1 and "." in draft.host:  # "mirror1" may be anybody's
            return named[0]
        if key not in self._sites:
            self._sites[key] = SiteFile(name=draft.site).model_dump()
        host = _new_host(draft.host)
        self._sites[key]["hosts"].append(host)
        self._by_name.setdefault(draft.host.lower(), []).append((key, host))
        return key, host

    def _fields(self, target: dict[str, Any], fields: Mapping[str, Any], draft: Clean, repeated: bool) -> None:
        """The source's word counts; when it contradicts itself, its first word."""
        for name, value in fields.items():
            default = target[name] in (None, "", False)
            if not repeated or default:
                target[name] = value
            elif target[name] != value:
                reason = f"{name} {_shown(value)} contradicts {_shown(target[name])}, which stands there before"
                self._report.refused(name, draft.where, draft.host, reason)

    def _url(self, key: str, host: Host, category: str, url: str, draft: Clean) -> None:
        owner = self._by_url.get(url)
        entry = next((one for one in host["categories"] if one["category"] == category), None)
        if owner:
            if owner[1] is not host:
                self._report.refused("url", draft.where, url, f"belongs to {owner[1]['name']} already")
            elif entry is None or url not in (*entry["urls"], *entry["private_urls"]):
                self._report.refused("url", draft.where, url, f"belongs to another category of {host['name']} already")
            return
        if entry is None:
            entry = {"category": category, "always_up_to_date": False, "urls": [], "private_urls": []}
            host["categories"].append(entry)
        entry["urls"].append(url)
        self._by_url[url] = key, host

    def sites(self) -> list[SiteFile]:
        """The touched sites as they are to be. Their members are nothing that a list of mirrors knows."""
        found = []
        for key in self._touched:
            try:
                found.append(SiteFile.model_validate({**self._sites[key], "members": None}))
            except ValidationError as error:  # every value was looked at alone; this is about too many of them
                self._report.refused("site", "", self._sites[key]["name"], error.errors()[0]["msg"])
        return found


def _new_host(name: str) -> Host:
    return HostEntry(name=name).model_dump()


def _shown(value: Any) -> str:
    return " ".join(str(value).split())[:60]
