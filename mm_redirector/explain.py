"""Why an answer is as it is: the same decision as the answer's, told host by host.

Nothing is decided here. The numbers are those that the draw used (category.weighing, the draw's nearness), and the
order is the draw's own, so with the same random numbers it is the order of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

import numpy as np

from mm_lib.cache.schema import ABSENCES
from mm_redirector.index import Index
from mm_redirector.location import ClientLocation
from mm_redirector.query import MirrorQuery, Refusal
from mm_redirector.selection import UNIFORM, Exclusion, Selection, countries_of, exclusions
from mm_redirector.settings import FACTORS, Policy
from mm_redirector.shuffle import Draw, members

PRIVATE_NAME = "a private mirror"


class Decision:
    """Everything that one answer was made of."""

    __slots__ = ("cache", "client", "draw", "policy", "query", "selection")

    def __init__(
        self,
        query: MirrorQuery,
        client: ClientLocation,
        selection: Selection,
        *,
        draw: Draw,
        cache: Index,
        policy: Policy,
    ) -> None:
        self.query = query
        self.client = client
        self.selection = selection
        self.draw = draw
        self.cache = cache
        self.policy = policy


def explain(decision: Decision | Refusal, names_private: bool = True) -> dict[str, Any]:
    """The decision as values; `names_private`: whoever asks may see the names of private mirrors."""
    if isinstance(decision, Refusal):
        return {"refused": {"code": decision.reason.name.lower(), "reason": decision.reason.value,
                            "answer": decision.detail}}  # fmt: skip
    target = decision.selection.target
    return {
        "cache": {"generation": decision.cache.generation, "generated_at": decision.cache.generated_at},
        "asked": _asked(decision),
        "client": _client(decision.client),
        "policy": _policy(decision.policy),
        "tiers": list(_tiers(decision)),
        "mirrors": list(_mirrors(decision, names_private)),
        "out": [
            *_out(decision, names_private),
            *(
                {"host": name, "code": code, "reason": ABSENCES.get(code, code)}
                for name, code in target.category.absent
            ),
        ],
    }


def _asked(decision: Decision) -> dict[str, Any]:
    query, target = decision.query, decision.selection.target
    return {
        "about": target.title,
        "answered_as": query.form.value,
        "category": target.category.name,
        "directory": target.path,
        "file": target.file,
        "countries": list(query.countries),
        "avoided_countries": list(query.avoided),
        "location_groups": list(query.locations),
        "protocol": query.protocol,
        "stable_order": query.stable,
    }


def _client(client: ClientLocation) -> dict[str, Any]:
    return {
        "address": client.address or None,
        "country": client.country or None,
        "continent": client.continent or None,
        "asn": client.asn,
        "netblocks": [claim.netblock for claim in client.netblocks],
        "city_known": client.place is not None,
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "factors": [name for name in FACTORS if name in policy.factors],
        "max_hosts": policy.max_hosts or None,
        "minimum_hosts": policy.minimum_hosts,
    }


def _tiers(decision: Decision) -> Iterator[dict[str, Any]]:
    for tier in decision.selection.tiers:
        yield {
            "code": tier.kind.name.lower(),
            "reason": tier.kind.value,
            "names": list(countries_of(tier, decision.cache, decision.client)),
            "hosts": tier.mask.bit_count(),
            "drawn": len(tier.hosts),
        }


def _mirrors(decision: Decision, names_private: bool) -> Iterator[dict[str, Any]]:
    rank = 0
    for tier in decision.selection.tiers:
        for host in tier.hosts:
            rank += 1
            yield {
                "rank": rank,
                **(shown := _host(decision.cache, host, names_private)),
                "code": tier.kind.name.lower(),
                "reason": tier.kind.value,
                "urls": [] if shown["host"] == PRIVATE_NAME else list(decision.selection.view.urls[host]),
                "always_up_to_date": bool(decision.selection.target.category.always_up_to_date >> host & 1),
                **({} if tier.kind in UNIFORM else {"weight": _arithmetic(decision, host)}),
            }


def _arithmetic(decision: Decision, host: int) -> dict[str, float]:
    """Each factor that counts, and their product. In its tier a host stands first with weight / sum of weights."""
    weighing = decision.selection.target.category.weighing(host)
    nearness = decision.draw.nearness
    values = {"bandwidth": float(weighing.bandwidth), **weighing.factors._asdict()}
    if nearness is not None:
        values["nearness"] = float(nearness(np.array([host]))[0])
    shown = {name: value for name, value in values.items() if name in decision.policy.factors}
    return {
        **shown,
        "product": float(decision.selection.target.category.law.weights[host]) * shown.get("nearness", 1.0),
    }


def _host(index: Index, number: int, names_private: bool) -> dict[str, Any]:
    host = index.hosts[number]
    if host.private and not names_private:
        return {"host": PRIVATE_NAME, "site": None, "country": None, "private": True}
    return {"host": host.name, "site": host.site, "country": host.country or None, "private": host.private}


def _out(decision: Decision, names_private: bool) -> Iterable[dict[str, Any]]:
    """Every host of the category that is not in the answer, with its one reason."""
    reasons: Mapping[Exclusion, int] = exclusions(decision.selection, decision.client, decision.query, decision.cache)
    for reason, mask in reasons.items():
        for number in members(mask):
            yield {**_host(decision.cache, number, names_private), "code": reason.name.lower(), "reason": reason.value}


def page(explanation: Mapping[str, Any]) -> str:
    """The explanation as a page that needs nothing but itself."""
    from jinja2 import Environment  # half a second of start-up, for the few who look at a page

    text = resources.files("mm_redirector").joinpath("explain.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    return template.render(explanation=explanation)
