"""One mirror asked over HTTP and HTTPS, against nginx and against servers that misbehave."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.fetch import base
from mm_crawler.fetch.base import Answer, BadAnswer, BadCertificate, FetchError, TooLarge, TooSlow, Unreachable
from mm_crawler.fetch.http import HttpFetcher
from mm_crawler.fetch.pace import Pace
from tests.crawler import hostile
from tests.crawler.builders import sha256
from tests.crawler.hostile import Behaviour, HostileServer
from tests.postgres import free_port
from tests.servers import Nginx

CONTENT = b"0123456789" * 1000
REDIRECTS = """
    location = /moved { return 301 /file; }
    location = /elsewhere { return 302 http://localhost:$server_port/file; }
    location = /ftp { return 302 ftp://127.0.0.1/file; }
    location = /local { return 302 file:///etc/passwd; }
    location = /secret { return 403; }
    location = /page { default_type text/html; return 404 "a long page that says that there is nothing"; }
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    root = tmp_path_factory.mktemp("root")
    (root / "file").write_bytes(CONTENT)
    hops = "".join(
        f"location = /hops/{n} {{ return 302 {'/file' if n == 1 else f'/hops/{n - 1}'}; }}" for n in range(1, 12)
    )
    with Nginx({"mirror": root}, extra={"mirror": REDIRECTS + hops}, tls=True) as server:
        yield server


def ask(
    send: Callable[[HttpFetcher], Awaitable[Answer]],
    *,
    tries: int = 1,
    timeout: float = 5,
    ca_file: Path | None = None,
    pauses: list[float] | None = None,
) -> Answer:
    """Make a fetcher and ask one question with it; pauses are noted instead of made."""

    async def sleep(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    async def run() -> Answer:
        async with CurlClient(CurlOptions("tests", timeout, timeout, 4, ca_file)) as client:
            return await send(HttpFetcher(client, tries, Random(1), Pace(sleep=sleep)))

    return asyncio.run(run())


def test_a_head_tells_status_and_length(nginx: Nginx) -> None:
    assert ask(lambda mirror: mirror.look(f"{nginx.urls['mirror']}/file")) == Answer(200, len(CONTENT))
    assert nginx.requests("mirror")[-1] == "HEAD /file 200"


def test_a_get_tells_the_hash(nginx: Nginx) -> None:
    answer = ask(lambda mirror: mirror.digest(f"{nginx.urls['mirror']}/file", len(CONTENT)))
    assert answer == Answer(200, len(CONTENT), sha256(CONTENT))


def test_a_body_over_the_limit_is_not_read_to_its_end(nginx: Nginx) -> None:
    with pytest.raises(TooLarge, match="more than 9999 bytes"):
        ask(lambda mirror: mirror.digest(f"{nginx.urls['mirror']}/file", len(CONTENT) - 1))


@pytest.mark.parametrize(("path", "status"), [("nothing", 404), ("secret", 403)])
def test_a_no_is_an_answer(nginx: Nginx, path: str, status: int) -> None:
    assert ask(lambda mirror: mirror.look(f"{nginx.urls['mirror']}/{path}")).status == status


def test_an_error_page_longer_than_the_limit_is_still_the_error(nginx: Nginx) -> None:
    assert ask(lambda mirror: mirror.digest(f"{nginx.urls['mirror']}/page", 5)).status == 404


def test_a_redirect_is_followed_and_its_target_named(nginx: Nginx) -> None:
    """Case 32."""
    answer = ask(lambda mirror: mirror.look(f"{nginx.urls['mirror']}/moved"))
    assert (answer.status, answer.size, answer.redirected_to) == (200, len(CONTENT), f"{nginx.urls['mirror']}/file")
    elsewhere = ask(lambda mirror: mirror.digest(f"{nginx.urls['mirror']}/elsewhere", 99999))
    assert elsewhere.sha256 == sha256(CONTENT)
    assert elsewhere.redirected_to.startswith("http://localhost:")


def test_ten_redirects_are_followed_and_not_eleven(nginx: Nginx) -> None:
    assert ask(lambda mirror: mirror.look(f"{nginx.urls['mirror']}/hops/10")).status == 200
    with pytest.raises(BadAnswer, match="redirects"):
        ask(lambda mirror: mirror.look(f"{nginx.urls['mirror']}/hops/11"))


@pytest.mark.parametrize("path", ["ftp", "local"])
def test_a_redirect_to_another_protocol_is_refused(nginx: Nginx, path: str) -> None:
    with pytest.raises(BadAnswer):
        ask(lambda mirror: mirror.look(f"{nginx.urls['mirror']}/{path}"))


def test_a_certificate_that_we_trust_is_fine(nginx: Nginx) -> None:
    assert nginx.certificate is not None
    url = f"{nginx.https_urls['mirror']}/file"
    assert ask(lambda mirror: mirror.look(url), ca_file=nginx.certificate.certificate).status == 200


def test_a_certificate_that_nobody_vouches_for_is_refused_without_another_try(nginx: Nginx) -> None:
    pauses: list[float] = []
    with pytest.raises(BadCertificate, match="certificate"):
        ask(lambda mirror: mirror.look(f"{nginx.https_urls['mirror']}/file"), tries=3, pauses=pauses)
    assert pauses == []


def test_a_port_where_nobody_listens_is_tried_again_with_growing_pauses() -> None:
    pauses: list[float] = []
    with pytest.raises(Unreachable):
        ask(lambda mirror: mirror.look(f"http://127.0.0.1:{free_port()}/"), tries=3, pauses=pauses)
    first, second = pauses
    assert 0.4 < first < 1.6
    assert 0.9 < second < 3.1


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (hostile.silent, TooSlow),
        (hostile.drip, TooSlow),
        (hostile.reset, Unreachable),
        (hostile.endless_headers, FetchError),
        (hostile.not_http, BadAnswer),
        (hostile.redirect_loop, BadAnswer),
    ],
)
def test_a_misbehaving_mirror_ends_in_a_named_error_within_the_time_for_one_answer(
    behaviour: Behaviour, kind: type[FetchError]
) -> None:
    with HostileServer(behaviour) as server:
        for send in (
            lambda mirror: mirror.look(server.url + "/x"),
            lambda mirror: mirror.digest(server.url + "/x", 99),
        ):
            started = time.monotonic()
            with pytest.raises(kind):
                ask(send, timeout=0.5)
            assert time.monotonic() - started < 2


def test_an_endless_body_is_cut_at_the_limit() -> None:
    with HostileServer(hostile.endless_body) as server, pytest.raises(TooLarge):
        ask(lambda mirror: mirror.digest(server.url, 1 << 20))


def test_a_body_shorter_than_promised_is_no_answer() -> None:
    with HostileServer(hostile.too_short) as server, pytest.raises(Unreachable):
        ask(lambda mirror: mirror.digest(server.url, 5000))


def test_a_redirect_to_an_address_that_is_no_text_does_no_harm() -> None:
    with HostileServer(hostile.first(1, hostile.always("302 Found", "Location: /\xff\xfe?\x7f"))) as server:
        answer = ask(lambda mirror: mirror.look(server.url))
    assert answer.status == 200


def test_a_mirror_that_recovers_is_asked_again() -> None:
    with HostileServer(hostile.first(2, hostile.always("503 Service Unavailable"))) as server:
        assert ask(lambda mirror: mirror.look(server.url), tries=3).status == 200
        assert len(server.asked) == 3


def test_the_pause_that_a_mirror_asks_for_is_made() -> None:
    pauses: list[float] = []
    with HostileServer(hostile.first(1, hostile.always("429 Too Many Requests", "Retry-After: 20"))) as server:
        assert ask(lambda mirror: mirror.look(server.url), tries=3, pauses=pauses).status == 200
    assert [round(pause) for pause in pauses] == [20]


def test_a_mirror_that_asks_for_a_very_long_pause_is_not_asked_again() -> None:
    with HostileServer(hostile.always("429 Too Many Requests", "Retry-After: 3600")) as server:
        answer = ask(lambda mirror: mirror.look(server.url), tries=3)
        assert (answer.status, answer.retry_after, answer.wants_no_more) == (429, 3600, True)
        assert len(server.asked) == 1


def test_all_questions_to_a_mirror_wait_when_it_wants_a_pause() -> None:
    pauses: list[float] = []

    async def both(mirror: HttpFetcher) -> Answer:
        await mirror.look(server.url)
        return await mirror.look(server.url)

    with HostileServer(hostile.always("503 Service Unavailable", "Retry-After: 7")) as server:
        ask(both, tries=2, pauses=pauses)
    assert [round(pause) for pause in pauses] == [7, 7, 7]  # one before each request but the first


@pytest.mark.parametrize(
    ("next_try", "asked_for", "jitter", "pause"),
    [(2, 0, 0.5, 1), (3, 0, 0.5, 2), (4, 0, 0.0, 2), (2, 30, 0.5, 30), (2, 61, 0.5, None), (9, 0, 1.0, 60)],
)
def test_pauses_double_and_honour_what_was_asked_within_limits(
    next_try: int, asked_for: float, jitter: float, pause: float | None
) -> None:
    assert base.pause_before(next_try, asked_for, jitter) == pause


def test_a_cancelled_request_leaves_the_client_usable(nginx: Nginx) -> None:
    async def run() -> int:
        async with CurlClient(CurlOptions("tests", 5, 5, 4)) as client:
            fetcher = HttpFetcher(client, 1, Random(1))
            with HostileServer(hostile.silent) as server:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.2):
                        await fetcher.look(server.url)
                return (await fetcher.look(f"{nginx.urls['mirror']}/file")).status

    assert asyncio.run(run()) == 200


def test_connections_are_kept_and_used_again(nginx: Nginx) -> None:
    with HostileServer(hostile.polite) as server:

        async def run() -> None:
            async with CurlClient(CurlOptions("tests", 5, 5, 4)) as client:
                for _ in range(20):
                    await client.head(server.url)

        asyncio.run(run())
        assert len(server.asked) == 20
        assert len(server._connections) == 1
