"""The wheel: the redirector installs alone, and the migrations travel with it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from mm_lib.cache import codec, file
from tests.lib.test_cache_codec import example
from tests.postgres import free_port

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / ".venv/wheels"  # made by `make test`, so that nothing is fetched here
CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

pytestmark = pytest.mark.xdist_group("packaging")


def run(*command: object, cwd: Path) -> str:
    finished = subprocess.run([str(part) for part in command], cwd=cwd, env=CLEAN, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    run(*build, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


def install(folder: Path, wheel: Path, extra: str) -> Path:
    """A new virtual environment with the wheel and one extra; its bin folder."""
    run(sys.executable, "-m", "venv", folder, cwd=ROOT)
    requirement = f"mirrormanager[{extra}] @ {wheel.as_uri()}"
    run(folder / "bin/pip", "install", "-q", "--no-index", "--find-links", WHEELS, requirement, cwd=ROOT)
    return folder / "bin"


@pytest.fixture(scope="module")
def redirector(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    return install(tmp_path_factory.mktemp("redirector") / "venv", wheel, "redirector")


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    return install(tmp_path_factory.mktemp("admin") / "venv", wheel, "admin")


def test_the_redirector_alone_installs_no_database_and_no_web_framework(redirector: Path) -> None:
    listed = json.loads(run(redirector / "pip", "list", "--format=json", cwd=ROOT))
    names = {package["name"].lower() for package in listed}
    assert not names & {"sqlalchemy", "flask", "alembic", "werkzeug", "psycopg2-binary", "pycurl", "pyroaring"}


def test_the_wheel_brings_pages_with_their_translations_and_the_licences_of_others(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    for name in (
        "templates/public/mirror.html",
        "static/bootstrap.css",
        "static/LICENSE.bootstrap",
        "translations/de/LC_MESSAGES/messages.po",
        "translations/es/LC_MESSAGES/messages.po",
    ):
        assert f"mm_frontend/{name}" in names


@pytest.fixture
def served(redirector: Path, tmp_path: Path) -> Iterator[str]:
    """The installed redirector, started by its own command on a published cache file."""
    port = free_port()
    file.publish(tmp_path / "mirrorlist.cache", codec.encode(example()))
    (tmp_path / "mirrormanager.toml").write_text(
        f"[redirector]\nport = {port}\nworkers = 1\nallow_ip_parameter = true\n"
    )
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([redirector / "mm-redirector"], cwd=tmp_path, env=CLEAN, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while not _ready(port):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)  # nothing tells when a foreign process listens
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_the_redirector_alone_answers_from_a_published_cache(served: str) -> None:
    with urllib.request.urlopen(f"{served}/mirrorlist?repo=fedora-44&arch=x86_64&ip=193.99.144.80") as answer:
        assert b"https://m1/pub/a/" in answer.read()


def test_an_installed_wheel_upgrades_a_database_from_any_folder(admin: Path, tmp_path: Path) -> None:
    run(admin / "mm-admin", "init", cwd=tmp_path)
    run(admin / "mm-admin", "db", "upgrade", cwd=tmp_path)
    assert "up to date" in run(admin / "mm-admin", "db", "check", cwd=tmp_path)


def test_an_installed_wheel_brings_its_data(admin: Path, tmp_path: Path) -> None:
    code = "from mm_lib.services.geography import continents; print(continents()['NZ'])"
    assert run(admin / "python", "-c", code, cwd=tmp_path).strip() == "OC"
