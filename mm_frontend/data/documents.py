"""The documents of the public data: a snapshot in, values that JSON holds out. docs/data.md says what they mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from mm_lib.services.mirrors import country_names
from mm_lib.services.public_data import CHECKS_FOR, Carried, PublicMirror, Snapshot, VersionState, protocol

Pages = Callable[[int], str]  # number of a mirror -> address of its page

ARCH_VERSION = 3  # of Arch Linux's status document
_HOUR = 3600
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)  # readers want a time here in any case


def mirrors(snapshot: Snapshot, page: Pages, schema: str) -> dict[str, Any]:
    """mirrors.json."""
    return {
        "$schema": schema,
        "version": 1,
        "as_of": _moment(snapshot.as_of),
        "mirrors": [_mirror(mirror, page) for mirror in snapshot.mirrors],
    }


def _mirror(mirror: PublicMirror, page: Pages) -> dict[str, Any]:
    of = mirror.mirror
    return {
        "id": of.id,
        "name": of.name,
        "page": page(of.id),
        "organisation": of.site,
        "organisation_url": of.site_url or None,
        "country": of.country,
        "latitude": mirror.latitude,
        "longitude": mirror.longitude,
        "bandwidth_mbps": of.bandwidth_mbps,
        "ipv4": of.has_ipv4,
        "ipv6": of.has_ipv6,
        "comment": of.comment or None,
        "categories": [_carried(carried) for carried in mirror.carried],
    }


def _carried(carried: Carried) -> dict[str, Any]:
    category = carried.category
    return {
        "name": category.name,
        "product": carried.product,
        "urls": [f"{url}/" for url in category.urls],
        "protocols": list(dict.fromkeys(map(protocol, category.urls))),
        "always_up_to_date": category.always_up_to_date,
        "directories_total": category.directories_total,
        "directories_up_to_date": category.directories_up_to_date,
        "percent": category.percent,
        "checked_at": _moment(category.checked_at),
        "last_sync": _moment(carried.last_sync),
        "delay_seconds": carried.delay_seconds,
        "versions": [_version(version) for version in carried.versions],
    }


def _version(version: VersionState) -> dict[str, Any]:
    return {
        "version": version.version,
        "arch": version.arch,
        "state": version.state.value,
        "repositories": version.repositories,
        "current": version.current,
        "delay_seconds": version.delay_seconds,
        "last_sync": _moment(version.last_sync),
        "checked_at": _moment(version.checked_at),
    }


def status(snapshot: Snapshot, page: Pages) -> dict[str, Any]:
    """status.json, as Arch Linux has it at /mirrors/status/json/: an entry per URL."""
    entries = [
        _entry(mirror, carried, url, page)
        for mirror in snapshot.mirrors
        for carried in mirror.carried
        for url in carried.category.urls
    ]
    cutoff = int(CHECKS_FOR.total_seconds())
    checks = max((carried.checks.number for mirror in snapshot.mirrors for carried in mirror.carried), default=0)
    return {
        "cutoff": cutoff,
        "last_check": _moment(snapshot.as_of or _NEVER),
        "num_checks": checks,
        "check_frequency": cutoff // max(checks, 1),
        "urls": entries,
        "version": ARCH_VERSION,
    }


def _entry(mirror: PublicMirror, carried: Carried, url: str, page: Pages) -> dict[str, Any]:
    of, checks, delay = mirror.mirror, carried.checks, carried.delay_seconds
    # Readers take null for "never synchronised": then none of the figures that follow from it may be missing alone.
    synced = carried.last_sync if delay is not None else None
    return {
        "url": f"{url}/",
        "protocol": protocol(url),
        "last_sync": _moment(synced),
        "completion_pct": checks.share,
        "delay": delay if synced else None,
        "duration_avg": checks.seconds,
        "duration_stddev": checks.deviation,
        "score": _score(carried) if synced else None,
        "active": True,
        "country": country_names().get(of.country or "", of.country or ""),
        "country_code": of.country or "",
        "isos": carried.images,
        # Readers want yes or no: a mirror that nobody looked at is taken to be reached as most are.
        "ipv4": of.has_ipv4 is not False,
        "ipv6": of.has_ipv6 is True,
        "details": page(of.id),
    }


def _score(carried: Carried) -> float | None:
    """Arch Linux's: hours of delay and seconds that answers take, over the share of good checks; less is better."""
    checks = carried.checks
    if not checks.share:
        return None
    spent = (carried.delay_seconds or 0) / _HOUR + (checks.seconds or 0.0) + (checks.deviation or 0.0)
    return spent / checks.share


def urls(snapshot: Snapshot) -> list[str]:
    """Every URL once, in order."""
    return sorted({f"{url}/" for mirror in snapshot.mirrors for each in mirror.carried for url in each.category.urls})


def servers(snapshot: Snapshot) -> list[str]:
    """The name of every server in the URLs once, in order."""
    return sorted({urlsplit(url).hostname or "" for url in urls(snapshot)} - {""})


def _moment(moment: datetime | None) -> str | None:
    """In UTC to the second, in the one form that all readers of such documents understand."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
