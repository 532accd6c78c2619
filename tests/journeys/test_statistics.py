"""From requests to the redirector, through the rotation of its log and ingest, to the figures on the page.

Every program is a process of its own, as an administrator runs it. Clients come through a proxy, so that they have
addresses of their own; with `redirector.log_networks` nothing may be left of these anywhere.
"""

from __future__ import annotations

import gzip
import json
import lzma
import signal
import sqlite3
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mm_lib.cache import codec, file
from tests.journeys.program import Installation
from tests.redirector.serving import wait_until
from tests.redirector.world import world

DATABASE = Path(__file__).parents[1] / "redirector" / "data" / "GeoIP2-Country-Test.mmdb"
COUNTRIES = {
    "81.2.69.142": "GB",
    "89.160.20.117": "SE",
    "216.160.83.58": "US",
    "175.16.199.219": "CN",
    "2001:218:7a:1::ab7": "JP",
    "2001:270:19::c0de": "KR",
}
# As some proxies write a client: with a port, in brackets, as an address of the other family, or with words around it.
ODD = {
    "81.2.69.142:4711": "GB",
    "[2001:218:7a:1::ab7]:443": "JP",
    "::ffff:89.160.20.117": "SE",
    'for="216.160.83.58"': "N/",
}
# What each client asks for, so often that no two figures are alike.
ASKED = [
    (repository, client)
    for number, (repository, client) in enumerate(
        (repository, client)
        for repository in ("fedora-44", "already-repodata", "nonsense")
        for client in COUNTRIES | ODD
    )
    for _ in range(number % 7 + 1)
]
FORMS = ("json", "classic")


def answered(asked: list[tuple[str, str]]) -> Counter[str]:
    """Country -> requests, by looking at each."""
    return Counter((COUNTRIES | ODD)[client] for repository, client in asked if repository != "nonsense")


class Journey:
    """An installation that writes only below its folder."""

    def __init__(self, folder: Path, template: Path, *, log_networks: bool) -> None:
        self.folder, self.log = folder, folder / "logs" / "access.log"
        for name in ("tmp", "logs"):
            (folder / name).mkdir(parents=True)
        (folder / "test.sqlite").write_bytes(template.read_bytes())
        (folder / "mirrormanager.toml").touch()
        file.publish(folder / "mirrorlist.cache", codec.encode(world(generated_at=int(time.time()))))
        self.installation = Installation(
            folder,
            database__url=f"sqlite:///{folder}/test.sqlite",
            frontend__https="false",
            frontend__secret_key="0123456789abcdefghijklmnopqrstuvwxyz",
            frontend__trusted_proxies="1",
            geo__country_database=str(DATABASE),
            log__level="DEBUG",
            redirector__workers="1",
            redirector__trusted_proxies="1",
            redirector__allow_ip_parameter="true",
            redirector__access_log=str(self.log),
            redirector__log_networks=str(log_networks).lower(),
            statistics__minimum_requests="0",
        )
        self.installation.environment["TMPDIR"] = str(folder / "tmp")

    def served(self, form: str) -> int:
        """All requests to one redirector, whose log is read and rotated half-way; what was found when it was read."""
        self.installation.environment["MM_REDIRECTOR__ACCESS_LOG_FORMAT"] = form
        parts = ASKED[: len(ASKED) // 2], ASKED[len(ASKED) // 2 :]
        rotated = self.log.with_name(f"access.log.{form}")
        with self.installation.serving("mm-redirector", "REDIRECTOR") as redirector:
            self._ask(redirector, form, parts[0])
            found = self.ingest()
            self.log.rename(rotated)
            self.installation.processes["mm-redirector"].send_signal(signal.SIGUSR1)
            wait_until(self.log.exists, bool)
            self._ask(redirector, form, parts[1])
        rotated.with_name(f"{rotated.name}.gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
        self.log.rename(self.log.with_name(f"access.log.{form}.2"))
        return found

    def _ask(self, redirector: str, form: str, asked: list[tuple[str, str]]) -> None:
        for number, (repository, client) in enumerate(asked):
            where = f"{redirector}/{('mirrorlist', 'metalink')[number % 2]}?repo={repository}&arch=x86_64"
            if client in COUNTRIES and number % 5 == 0:  # some say themselves who they are
                seen(f"{where}&ip={quote(client)}", "203.0.113.77")
            else:
                seen(where, client)
        lines = len(asked) if form == "json" else answered(asked).total()
        wait_until(lambda: len(self.log.read_text().splitlines()), lambda number: number == lines)

    def ingest(self) -> int:
        """How many new requests there were."""
        told = self.installation.admin("statistics", "ingest", "--json", str(self.log.parent))
        return sum(read["requests"] for read in json.loads(told))


def seen(url: str, client: str) -> str:
    """The answer to somebody for whom the proxy vouches; refusals, too."""
    question = urllib.request.Request(url, headers={"X-Forwarded-For": client, "User-Agent": "libdnf (Fedora 44)"})
    try:
        with urllib.request.urlopen(question, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return str(refusal.read().decode())


# -- looking for addresses


def written(address: str) -> dict[str, bytes]:
    """The ways in which a program could write an address down."""
    parsed = ip_address(address)
    number, packed = int(parsed), parsed.packed
    found = {
        "text": address.encode(),
        "hexadecimal": packed.hex().encode(),
        "decimal": str(number).encode(),
        "packed": packed,
        "packed backwards": packed[::-1],
    }
    if isinstance(parsed, IPv6Address):
        found |= {"long": parsed.exploded.encode(), "host part": address.rpartition("::")[2].encode()}
        found["quoted"] = quote(address, safe="").encode()
    return found


def everything(folder: Path) -> dict[str, bytes]:
    """What every file holds, unpacked, and every value of the databases, for pages of a file may cut them in two."""
    found = {}
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        content = found[str(path)] = path.read_bytes()
        if path.suffix in (".gz", ".xz"):
            found[f"{path} unpacked"] = {".gz": gzip, ".xz": lzma}[path.suffix].decompress(content)
        if content.startswith(b"SQLite format 3"):
            found |= {f"{path} {table}": values for table, values in _values(path).items()}
    return found


def _values(path: Path) -> dict[str, bytes]:
    connection = sqlite3.connect(path)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
    finally:
        connection.close()
    return {
        name: b"\n".join(value if isinstance(value, bytes) else str(value).encode() for row in of for value in row)
        for name, of in rows.items()
    }


def traces(folder: Path) -> list[str]:
    """Where a client's address can be found, and how it is written.

    Four bytes can come together by chance, but not those of several clients in the same place.
    """
    found = []
    for place, content in everything(folder).items():
        hits = [(way, address) for address in COUNTRIES for way, sign in written(address).items() if sign in content]
        chance = [hit for hit in hits if hit[0].startswith("packed") and ":" not in hit[1]]
        sure = [hit for hit in hits if hit not in chance]
        found += [f"{place}: {way} {address}" for way, address in (hits if sure or len(chance) > 1 else [])]
    return found


@dataclass(frozen=True)
class Told:
    """What came of a journey."""

    folder: Path
    counted: list[int]  # by each ingest
    countries: dict[str, Any]
    hosts: dict[str, Any]
    html: str


@pytest.fixture(scope="module")
def told(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    journey = Journey(tmp_path_factory.mktemp("networks") / "all", sqlite_template, log_networks=True)
    first = datetime.now(UTC).date()
    counted = [*map(journey.served, FORMS), journey.ingest(), journey.ingest()]
    with journey.installation.serving("mm-frontend", "FRONTEND") as frontend:

        def page(name: str, more: str = "") -> str:
            last = datetime.now(UTC).date()  # maybe another day than when it began
            return seen(f"{frontend}/statistics/{first}/{name}?until={last}&rows=all{more}", next(iter(COUNTRIES)))

        countries, hosts = (json.loads(page(name, "&format=json")) for name in ("countries", "hosts"))
        return Told(journey.folder, counted, countries, hosts, page("countries"))


def test_requests_become_the_figures_of_the_page(told: Told) -> None:
    expected = answered(ASKED * len(FORMS))
    assert {row["name"]: row["requests"] for row in told.countries["rows"]} == expected
    assert told.countries["requests"] == expected.total()
    assert f"{expected.total()} requests of about" in told.html


def test_a_log_counts_once_though_it_grows_is_rotated_and_packed(told: Told) -> None:
    half = answered(ASKED[: len(ASKED) // 2]).total()
    # The second redirector's first look finds what the first one's log had after its rotation, too.
    assert told.counted == [half, answered(ASKED).total(), answered(ASKED).total() - half, 0]


def test_mirrors_that_came_first_are_known_from_json_lines(told: Told) -> None:
    assert sum(row["requests"] for row in told.hosts["rows"]) == answered(ASKED).total()


def test_no_address_of_a_client_is_left_in_any_file_or_in_the_database(told: Told) -> None:
    assert traces(told.folder) == []
    logs = b"".join(content for place, content in everything(told.folder).items() if "/logs/" in place)
    assert b"81.2.69.0" in logs  # the networks are there: these were the clients' lines
    assert b"2001:218:7a::" in logs


def test_without_log_networks_the_same_look_finds_every_client_in_the_log(
    sqlite_template: Path, tmp_path: Path
) -> None:
    journey = Journey(tmp_path / "all", sqlite_template, log_networks=False)
    journey.served("json")
    found = "\n".join(traces(tmp_path))
    assert [client for client in COUNTRIES if f"access.log.json.2: text {client}" not in found] == []
    assert [client for client in COUNTRIES if f"access.log.json.gz unpacked: text {client}" not in found] == []
    assert "sqlite" not in found  # the figures never have them


@pytest.mark.parametrize("way", [*written("2001:218:7a:1::ab7")])
def test_the_look_finds_an_address_however_it_is_written(tmp_path: Path, way: str) -> None:
    signs = b"".join(written(client)[way] for client in COUNTRIES if way in written(client))
    (tmp_path / "file").write_bytes(b"x" + signs + b"x")
    (tmp_path / "file.xz").write_bytes(lzma.compress(signs))
    connection = sqlite3.connect(tmp_path / "database")
    connection.execute("CREATE TABLE t (value BLOB)")
    connection.execute("INSERT INTO t VALUES (?)", (signs,))
    connection.commit()
    connection.close()
    found = traces(tmp_path)
    for place in ("file", "file.xz unpacked", "database t"):
        assert f"{tmp_path}/{place}: {way} 2001:218:7a:1::ab7" in found
