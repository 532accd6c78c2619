"""A draft's values in the form in which the registry takes them; what cannot be repaired is left out and reported."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mm_lib.importers import countries
from mm_lib.importers.drafts import DraftUrl, MirrorDraft
from mm_lib.importers.report import Report
from mm_lib.registry.documents import site_name
from mm_lib.registry.reading import beyond_limits
from mm_lib.rules import urls
from mm_lib.rules.netblocks import parse_netblock
from mm_lib.services.content import clean_email, clean_name, clean_text
from mm_lib.services.errors import InvalidValue
from mm_lib.services.host_details import Limits
from mm_lib.services.hosts import MAX_BANDWIDTH

_ASN = re.compile(r"(?:AS)?\s*(\d{1,10})", re.IGNORECASE)
_MAX_COMMENT = 2000


@dataclass(frozen=True)
class Options:
    """What an import is told besides the source."""

    categories: Mapping[str, str]  # part of the archive, in lower case -> category; "" for what names no part
    site: str = ""  # takes all hosts, whatever the source says
    limits: Limits | None = None  # how large a network may be; None: as an administrator enters it
    local: bool = False  # URLs may name machines that are not on the Internet
    parts_are_categories: bool = False  # a table names them itself

    def category(self, part: str) -> str | None:
        """The category of a part of the archive; None: nobody said."""
        return self.categories.get(part.lower(), (part if self.parts_are_categories else None) or None)


@dataclass
class Clean:
    """A draft that the registry can take."""

    where: str
    host: str
    site: str
    whole: bool
    site_fields: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)  # of the host
    urls: list[tuple[str, str]] = field(default_factory=list)  # category, URL
    netblocks: list[str] = field(default_factory=list)
    asns: list[int] = field(default_factory=list)


def clean(draft: MirrorDraft, options: Options, report: Report) -> Clean | None:
    """The draft in good form. None: nothing can be made of it, and the report says why."""
    addresses = _urls(draft, options, report)
    host = _host(draft, addresses, report)
    if host is None:
        return None
    if not addresses:
        reason = "none of its URLs can be taken" if draft.urls else "has no URL"
        report.refused("host", draft.where, host, reason)
        return None
    site = options.site or _or_none(site_name, draft.site, "site", draft, report) or host
    found = Clean(draft.where, host, site, draft.whole, urls=addresses)
    _fields(found, draft, report)
    for text in draft.netblocks:
        _netblock(found, text, options, report)
    for text in draft.asns:
        _asn(found, text, report)
    return found


def _host(draft: MirrorDraft, addresses: list[tuple[str, str]], report: Report) -> str | None:
    text = draft.host
    if "://" in text:
        text = _hostname(text)
        report.repaired("host", draft.where, draft.host, f"is a URL; its host is {text}")
    if not text.strip():
        text = next((_hostname(url) for _, url in addresses), "")
    if not text:
        if not draft.urls:
            report.refused("host", draft.where, "", "has neither a name nor a URL")
        return None
    return _or_none(lambda name: clean_name("name", name), text, "host", draft, report)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _or_none(rule: Callable[[str], str], text: str, kind: str, draft: MirrorDraft, report: Report) -> str | None:
    """What a rule makes of a text; nothing when it says no, which is reported."""
    if not text.strip():
        return None
    try:
        return rule(text)
    except InvalidValue as error:
        report.refused(kind, draft.where, text[:100], error.message)
    except ValueError as error:
        report.refused(kind, draft.where, text[:100], str(error))
    return None


# -- URLs


def _urls(draft: MirrorDraft, options: Options, report: Report) -> list[tuple[str, str]]:
    found = []
    for one in draft.urls:
        category = options.category(one.part)
        if category is None:
            what = f"--category {one.part}=NAME" if one.part else "--category NAME"
            report.refused("url", draft.where, one.url, f"no category is given for {one.part or 'it'} ({what})")
        elif url := _url(one, draft, options, report):
            if (category, url) in found:
                report.repaired("url", draft.where, url, "stands there twice; taken once")
            else:
                found.append((category, url))
    return found


def _url(one: DraftUrl, draft: MirrorDraft, options: Options, report: Report) -> str | None:
    text = one.url.strip()
    if not text:
        report.refused("url", draft.where, one.part, "is a path without a host")
        return None
    guessed = _with_scheme(text)
    if guessed != text:
        report.repaired("url", draft.where, text, f"has no scheme; taken as {guessed}")
    url = _or_none(urls.normalise, guessed, "url", draft, report)
    if url and urls.is_local(url) and not options.local:
        report.refused("url", draft.where, url, "is not on the Internet (--unlimited takes it all the same)")
        return None
    return url


def _with_scheme(text: str) -> str:
    """mirror.example.org/path and //mirror.example.org/path are reached by http."""
    if text.startswith("//"):
        return f"http:{text}"
    bare = "://" not in text and "." in text.partition("/")[0] and not text.startswith(("/", "."))
    return f"http://{text}" if bare else text


# -- the rest


def _fields(found: Clean, draft: MirrorDraft, report: Report) -> None:
    if draft.country.strip():
        country = countries.find(draft.country)
        if country.code is None:
            report.refused("country", draft.where, found.host, f"no country is known as {draft.country[:60]!r}")
        elif country.note:
            report.repaired("country", draft.where, found.host, country.note)
        found.fields["country"] = country.code
    if draft.private is not None:
        found.fields["private"] = draft.private
    if draft.bandwidth_mbps is not None:
        if 1 <= draft.bandwidth_mbps <= MAX_BANDWIDTH:
            found.fields["bandwidth_mbps"] = draft.bandwidth_mbps
        else:
            report.refused("bandwidth", draft.where, found.host, f"must be 1 to {MAX_BANDWIDTH} Mbit/s")
    _place(found, draft, report)
    found.fields["robot_email"] = _email(draft, report)
    found.fields["comment"] = _or_none(
        lambda text: _comment(text, draft, report), draft.comment, "comment", draft, report
    )
    found.fields = {name: value for name, value in found.fields.items() if value is not None}
    if address := _or_none(
        lambda text: urls.normalise(text, ("https", "http")), _web(draft), "site_url", draft, report
    ):
        found.site_fields["org_url"] = address


def _place(found: Clean, draft: MirrorDraft, report: Report) -> None:
    latitude, longitude = draft.latitude, draft.longitude
    if latitude is None and longitude is None:
        return
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        report.refused("coordinates", draft.where, found.host, f"{latitude}, {longitude} is no place on Earth")
        return
    found.fields["coordinates"] = {"latitude": latitude, "longitude": longitude}


def _email(draft: MirrorDraft, report: Report) -> str | None:
    several = [part for part in re.split(r"[,;\s]+", draft.email) if part]
    if len(several) > 1:
        report.repaired("email", draft.where, draft.email, "one mailbox is kept per host; the first was taken")
    return _or_none(lambda text: clean_email("email", text), several[0] if several else "", "email", draft, report)


def _comment(text: str, draft: MirrorDraft, report: Report) -> str:
    if len(text) > _MAX_COMMENT:
        report.repaired("comment", draft.where, draft.host, f"is longer than {_MAX_COMMENT} characters; was cut")
    return clean_text("comment", text[:_MAX_COMMENT])


def _web(draft: MirrorDraft) -> str:
    return _with_scheme(draft.site_url.strip()) if draft.site_url.strip() else ""


def _netblock(found: Clean, text: str, options: Options, report: Report) -> None:
    draft_where = found.where
    try:
        netblock = parse_netblock(text).text
    except ValueError as error:
        report.refused("netblock", draft_where, found.host, str(error))
        return
    if options.limits and (reason := beyond_limits(netblock, options.limits)):
        report.refused("netblock", draft_where, found.host, f"{reason} (--unlimited takes it all the same)")
    elif netblock not in found.netblocks:
        if netblock != text.strip():
            report.repaired("netblock", draft_where, found.host, f"{text.strip()} is {netblock}")
        found.netblocks.append(netblock)


def _asn(found: Clean, text: str, report: Report) -> None:
    match = _ASN.fullmatch(text.strip())
    number = int(match[1]) if match else 0
    if not 1 <= number <= 4294967295:
        report.refused("asn", found.where, found.host, f"{text[:40]!r} is no AS number")
    elif number not in found.asns:
        found.asns.append(number)
