"""One mirror asked over FTP and FTPS: vsftpd, which has no MLSD, and pyftpdlib, which has it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

import pytest

from mm_crawler.curl import CurlClient, CurlOptions
from mm_crawler.fetch.base import Answer, BadAnswer, BadCertificate, FetchError, TooBusy, TooLarge, TooSlow
from mm_crawler.fetch.http import HttpFetcher
from tests.crawler import hostile
from tests.crawler.builders import sha256
from tests.crawler.hostile import HostileServer
from tests.ftp_servers import Pyftpdlib, Vsftpd
from tests.servers import make_certificate

CONTENT = b"0123456789" * 100


class Servers(NamedTuple):
    """The URLs of three servers over the same tree, and the certificate of one."""

    urls: dict[str, str]
    ca_file: Path
    vsftpd: Vsftpd


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        top = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-ftp-")))
        (top / "a b").mkdir()
        (top / "a b" / "ü+%#").write_bytes(CONTENT)
        certificate = make_certificate(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        vsftpd = stack.enter_context(Vsftpd(top))
        ftps = stack.enter_context(Vsftpd(top, certificate))
        pyftpdlib = stack.enter_context(Pyftpdlib(top))
        urls = {"vsftpd": vsftpd.url, "ftps": ftps.url, "pyftpdlib": pyftpdlib.url}
        yield Servers(urls, certificate.certificate, vsftpd)


T = TypeVar("T")


def ask(
    send: Callable[[HttpFetcher], Awaitable[T]], ca_file: Path | None = None, tries: int = 1, timeout: float = 5
) -> T:
    async def run() -> T:
        async with CurlClient(CurlOptions("tests", timeout, timeout, 4, ca_file)) as client:
            return await send(HttpFetcher(client, tries, Random(1)))

    return asyncio.run(run())


KINDS = ["vsftpd", "ftps", "pyftpdlib"]
FILE = "a%20b/%C3%BC%2B%25%23"


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_tells_the_length(servers: Servers, kind: str) -> None:
    answer = ask(lambda mirror: mirror.look(f"{servers.urls[kind]}/{FILE}"), servers.ca_file)
    assert answer == Answer(200, len(CONTENT))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_and_hashed(servers: Servers, kind: str) -> None:
    answer = ask(lambda mirror: mirror.digest(f"{servers.urls[kind]}/{FILE}", 1000), servers.ca_file)
    assert answer == Answer(200, len(CONTENT), sha256(CONTENT))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_over_the_limit_is_not_read_to_its_end(servers: Servers, kind: str) -> None:
    with pytest.raises(TooLarge):
        ask(lambda mirror: mirror.digest(f"{servers.urls[kind]}/{FILE}", 999), servers.ca_file)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["a%20b/nothing", "nothing/file", "nothing/"])
def test_what_is_not_there_is_missing(servers: Servers, kind: str, path: str) -> None:
    assert ask(lambda mirror: mirror.look(f"{servers.urls[kind]}/{path}"), servers.ca_file).status == 404


@pytest.mark.parametrize("kind", KINDS)
def test_a_topdir_is_reached(servers: Servers, kind: str) -> None:
    reached = ask(lambda mirror: mirror.reach(f"{servers.urls[kind]}/"), servers.ca_file)
    assert isinstance(reached.answer, Answer)
    assert (reached.ipv4, reached.certificate_ends_at > 0) == (True, kind == "ftps")


def test_one_connection_serves_many_questions(servers: Servers) -> None:
    async def many(mirror: HttpFetcher) -> None:
        for _ in range(5):
            await mirror.look(f"{servers.urls['vsftpd']}/{FILE}")

    before = servers.vsftpd.commands().count("USER anonymous")
    ask(many)
    assert servers.vsftpd.commands().count("USER anonymous") == before + 1


def test_a_certificate_that_nobody_vouches_for_is_refused(servers: Servers) -> None:
    with pytest.raises(BadCertificate):
        ask(lambda mirror: mirror.look(f"{servers.urls['ftps']}/{FILE}"))


def test_a_server_that_lets_nobody_in_has_no_answer(servers: Servers) -> None:
    with (
        Vsftpd(servers.ca_file.parent, None, "anonymous_enable=NO", "local_enable=YES") as closed,
        pytest.raises(TooBusy),
    ):
        ask(lambda mirror: mirror.look(f"{closed.url}/file"))


def test_a_server_that_does_not_tell_lengths_is_not_believed(servers: Servers) -> None:
    with (
        Pyftpdlib(servers.ca_file.parent, "SIZE") as mute,
        pytest.raises(BadAnswer, match="how long"),
    ):
        ask(lambda mirror: mirror.look(f"{mute.url}/{servers.ca_file.name}"))


@pytest.mark.parametrize(("behaviour", "kind"), [(hostile.silent, TooSlow), (hostile.not_http, FetchError)])
def test_a_misbehaving_server_ends_in_an_error_in_time(behaviour: hostile.Behaviour, kind: type[FetchError]) -> None:
    with HostileServer(behaviour) as server, pytest.raises(kind):
        ask(lambda mirror: mirror.look(server.url.replace("http:", "ftp:") + "/x"), timeout=0.5)
