"""How far updates have reached the mirrors: case 42 of the reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_crawler.cli import main
from mm_crawler.propagation import Age, age
from mm_crawler.report import DirectoryVerdict, Evidence, Verdict
from mm_lib.database import transaction
from mm_lib.locks import held
from mm_lib.model.content import Arch, Directory, Repository
from mm_lib.model.state import CrawlRun, HostCategoryState, RunKind
from mm_lib.model.statistics import PropagationStatistic, PropagationVersion
from mm_lib.settings import DatabaseSettings
from tests.crawler.builders import DAY, TOPDIR, World
from tests.servers import Nginx

AGES = (0.0, 1.5, 2.5, 3.5)  # days behind the newest version
EVIDENCE = Evidence("", "", "")


def content(days: float) -> bytes:
    return f"<repomd>{days}</repomd>".encode()


@pytest.fixture
def world(session: Session, monkeypatch: pytest.MonkeyPatch, database_url: str) -> World:
    """updates-44 for x86_64 and aarch64, each with all versions."""
    monkeypatch.setenv("MM_DATABASE__URL", database_url)
    monkeypatch.setenv("MM_CRAWLER__TRIES", "1")
    with transaction(session):
        world = World(session)
        other = Arch(name="aarch64")
        session.add(other)
        session.flush()
        for arch in (other, world.arch):
            repodata = world.directory(f"{TOPDIR}/{arch.name}/repodata")
            for days in AGES:
                world.detail(repodata, content(days), int(100 * DAY - days * DAY))
            repository = world.repository(f"updates-{arch.name}", world.directory(f"{TOPDIR}/{arch.name}"))
            repository.arch_id, repository.prefix = arch.id, "updates-44"
    return world


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    """Mirrors of every age, one with metadata that nobody knows, one with aarch64 only, and an empty one."""
    roots = {f"old{number}": ("x86_64", content(days)) for number, days in enumerate(AGES)}
    roots |= {"odd": ("x86_64", b"<repomd>?</repomd>"), "arm": ("aarch64", content(1.5)), "empty": ("none", b"")}
    for name, (arch, body) in roots.items():
        folder = tmp_path / name / arch / "repodata"
        folder.mkdir(parents=True)
        (folder / "repomd.xml").write_bytes(body)
    with Nginx({name: tmp_path / name for name in roots}) as server:
        yield server


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["propagation", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_case_42_every_mirror_counts_once_by_the_age_of_the_version_that_it_has(
    world: World, nginx: Nginx, session: Session
) -> None:
    with transaction(session):
        for name, url in nginx.urls.items():
            world.host(name, url)
        world.host("gopher", "rsync://127.0.0.1:1/fedora")
        world.host("dead", "http://127.0.0.1:1/fedora")
    (row,) = json.loads(run("--product", "Fedora", "--version", "44", "--json").stdout)
    expected = {"same_day": 1, "one_day": 2, "two_days": 1, "older": 2, "unknown": 1}
    assert row == {"repository": "updates-44", "arch": "x86_64", **expected}
    kept = session.scalars(select(PropagationStatistic)).one()
    assert session.get_one(Repository, kept.repository_id).arch_id == world.arch.id
    assert kept.mirrors_mean == sum(expected.values())  # of one measurement
    assert {name: getattr(kept, name) for name in expected} == expected
    assert session.scalars(select(CrawlRun.kind)).all() == [RunKind.PROPAGATION]
    assert session.scalars(select(HostCategoryState)).all() == []  # it measures, and judges no mirror


def test_a_version_that_came_since_the_last_measurement_is_followed_and_its_delay_told(
    world: World, nginx: Nginx, session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And the run leaves its figures for monitoring."""
    monkeypatch.setenv("MM_CRAWLER__PROPAGATION_ALARM_HOURS", "0.000001")
    monkeypatch.setenv("MM_CRAWLER__METRICS_DIRECTORY", str(tmp_path))
    with transaction(session):
        for name in ("old0", "old1", "odd"):
            world.host(name, nginx.urls[name])
    assert "warning" not in run().stderr
    figures = (tmp_path / "mm_crawler_propagation.prom").read_text()
    assert 'mm_crawler_last_run_count{kind="propagation",tier="",what="hosts"} 3.0' in figures
    with transaction(session):
        repodata = session.scalars(select(Directory).where(Directory.path == f"{TOPDIR}/x86_64/repodata")).one()
        made = world.detail(repodata, b"<repomd>new</repomd>", 101 * DAY)
        made.first_seen_at = datetime.now(UTC)  # the database's own clock may count in whole seconds
    told = run().stderr
    assert "updates-44: after 0 hours 0 of 3 mirrors have the newest metadata; 80 % should" in told
    assert "furthest behind: odd, old1, old0\n" in told
    followed = session.scalars(select(PropagationVersion)).one()
    assert (followed.timestamp, followed.mirrors, followed.mirrors_reached) == (101 * DAY, 3, 0)


def test_case_42_a_version_without_its_product_is_wrong_usage(world: World) -> None:
    assert "--version is a version of a product" in run("--version", "44", code=2).output


def test_a_second_measuring_is_refused_while_one_runs(world: World, database_url: str) -> None:
    with held(DatabaseSettings(url=database_url), "measuring of propagation"):
        result = CliRunner().invoke(main, ["propagation"])
    assert result.exit_code == 75
    assert "The measuring of propagation is running already" in result.output


def test_a_product_or_version_that_is_not_there_is_refused(world: World) -> None:
    assert "no product Ubuntu" in run("--product", "Ubuntu", code=1).output
    assert "Fedora has no version 45. There are: 44" in run("--product", "Fedora", "--version", "45", code=1).output


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((Verdict.OK, 1, 0), Age.SAME_DAY),
        ((Verdict.ALTERNATE, 1, DAY), Age.SAME_DAY),
        ((Verdict.ALTERNATE, 1, DAY + 1), Age.ONE_DAY),
        ((Verdict.STALE, 1, 3 * DAY), Age.TWO_DAYS),
        ((Verdict.STALE, 1, 3 * DAY + 1), Age.OLDER),
        ((Verdict.STALE, None, None), Age.OLDER),
        ((Verdict.MISSING, None, None), None),
        ((Verdict.UNKNOWN, None, None), None),
    ],
)
def test_the_lag_behind_the_newest_version_decides(
    said: tuple[Verdict, int | None, int | None], expected: Age | None
) -> None:
    verdict, detail, lag = said
    assert age(DirectoryVerdict(1, verdict, EVIDENCE, detail, lag)) is expected
