"""The registry in the formats of other projects' lists of mirrors; what a format cannot say is a note."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from mm_lib.importers.almalinux import COMMENTED
from mm_lib.importers.report import Note, Outcome
from mm_lib.registry.documents import CategoryEntry, HostEntry, SiteFile
from mm_lib.rules.urls import preference
from mm_lib.services.mirrors import country_names

_CSV = (
    "host",
    "site",
    "site_url",
    "country",
    "latitude",
    "longitude",
    "bandwidth_mbps",
    "private",
    "asn",
    "netblocks",
    "email",
    "comment",
    "category",
    "urls",
)


@dataclass(frozen=True)
class Entry:
    """A host that takes part, with one category of it."""

    site: SiteFile
    host: HostEntry
    category: CategoryEntry

    @property
    def urls(self) -> list[str]:
        """The public ones, the best protocol first."""
        return sorted(self.category.urls, key=lambda url: (preference(url), url))

    @property
    def private(self) -> bool:
        """Not for the public."""
        return self.site.private or self.host.private


@dataclass(frozen=True)
class Exported:
    """A list, and what it leaves out."""

    text: str
    notes: list[Note]


def entries(sites: Mapping[str, SiteFile], categories: Mapping[str, str]) -> Iterator[Entry]:
    """What is exported: hosts that nobody switched off, with these categories (by name); no names: with all."""
    for site in sites.values():
        for host in sorted(site.hosts, key=lambda host: host.name):
            if site.disabled or host.disabled:
                continue
            for category in host.categories:
                if not categories or category.category in categories:
                    yield Entry(site, host, category)


def export(format_name: str, sites: Mapping[str, SiteFile], parts: Mapping[str, str]) -> Exported:
    """The list in a format; `parts` are the categories, each with the format's name for it."""
    notes: list[Note] = []
    text = FORMATS[format_name](list(entries(sites, parts)), parts, notes)
    return Exported(text, notes)


def _left_out(notes: list[Note], entry: Entry, subject: str, reason: str) -> None:
    notes.append(Note(Outcome.REFUSED, "url", entry.site.name, subject, reason))


def _public(found: list[Entry], notes: list[Note]) -> Iterator[Entry]:
    for entry in found:
        if entry.private:
            _left_out(notes, entry, entry.host.name, "is private; the format has public mirrors only")
        else:
            yield entry


# -- python-apt-common


def _apt_list(found: list[Entry], _parts: Mapping[str, str], notes: list[Note]) -> str:
    by_country: dict[str, set[str]] = {}
    for entry in _public(found, notes):
        by_country.setdefault(entry.host.country or "", set()).update(f"{url}/" for url in entry.urls)
    lines = []
    for country in sorted(by_country):
        lines += [f"#LOC:{country}"] if country else []
        lines += sorted(by_country[country])
    return "".join(f"{line}\n" for line in lines)


# -- Mirrors.masterlist


def _masterlist(found: list[Entry], parts: Mapping[str, str], notes: list[Note]) -> str:
    paragraphs: dict[tuple[str, str], list[str]] = {}
    for entry in _public(found, notes):
        key = entry.site.name, entry.host.name
        lines = paragraphs.setdefault(key, _about(entry))
        part = parts.get(entry.category.category) or "Archive"
        for url in entry.urls:
            scheme, same = urlsplit(url).scheme, urlsplit(url).netloc == entry.host.name
            field = f"{part}-{scheme}"
            if any(line.startswith(f"{field}:") for line in lines):
                _left_out(notes, entry, url, f"the format has one {field} per mirror")
                continue
            lines.append(f"{field}: {urlsplit(url).path}/" if same else f"{field}: {url}/")
    return "\n".join("".join(f"{line}\n" for line in lines) for lines in paragraphs.values())


_LOCATION = "Location: "


def _about(entry: Entry) -> list[str]:
    host, site = entry.host, entry.site
    lines = [f"Site: {host.name}"]
    if host.country:
        lines.append(f"Country: {host.country} {country_names()[host.country]}")
    said = host.comment.splitlines()
    lines += [line for line in said if line.startswith(_LOCATION)]
    comments = [line for line in said if not line.startswith(_LOCATION)]
    if site.name != host.name or site.org_url:
        lines.append(f"Sponsor: {site.name} {site.org_url}".rstrip())
    if host.robot_email:
        lines.append(f"Maintainer: <{host.robot_email}>")
    if comments:
        lines.append(f"Comment: {' '.join(comments)}")
    return lines


# -- AlmaLinux


def _almalinux(found: list[Entry], _parts: Mapping[str, str], notes: list[Note]) -> str:
    out = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.width = 4096
    yaml.dump([_almalinux_entry(entry, notes) for entry in found], out)
    return out.getvalue() if found else "[]\n"


def _almalinux_entry(entry: Entry, notes: list[Note]) -> dict[str, Any]:
    host, site, address = entry.host, entry.site, {}
    for url in entry.urls:
        scheme = urlsplit(url).scheme
        if scheme in address:
            _left_out(notes, entry, url, f"the format has one {scheme} address per mirror")
        else:
            address[scheme] = f"{url}/"
    labels = dict(line.split(": ", 1) for line in host.comment.splitlines() if ": " in line)
    facts = {key: labels.pop(label, "") for key, label in COMMENTED.items()}
    place = {"country": host.country, "state_province": facts["state_province"], "city": facts["city"]}
    asns = [entry.asn for entry in (*host.own_asns, *host.peer_asns)]
    values = {
        "name": host.name,
        "address": address,
        "geolocation": {key: value for key, value in place.items() if value},
        "update_frequency": facts["update_frequency"],
        "sponsor": site.name,
        "sponsor_url": site.org_url,
        "email": host.robot_email,
        "asn": asns[0] if len(asns) == 1 else asns,
        "subnets": [entry.netblock for entry in host.netblocks],
        "private": entry.private,
    }
    return {key: value for key, value in values.items() if value}


# -- CSV


def _csv(found: list[Entry], _parts: Mapping[str, str], _notes: list[Note]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV)
    for entry in found:
        writer.writerow(_csv_row(entry))
    return out.getvalue()


def _csv_row(entry: Entry) -> list[Any]:
    host, site, place = entry.host, entry.site, entry.host.coordinates
    return [
        host.name,
        site.name,
        site.org_url,
        host.country or "",
        "" if place is None else place.latitude,
        "" if place is None else place.longitude,
        host.bandwidth_mbps,
        "yes" if entry.private else "no",
        " ".join(str(one.asn) for one in (*host.own_asns, *host.peer_asns)),
        " ".join(one.netblock for one in host.netblocks),
        host.robot_email,
        host.comment,
        entry.category.category,
        " ".join(entry.urls),
    ]


FORMATS: dict[str, Callable[[list[Entry], Mapping[str, str], list[Note]], str]] = {
    "almalinux": _almalinux,
    "apt-list": _apt_list,
    "csv": _csv,
    "masterlist": _masterlist,
}
