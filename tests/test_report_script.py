"""utils/reports/distributions.py: a report about each distribution, kept in a folder."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.content import Product
from mm_lib.model.statistics import StatisticLevel
from mm_lib.reports.periods import period
from mm_lib.settings import DatabaseSettings
from utils.reports import distributions

SCRIPT = Path(distributions.__file__)
PROGRAM = Path(sys.executable).parent / "mm-admin"


@pytest.fixture(scope="module")
def folder(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a configuration, a database of two products, and the reports of one run."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "test.sqlite").write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{folder}/test.sqlite"
    (folder / "mm.toml").write_text(f"[database]\nurl = '{url}'\n")
    engine = make_engine(DatabaseSettings(url=url))
    with make_sessions(engine)() as session, transaction(session):
        session.add_all([Product(name="Fedora"), Product(name="Extra/Packages")])
    engine.dispose()
    assert run(folder, "weekly", "--since", "2026-11-16", "--until", "2026-11-22").returncode == 0
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments, "--folder", folder, "--form", "md", "--mm-admin", PROGRAM]
    environment = {"MM_CONFIG": str(folder / "mm.toml"), "MPLCONFIGDIR": str(folder)}
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("name", ["Fedora", "Extra%2FPackages"])
def test_each_product_has_its_report_and_one_address_for_the_latest(folder: Path, name: str) -> None:
    kept = folder / name / "weekly" / "2026-11-22.md"
    title = {"Fedora": "Fedora", "Extra%2FPackages": "Extra/Packages"}[name]
    assert kept.read_text().startswith(f"# {title}: week of 2026-11-16 to 2026-11-22")
    assert (folder / name / "weekly" / "latest.md").resolve() == kept


def test_one_that_cannot_be_made_is_told_and_the_others_are_made_with_the_same_bytes(folder: Path) -> None:
    kept = folder / "Fedora" / "weekly" / "2026-11-22.md"
    before = kept.read_bytes()
    kept.unlink()
    days = ("--since", "2026-11-16", "--until", "2026-11-22")
    finished = run(folder, "weekly", *days, "--product", "nothing", "--product", "Fedora")
    assert finished.returncode == 1
    assert "nothing" in finished.stderr
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "days"),
    [
        ("daily", ("2026-02-28", "2026-02-28")),
        ("weekly", ("2026-02-16", "2026-02-22")),
        ("year", ("2025-01-01", "2025-12-31")),
    ],
)
def test_the_script_and_the_command_mean_the_same_days(kind: str, days: tuple[str, str]) -> None:
    today = date(2026, 3, 1)
    level = {"daily": StatisticLevel.DAY, "weekly": StatisticLevel.WEEK, "year": StatisticLevel.YEAR}[kind]
    span = period(level, None, None, today).span
    assert tuple(map(str, distributions.last_over(kind, today))) == days == (str(span.first), str(span.last))
