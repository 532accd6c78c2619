"""Access logs by seed, and the slow, obvious count over them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

COUNTRIES = ("US", "DE", "JP", "BR", "IN", "FR", "TV", "NU", "IR", "")
REPOSITORIES = ("fedora-44", "updates-released-f44", "epel-10", "updates-testing-f44", "a b;c%")
ARCHES = ("x86_64", "aarch64", "s390x")
DAYS = ("2026-02-27", "2026-02-28", "2026-03-01")
AGENTS = {
    "dnf": "libdnf (Fedora Linux 44; workstation; Linux.x86_64)",
    "yum": "urlgrabber/3.10 yum/3.4.3",
    "zypper": "ZYpp 17.31.0 (curl 8.0) openSUSE",
    "apt": "Debian APT-HTTP/1.3 (2.6.1)",
    "other": "curl/8.5",
}


class Asking(NamedTuple):
    """One request, before it is a line."""

    address: str
    day: str
    country: str
    repository: str
    arch: str
    client: str
    tier: str
    host: str
    asn: int = 0


def asking(number: int, seed: int, days: Sequence[str] = DAYS) -> Iterator[Asking]:
    """So many requests, in the order of their days."""
    draw = random.Random(seed)
    for n in range(number):
        if draw.random() < 0.2:
            address = f"2001:db8:{draw.randrange(40):x}::{draw.randrange(9):x}"
        else:
            address = f"198.51.{draw.randrange(200)}.{draw.randrange(256)}"
        yield Asking(
            address,
            days[n * len(days) // number],
            draw.choices(COUNTRIES, (90, 50, 40, 30, 20, 9, 0.4, 0.2, 3, 2))[0],
            draw.choices(REPOSITORIES, (50, 90, 20, 9, 1))[0],
            draw.choices(ARCHES, (90, 20, 1))[0],
            draw.choice(list(AGENTS)),
            draw.choice(("country", "continent", "global")),
            f"mirror{draw.randrange(7)}.example.org",
            draw.choices((64500, 64501, 64502, 0), (80, 20, 0.2, 5))[0],
        )


def slow_count(requests: Sequence[Asking], minimum: int, full: bool) -> dict[tuple[str, str, str], Counter[str]]:
    """(day, dimension, name) -> requests and clients, one after the other and with every network kept."""
    found: dict[tuple[str, str, str], Counter[str]] = {}
    networks: dict[tuple[str, str, str], set[str]] = {}
    for request in requests:
        version = ip_address(request.address).version
        names = {
            "all": "",
            "countries": "N/" if request.country in ("", "IR") else request.country,
            "repositories": request.repository,
            "archs": request.arch,
            "families": f"IPv{version}",
        }
        if full:
            names |= {"clients": request.client, "tiers": request.tier, "hosts": request.host}
            names |= {"protocols": "https", "kinds": "metalink"}
            names |= {"asns": f"AS{request.asn}"} if request.asn and request.country != "IR" else {}
        network = str(ip_network(f"{request.address}/{24 if version == 4 else 48}", strict=False))
        for dimension, name in names.items():
            key = (request.day, dimension, name)
            found.setdefault(key, Counter())["requests"] += 1
            networks.setdefault(key, set()).add(network)
    for key in [key for key in found if key[1] in ("countries", "asns") and key[2] != "N/"]:
        if found[key]["requests"] < minimum:
            other = (key[0], key[1], "other")
            found.setdefault(other, Counter()).update(found.pop(key))
            networks.setdefault(other, set()).update(networks.pop(key))
    for key, counter in found.items():
        counter["clients"] = len(networks[key])
    return found


def json_record(request: Asking) -> dict[str, Any]:
    """The fields of a JSON line that the statistics read."""
    return {
        "@timestamp": f"{request.day}T12:34:56.789Z",
        "client.address": request.address,
        "client.ip": request.address,
        **({"client.geo.country_iso_code": request.country} if request.country else {}),
        **({"client.as.number": request.asn} if request.asn else {}),
        "http.request.method": "GET",
        "mirrormanager.repo": request.repository,
        "mirrormanager.arch": request.arch,
        "mirrormanager.kind": "metalink",
        "mirrormanager.tier": request.tier,
        "mirrormanager.host": request.host,
        "mirrormanager.protocol": "https",
        "user_agent.original": AGENTS[request.client],
        "event.outcome": "success",
        "http.response.status_code": 200,
    }


def json_lines(requests: Sequence[Asking]) -> bytes:
    """A log of JSON lines."""
    return "".join(json.dumps(json_record(request)) + "\n" for request in requests).encode()
