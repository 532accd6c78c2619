"""The crawler asks whatever owners of mirrors write: what leads into our own network is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from mm_crawler.crawling import fetchers
from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.fetch import rsync
from mm_crawler.fetch.base import Answer, FetchError, NotPublic
from mm_crawler.fetch.http import HttpFetcher
from mm_crawler.fetch.rsync import RsyncLimits
from mm_lib.rules.urls import is_public_address
from mm_lib.settings import CrawlerSettings
from tests.postgres import free_port
from tests.servers import Nginx


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A machine of our own network."""
    root: Path = tmp_path_factory.mktemp("own")
    (root / "file").write_text("secret")
    with Nginx({"own": root}) as server:
        yield server


def asked(url: str, *, public_only: bool) -> list[Answer | FetchError]:
    """What comes of reach, look and digest."""

    async def ask() -> list[Answer | FetchError]:
        async with CurlClient(CurlOptions("tests", 5, 5, 4, public_only=public_only)) as client:
            fetcher = HttpFetcher(client, 3, Random(1))
            found: list[Answer | FetchError] = [(await fetcher.reach(url)).answer]
            for question in (fetcher.look(url), fetcher.digest(url, 100), fetcher.page(url, 100)):
                try:
                    found.append(await question)
                except FetchError as error:
                    found.append(error)
            return found

    return asyncio.run(ask())


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_machine_of_our_own_network_is_not_asked_by_address_or_by_name(nginx: Nginx, name: str) -> None:
    before = nginx.requests("own")
    url = nginx.urls["own"].replace("127.0.0.1", name) + "/file"
    answers = asked(url, public_only=True)
    assert [type(answer) for answer in answers] == [NotPublic] * 4
    assert "crawler.private_mirrors" in str(answers[0])
    assert nginx.requests("own") == before


def test_it_is_asked_where_the_settings_allow_it(nginx: Nginx) -> None:
    answers = asked(nginx.urls["own"] + "/file", public_only=False)
    assert [getattr(answer, "status", answer) for answer in answers] == [200] * 4


def test_rsync_does_not_go_there_either() -> None:
    url = f"rsync://localhost:{free_port()}/module"
    with pytest.raises(NotPublic, match="no address of the Internet"):
        asyncio.run(rsync.reach(url, RsyncLimits(2, 2, public_only=True)))


def test_without_the_setting_crawls_go_to_public_addresses_only(nginx: Nginx) -> None:
    async def ask() -> list[Answer | FetchError]:
        async with CurlClient(CurlOptions("tests", 5, 5, 4)) as client:
            found = []
            for settings in (CrawlerSettings(), CrawlerSettings(private_mirrors=True)):
                fetcher = fetchers(client, settings)()
                found.append((await fetcher.reach(f"rsync://127.0.0.1:{free_port()}/module")).answer)
            return found

    refused, tried = asyncio.run(ask())
    assert isinstance(refused, NotPublic) and not isinstance(tried, NotPublic)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("::ffff:127.0.0.1", False),
        ("2002:7f00:1::", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
    ],
)
def test_which_addresses_are_of_the_internet(address: str, public: bool) -> None:
    assert is_public_address(address) is public
