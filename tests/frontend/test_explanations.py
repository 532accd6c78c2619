"""Why a mirror is served, as the redirector itself tells: asked over HTTP of its real code."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest
from werkzeug.serving import make_server

from mm_lib.services.explanations import NoExplanation, explain
from mm_redirector.app import Application
from mm_redirector.settings import BALANCED, Policy
from tests.redirector.world import NOW, Atlas, build, cast, world

ASKED = {"repo": "fedora-44", "arch": "x86_64", "ip": "", "country": "SE"}


@pytest.fixture(scope="module", params=["public", "off"])
def redirector(request: pytest.FixtureRequest) -> Iterator[str]:
    policy: Policy = BALANCED._replace(explain=request.param)
    index = build(world(), policy)
    server = make_server("127.0.0.1", 0, Application(lambda: index, Atlas(), policy, clock=lambda: NOW))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/explain#{request.param}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_redirector_says_of_each_host_why_it_is_in_or_out(redirector: str) -> None:
    url, _, allowed = redirector.partition("#")
    if allowed == "off":
        with pytest.raises(NoExplanation, match="gives no explanation"):
            explain(url, ASKED, "any", "any")
        return
    told = {host.name: explain(url, ASKED, host.name, host.site) for host in cast() if not host.private}
    served = {name: found for name, found in told.items() if found.served}
    assert served
    assert all(found.rank and found.urls and found.reason for found in served.values())
    assert all(found.reason and not found.urls for name, found in told.items() if name not in served)
    answer = next(iter(served.values()))
    assert [row.rank for row in answer.answer if row.mine] == [answer.rank]
    assert {row.host for row in answer.answer} <= set(told)
    with pytest.raises(NoExplanation, match="The redirector answers"):
        explain(url, {**ASKED, "repo": "no-such-repo"}, "any", "any")


def test_a_redirector_that_is_not_there_or_not_set_up_is_said_so() -> None:
    with pytest.raises(NoExplanation, match="not set up"):
        explain("", ASKED, "any", "any")
    with pytest.raises(NoExplanation, match="could not be asked"):
        explain("http://127.0.0.1:1/explain", ASKED, "any", "any")
