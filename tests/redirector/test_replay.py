"""What another policy or registry would change, by past requests."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mm_lib.cache import codec, file
from mm_lib.cache.schema import MirrorlistCache
from mm_redirector import replay, server
from mm_redirector.access_log import Entry, json_line, line
from mm_redirector.app import Application
from mm_redirector.index import build
from mm_redirector.replaying import HostChange, Question, Replay, changed, result
from mm_redirector.settings import BALANCED, CLASSIC, Policy
from mm_redirector.shuffle import seeded
from tests.redirector.worlds import ADDRESSES, CLIENTS, atlas, make

STOCKHOLM = (59.3, 18.1)


def run(
    before: tuple[MirrorlistCache, Policy],
    after: tuple[MirrorlistCache, Policy],
    asked: list[tuple[Question, str, str]],
    place: tuple[float, float] | None = STOCKHOLM,
) -> dict[str, Any]:
    sides = [(build(cache, policy), policy) for cache, policy in (before, after)]
    played = Replay(sides[0], sides[1], atlas(place))
    played.add(asked)
    played.finish()
    return result(played, {host.name: host.country for host in before[0].hosts})


@pytest.fixture(scope="module")
def asked() -> list[tuple[Question, str, str]]:
    """Requests of clients everywhere, for all repositories of the world."""
    draw = Random(3)
    names = sorted(make(30, 5).repositories)
    return [(Question(*draw.choice(names), ""), draw.choice(ADDRESSES), "") for _ in range(300)]


def test_the_same_policy_twice_moves_nothing(asked: list[tuple[Question, str, str]]) -> None:
    found = run((make(30, 5), BALANCED), (make(30, 5), BALANCED), asked)
    assert found["total"]["requests"] == 300
    assert found["total"]["moved"] == 0
    assert all(host["requests_before"] == host["requests_after"] for host in found["hosts"])
    assert found["total"]["kilometres_before"] == found["total"]["kilometres_after"]


def test_shares_are_those_of_the_real_answers() -> None:
    """Against the draws of the application itself."""
    cache = make(30, 5)
    (prefix, arch), *_ = sorted(cache.repositories)
    question = (Question(prefix, arch, "mirrorlist"), "198.51.0.7", "")
    found = run((cache, BALANCED), (cache, BALANCED), [question])
    expected = {host["host"]: host["share_before"] for host in found["hosts"]}
    index, drawn = build(cache, BALANCED), Counter[str]()
    logged: list[Entry] = []
    application = Application(
        lambda: index, atlas(STOCKHOLM), BALANCED, log=logged.append, log_all=True, draw=seeded("7")
    )
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/mirrorlist",
        "QUERY_STRING": f"repo={prefix}&arch={arch}",
        "REMOTE_ADDR": "198.51.0.7",
    }
    for _ in range(4000):
        application.answer(environ)
    drawn.update(entry.host for entry in logged)
    assert set(drawn) <= set(expected)
    for name, share in expected.items():
        assert drawn[name] / 4000 == pytest.approx(share, abs=0.035)


def test_the_requests_of_a_host_that_is_removed_go_elsewhere(asked: list[tuple[Question, str, str]]) -> None:
    before, after = make(30, 5), make(30, 5)
    first = run((before, BALANCED), (make(30, 5), BALANCED), asked)
    busiest = max(first["hosts"], key=lambda host: host["share_before"])
    assert changed(after, {busiest["host"]: HostChange(removed=True)}) == []
    found = run((before, BALANCED), (after, BALANCED), asked)
    row = next(host for host in found["hosts"] if host["host"] == busiest["host"])
    assert row["share_after"] == 0
    assert found["total"]["moved"] == pytest.approx(busiest["requests_before"], abs=0.2)


def test_a_host_with_more_bandwidth_gets_more_requests(asked: list[tuple[Question, str, str]]) -> None:
    before, after = make(30, 5), make(30, 5)
    name = before.hosts[0].name
    changed(after, {name: HostChange(bandwidth=before.hosts[0].bandwidth // 10 or 1)})
    found = run((before, CLASSIC), (after, CLASSIC), asked, place=None)
    rows = {host["host"]: host["share_after"] - host["share_before"] for host in found["hosts"]}
    assert rows.get(name, 0.0) <= 0


def test_clients_whose_country_lost_its_mirrors_are_counted() -> None:
    before, after = make(30, 5), make(30, 5)
    asked = [
        (Question(*names, ""), address, "")
        for names in before.repositories
        for address in ADDRESSES
        if CLIENTS[address] == "SE"
    ]
    swedish = [host.name for host in before.hosts if "SE" in (host.country, *host.extra_countries)]
    changed(after, {name: HostChange(removed=True) for name in swedish})
    total = run((before, BALANCED), (after, BALANCED), asked)["total"]
    assert total["near_before"] - total["near_after"] == total["lost_near_mirror"] > 0


def test_a_country_that_is_added_to_a_host_gives_its_clients_a_near_mirror() -> None:
    before, after = make(30, 5), make(30, 5)
    question = Question(*sorted(before.repositories)[0], "")
    asked = [(question, "203.0.113.9", "NZ")]
    chances = {row["host"]: row["share_before"] for row in run((before, BALANCED), (before, BALANCED), asked)["hosts"]}
    chosen = min(chances, key=lambda name: chances[name])
    changed(after, {chosen: HostChange(add_countries=("NZ",))})
    found = run((before, BALANCED), (after, BALANCED), asked)
    assert (found["total"]["near_before"], found["total"]["near_after"]) == (0, 1)
    assert found["total"]["moved"] == round(1 - chances[chosen], 1)
    assert {row["host"]: row["share_after"] for row in found["hosts"] if row["share_after"]} == {chosen: 1}


def test_a_country_from_the_log_counts_where_no_database_knows_better() -> None:
    cache = make(30, 5)
    question = Question(*sorted(cache.repositories)[0], "")
    found = run((cache, BALANCED), (cache, BALANCED), [(question, "203.0.113.9", "JP")])
    assert [row["country"] for row in found["countries"]] == ["JP"]


@pytest.fixture
def folder(tmp_path: Path, asked: list[tuple[Question, str, str]]) -> Path:
    """A configuration, a cache, logs in both forms, and a proposal."""
    cache = make(30, 5)
    cache.hosts = [host._replace(bandwidth=max(1, host.bandwidth)) for host in cache.hosts]
    file.publish(tmp_path / "mirrorlist.cache", codec.encode(cache))
    (tmp_path / "mm.toml").write_text("[geo]\nembedded = false\n")
    entries = [
        Entry(1795390175.25, address, CLIENTS[address], question.repository, question.arch, status=200)
        for question, address, _ in asked
    ]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/one").write_text("".join(map(line, entries[:150])))
    (tmp_path / "logs/two").write_text("".join(map(json_line, entries[150:])))
    name = make(30, 5).hosts[3].name
    (tmp_path / "new.toml").write_text(f'[redirector]\npolicy = "classic"\n[[host]]\nname = "{name}"\nremoved = true\n')
    return tmp_path


def command(folder: Path, *options: str) -> list[str]:
    return [
        *("--config", str(folder / "mm.toml"), "--logs", str(folder / "logs")),
        *("--policy", str(folder / "new.toml"), *options),
    ]


def test_the_command_prints_tables_and_json_and_writes_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(command(folder)) == 0
    assert "300 requests; " in capsys.readouterr().out
    assert replay.main(command(folder, "--json", "--html", str(folder / "page.html"))) == 0
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 300
    assert "<caption>Share of all requests" in (folder / "page.html").read_text()


def test_lines_that_are_no_requests_are_counted_and_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (folder / "logs/one").open("a") as log:
        log.write("garbage\n\n")
    assert replay.main(command(folder, "--json", "--html", str(folder / "page.html"))) == 0
    assert json.loads(capsys.readouterr().out)["lines_without_request"] == 2
    assert "2 lines of the logs" in (folder / "page.html").read_text()
    assert replay.main(command(folder)) == 0
    assert "2 lines of the logs were no requests" in capsys.readouterr().out


def test_a_damaged_log_is_named(folder: Path) -> None:
    """Not a traceback, and no figures of half a log."""
    (folder / "logs/three.gz").write_bytes(gzip.compress((folder / "logs/one").read_bytes())[:200])
    with pytest.raises(OSError, match=r"three\.gz cannot be read"):
        replay.main(command(folder))


@pytest.mark.parametrize(
    ("proposal", "named"),
    [
        ("[redirector]\npolicy = 'fair'\n", "policy"),
        ("[redirector]\npolicies = 'classic'\n", "policies"),
        ("[[host]]\nname = 'nobody.example'\n", "nobody.example"),
        ("[[host]]\nname = 'h1.example'\nbandwith = 3\n", "bandwith"),
    ],
)
def test_a_proposal_that_cannot_be_is_refused_by_name(
    folder: Path, proposal: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "new.toml").write_text(proposal)
    monkeypatch.setattr("sys.argv", ["mm-redirector", "replay", *command(folder)])
    with pytest.raises(SystemExit) as ended:
        server.main()
    assert ended.value.code == 2
    assert named in capsys.readouterr().err
