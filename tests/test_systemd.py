"""The units: systemd understands them, and finds little that a service in them could do harm with."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "utils/report_mirror"  # for mirrors: they have nothing else of ours
UNITS = sorted([*(ROOT / "utils/systemd").iterdir(), *CLIENT.glob("*.service"), *CLIENT.glob("*.timer")])
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
BIN = Path(sys.executable).parent
MAX_EXPOSURE = 2.0

ids = pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)


def installed(folder: Path) -> list[Path]:
    """The units with our programs where they are on this machine."""
    for unit in UNITS:
        programs = CLIENT if unit.parent == CLIENT else BIN
        (folder / unit.name).write_text(unit.read_text().replace("/usr/local/bin/", f"{programs}/"))
    return sorted(folder.iterdir())


def keys(unit: Path) -> dict[str, str]:
    """The last value of every key in [Service]."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser["Service"])


def test_systemd_has_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    """Neither an unknown key nor a program that does not exist."""
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *installed(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (finished.returncode, finished.stdout + finished.stderr) == (0, "")


@ids
def test_a_service_is_hardly_exposed(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", finished.stdout)
    assert found, finished.stderr
    assert float(found[1]) < MAX_EXPOSURE


@ids
def test_a_service_has_a_user_of_its_own(unit: Path) -> None:
    assert keys(unit)["User"] == ("report-mirror" if unit.parent == CLIENT else "mirrormanager")


@pytest.mark.parametrize("name", ["mm-redirector", "mm-frontend"])
def test_a_server_is_started_again_and_reloads_by_a_hangup(name: str) -> None:
    found = keys(ROOT / f"utils/systemd/{name}.service")
    assert (found["Restart"], found["ExecReload"]) == ("always", "/bin/kill -HUP $MAINPID")


def test_the_redirector_has_its_runtime_directory_and_sees_geoip_files() -> None:
    found = keys(ROOT / "utils/systemd/mm-redirector.service")
    assert found["RuntimeDirectory"] == "mirrormanager-redirector"
    assert not {"InaccessiblePaths", "TemporaryFileSystem", "RootDirectory", "ReadOnlyPaths"} & set(found)


@pytest.mark.parametrize(
    "command", ["mm-crawler propagation", "mm-admin statistics ingest", "mm-admin statistics expire"]
)
def test_what_the_statistics_live_on_runs_by_itself(command: str) -> None:
    """With cron as with systemd: pages and alarms without it would stay empty and silent."""
    cron = (ROOT / "utils/cron/mirrormanager").read_text()
    assert re.search(rf"^[\d*].*{command}\b", cron, re.MULTILINE)
    running = [unit for unit in SERVICES if re.search(rf"^ExecStart=.*{command}\b", unit.read_text(), re.MULTILINE)]
    assert [unit.with_suffix(".timer").exists() for unit in running] == [True]
