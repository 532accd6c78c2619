"""mm-crawler master: which categories it scans, what it prints, its exit codes, and the record of the run."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from mm_crawler.master import command as command_module
from mm_crawler.master.command import master
from mm_lib.cli.common import Group, Program
from mm_lib.database import make_sessions, transaction
from mm_lib.model.content import Arch, Category, Directory, FileDetail, Product, Repository
from mm_lib.model.state import CrawlRun, RunKind
from mm_lib.services.rules import load_rules
from tests.crawler.master_tree import add_category, make_program, put, put_repository, settle

DEMO = Path(__file__).parents[2] / "utils/demo/master_tree.py"


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "master"
    put_repository(top, "releases/20/Everything/x86_64/os")
    put_repository(top, "elsewhere")
    settle(top)
    return top


@pytest.fixture
def program(engine: Engine, top: Path) -> Program:
    add_category(engine, top)
    return make_program(engine)


def add_others(engine: Engine, **sources: dict[str, object]) -> None:
    """Categories beside the good one."""
    with make_sessions(engine)() as session, transaction(session):
        for name, source in sources.items():
            session.add(Category(name=name, product=Product(name=f"Product of {name}"), source=source))


def run(program: Program, *arguments: str) -> Result:
    """As mm-crawler does it, errors as messages."""
    group = Group(name="mm-crawler")
    group.add_command(master)
    return CliRunner().invoke(group, ["master", *arguments], obj=program)


def test_all_categories_are_scanned_and_summed_up(
    program: Program, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    result = run(program)
    assert result.exit_code == 0, result.output
    line, _, seconds = result.stdout.strip().rpartition("; ")
    assert line == (
        "Fedora Linux: 9 directories: 9 new, 2 important files read, 2 file versions added, 1 releases created, "
        "1 repositories created, 1 repositories unmatched"
    )
    assert seconds.endswith(" s")
    assert session.scalar(select(func.count(Directory.id))) == 9
    assert "Fedora Linux: elsewhere: no repository, no rule matches" in caplog.text


def test_the_run_leaves_its_figures_for_monitoring(program: Program, tmp_path: Path) -> None:
    crawler = program.settings.crawler.model_copy(update={"metrics_directory": tmp_path})
    program.settings = program.settings.model_copy(update={"crawler": crawler})
    run(program)
    figures = (tmp_path / "mm_crawler_master.prom").read_text()
    assert 'mm_crawler_last_run_successful{kind="master",tier=""} 1.0' in figures
    assert 'mm_crawler_last_run_count{kind="master",tier="",what="new"}' in figures


def test_the_run_is_recorded(program: Program, session: Session) -> None:
    run(program, "--category", "Fedora Linux")
    row = session.scalars(select(CrawlRun)).one()
    assert (row.kind, row.outcome, row.arguments["categories"]) == (RunKind.MASTER, "ok", ["Fedora Linux"])
    assert row.counts["Fedora Linux"]["new"] == 9
    assert row.finished_at and row.finished_at >= row.started_at


def test_a_category_that_fails_does_not_stop_the_others_and_gives_exit_code_1(
    program: Program, session: Session, engine: Engine, tmp_path: Path
) -> None:
    add_others(engine, Broken={"type": "directory", "path": str(tmp_path / "gone")}, Wrong={"type": "carrier pigeon"})
    result = run(program)
    assert result.exit_code == 1
    assert f"Error: Broken: {tmp_path}/gone cannot be listed: No such file or directory" in result.stderr
    assert "Error: Wrong: source.type: must be one of 'directory', 'fullfiletimelist'," in result.stderr
    assert "Fedora Linux" in result.stdout
    row = session.scalars(select(CrawlRun)).one()
    assert (row.outcome, set(row.counts)) == ("failed", {"Broken", "Wrong", "Fedora Linux"})


def test_a_category_without_source_is_skipped_with_a_notice(program: Program, engine: Engine) -> None:
    add_others(engine, Debian={})
    result = run(program)
    assert (result.exit_code, result.stderr.strip()) == (0, "Debian: skipped, it has no source")


def test_only_the_named_categories_are_scanned(program: Program, engine: Engine, tmp_path: Path) -> None:
    add_others(engine, Broken={"type": "directory", "path": str(tmp_path / "gone")})
    assert run(program, "--category", "Fedora Linux").exit_code == 0


def test_a_category_that_does_not_exist_is_a_message_and_nothing_is_scanned(program: Program, session: Session) -> None:
    result = run(program, "--category", "Fedora Linux", "--category", "Gentoo")
    assert (result.exit_code, "There is no category 'Gentoo'" in result.stderr) == (1, True)
    assert session.scalar(select(func.count(Directory.id))) == 0


def test_mass_deletion_needs_its_options(program: Program, session: Session, top: Path) -> None:
    run(program)
    shutil.rmtree(top)
    top.mkdir()
    refused = run(program)
    assert refused.exit_code == 1
    assert "the top directory is empty, but 8 directories are known" in refused.stderr
    assert session.scalar(select(func.count(Directory.id))) == 9
    session.rollback()
    assert run(program, "--delete", "--force").exit_code == 0
    assert session.scalar(select(func.count(Directory.id))) == 1


def test_a_dry_run_leaves_no_trace(program: Program, session: Session) -> None:
    result = run(program, "--dry-run")
    assert result.exit_code == 0
    assert "Dry run: nothing was changed." in result.stdout
    for table in (Directory, Repository, CrawlRun):
        assert session.scalar(select(func.count(table.id))) == 0


def test_a_run_that_was_interrupted_is_recorded_as_such(
    program: Program, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_module, "scan_category", interrupt)
    assert run(program).exit_code == 1
    assert session.scalars(select(CrawlRun.outcome)).one() == "interrupted"
    assert session.scalar(select(func.count(Directory.id))) == 0


def test_many_problems_are_cut_short(program: Program, top: Path, caplog: pytest.LogCaptureFixture) -> None:
    for index in range(30):
        put(top, f"a/bad\n{index}")
    run(program)
    assert caplog.text.count("cannot be recorded") == 20
    assert "Fedora Linux: and 11 more problems" in caplog.text


# -- the demonstration's tree, with the shipped rules


def load_demo() -> ModuleType:
    """utils/ is not a package."""
    spec = importlib.util.spec_from_file_location("master_tree", DEMO)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def demo(engine: Engine, tmp_path: Path) -> ModuleType:
    """The tree on day 0 and the two categories that are scanned from it."""
    module = load_demo()
    module.build(tmp_path / "srv", 0)
    text = resources.files("mm_lib.data").joinpath("rules/fedora.toml").read_text(encoding="utf-8")
    with make_sessions(engine)() as session, transaction(session):
        for name, product, topdir in (("Fedora Linux", "Fedora", module.FEDORA), ("Fedora EPEL", "EPEL", module.EPEL)):
            source = {"type": "directory", "path": str(tmp_path / "srv" / topdir)}
            session.add(Category(name=name, topdir=str(topdir), product=Product(name=product), source=source))
        session.add_all(Arch(name=name) for name in ("source", "x86_64", "aarch64"))
        session.flush()
        load_rules(session, text)
    return module


def test_the_demonstrations_tree_gives_the_repositories_that_dnf_asks_for(
    demo: ModuleType, engine: Engine, session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = make_program(engine)
    assert run(program).exit_code == 0
    assert caplog.text == ""
    query = select(Repository.prefix, Arch.name).join(Arch, Arch.id == Repository.arch_id)
    keys = {"fedora-44", "fedora-debug-44", "updates-released-f44", "rawhide", "epel-9", "epel-10"}
    assert {tuple(row) for row in session.execute(query)} == {
        ("fedora-source-44", "source"),
        *((key, arch) for key in keys for arch in ("x86_64", "aarch64")),
    }
    images = session.scalars(select(FileDetail.filename).where(FileDetail.filename.like("%.iso")))
    assert len(list(images)) == 4

    session.rollback()
    before = session.scalar(select(func.count(FileDetail.id)))
    session.rollback()
    demo.build(tmp_path / "srv", 1)
    assert run(program).exit_code == 0
    assert session.scalar(select(func.count(FileDetail.id))) == (before or 0) + 2  # the updates, for two arches
