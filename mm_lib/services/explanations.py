"""Why a mirror is, or is not, handed out: asked of the redirector, so that it is its own decision that is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from mm_lib.services.errors import ServiceError

PARAMETERS = ("repo", "arch", "ip", "country")
_LARGEST = 16 << 20  # bytes: thousands of mirrors
_CONNECT, _READ = 2.0, 8.0  # seconds


class NoExplanation(ServiceError):
    """The redirector could not be asked, or refused."""


class Served(NamedTuple):
    """A mirror in the answer."""

    rank: int
    host: str
    site: str
    country: str
    reason: str
    mine: bool


class Explanation(NamedTuple):
    """What became of one host in one answer."""

    served: bool
    rank: int | None
    reason: str  # why it is in, or out
    urls: list[str]
    client: Mapping[str, Any]
    about: str  # what was asked for
    category: str
    answer: list[Served]
    hidden: int  # private mirrors of others in the answer


def explain(url: str, asked: Mapping[str, str], host: str, site: str) -> Explanation:
    """Ask the redirector what it would answer, and find the host in that. Raises NoExplanation."""
    if not url:
        raise NoExplanation("Explanations are not set up here: frontend.explain_url names no redirector.")
    told = _ask(url, {name: value for name, value in asked.items() if value})
    if "refused" in told:
        raise NoExplanation(f"The redirector answers: {told['refused']['reason']}. {told['refused']['answer'] or ''}")
    mirrors = [{**mirror, "mine": _is(mirror, host, site)} for mirror in told["mirrors"]]
    own = next((mirror for mirror in mirrors if mirror["mine"]), None)
    shown = [mirror for mirror in mirrors if mirror["mine"] or not mirror.get("private")]
    return Explanation(
        served=own is not None,
        rank=own["rank"] if own else None,
        reason=own["reason"] if own else _why_not(told, host, site),
        urls=own["urls"] if own else [],
        client=told["client"],
        about=told["asked"]["about"],
        category=told["asked"]["category"],
        answer=[_served(mirror) for mirror in shown],
        hidden=len(mirrors) - len(shown),
    )


def _ask(url: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    body = _fetch(url, parameters)
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or not ("refused" in told or "mirrors" in told):
        said = body[:200].decode("utf-8", "replace").strip()
        raise NoExplanation(f"The redirector gives no explanation. It says: {said}")
    return told


def _fetch(url: str, parameters: Mapping[str, str]) -> bytes:
    import urllib3  # where it is needed alone: looking for IPv6, its import opens a socket

    timeout = urllib3.Timeout(connect=_CONNECT, read=_READ)
    fields = {**parameters, "json": "1"}
    try:
        with urllib3.PoolManager(timeout=timeout, retries=urllib3.Retry(1, redirect=0)) as pool:
            answer = pool.request("GET", url, fields=fields, preload_content=False, redirect=False)
            body = answer.read(_LARGEST)
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise NoExplanation("The redirector could not be asked; try again in a minute.") from error
    return body


def _is(mirror: Mapping[str, Any], host: str, site: str) -> bool:
    return mirror["host"] == host and mirror.get("site") in (site, None)


def _why_not(told: Mapping[str, Any], host: str, site: str) -> str:
    for mirror in told["out"]:
        if _is(mirror, host, site):
            return str(mirror["reason"])
    category = told["asked"]["category"]
    return f"it does not carry {category}, or is private and not known for this client's network"


def _served(mirror: Mapping[str, Any]) -> Served:
    return Served(
        mirror["rank"],
        mirror["host"],
        mirror.get("site") or "",
        mirror.get("country") or "",
        mirror["reason"],
        mirror["mine"],
    )
