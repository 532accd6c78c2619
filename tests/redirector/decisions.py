"""Decisions of a redirector, made as its application makes them."""

from __future__ import annotations

from mm_redirector.app import Application, _understand
from mm_redirector.explain import Decision
from mm_redirector.index import Index
from mm_redirector.location import GeoSource
from mm_redirector.query import Refusal, parse
from mm_redirector.settings import Policy
from mm_redirector.shuffle import seeded
from tests.redirector.world import IN_SWEDEN, Atlas, environment


def decided(
    url: str,
    index: Index,
    policy: Policy,
    address: str = IN_SWEDEN,
    *,
    geo: GeoSource | None = None,
    seed: str = "0",
) -> Decision:
    """What the application decides for a request; a refusal is an error of the test."""
    application = Application(lambda: index, geo or Atlas(), policy)
    environ = environment(url, address, "GET", {})
    decision = application._decide(_understand(parse(environ, policy), index), index, environ, seeded(seed))
    assert not isinstance(decision, Refusal), decision
    return decision
