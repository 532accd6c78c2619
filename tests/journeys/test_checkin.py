"""A private mirror checks in, and from the next cache on its host is served to the clients in its netblock."""

from __future__ import annotations

import shutil
import subprocess
import sys
import urllib.request
import xmlrpc.client
from pathlib import Path

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.content import Directory
from mm_lib.services import hosts
from mm_lib.settings import DatabaseSettings
from tests import checkins, factories
from tests.journeys.program import Installation

REPORT_MIRROR = Path(__file__).parents[2] / "utils/report_mirror/report_mirror"
INSIDE, OUTSIDE = "192.0.2.77", "198.51.100.77"


def registry(url: str) -> None:
    """The private host of tests/checkins.py with a netblock, a repository, and a public mirror beside it."""
    engine = make_engine(DatabaseSettings(url=url))
    with make_sessions(engine)() as session, transaction(session):
        private = checkins.registry(session)
        hosts.add_netblock(session, private, "192.0.2.0/24")
        everything = session.query(Directory).filter(Directory.path.endswith("44/Everything")).one()
        factories.repository(session, everything, "fedora-44")
        public = factories.host(session, "public.example.org")
        factories.carries(session, public, everything.category, session.query(Directory))
    engine.dispose()


def mirrors(redirector: str, client: str) -> list[str]:
    """The URLs that a client at this address is given, without what other programs need."""
    request = urllib.request.Request(
        f"{redirector}/mirrorlist?repo=fedora-44&arch=x86_64", headers={"X-Forwarded-For": client}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]


def test_a_private_mirror_checks_in_and_is_served_in_its_netblock(sqlite_template: Path, tmp_path: Path) -> None:
    shutil.copy(sqlite_template, tmp_path / "registry.sqlite")
    url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    registry(url)
    (tmp_path / "mirrormanager.toml").touch()
    installation = Installation(
        tmp_path,
        database__url=url,
        cache__file=str(tmp_path / "mirrorlist.cache"),
        frontend__secret_key="0123456789abcdefghijklmnopqrstuvwxyz",
        frontend__https="false",
        frontend__workers="1",
        redirector__workers="1",
        redirector__trusted_proxies="1",
    )
    with installation.serving("mm-frontend", "FRONTEND") as frontend:
        with xmlrpc.client.ServerProxy(f"{frontend}/xmlrpc") as server:
            said = server.checkin(checkins.encoded(checkins.config(fedora_linux=list(checkins.DIRECTORIES))))
        assert said == "Category Fedora Linux directories updated: 0  added: 5  deleted 0\nchecked in successful"
        again = _report_mirror(tmp_path, frontend)
        assert "Fedora Linux: 5 directories as before, 0 added, 0 removed, 0 unknown" in again
    installation.admin("cache", "build")
    with installation.serving("mm-redirector", "REDIRECTOR") as redirector:
        private = f"http://{checkins.HOST}/{checkins.TOPDIR}/releases/44/Everything"
        public = f"http://public.example.org/{checkins.TOPDIR}/releases/44/Everything"
        assert [line.rstrip("/") for line in mirrors(redirector, INSIDE)] == [private, public]
        assert [line.rstrip("/") for line in mirrors(redirector, OUTSIDE)] == [public]


def _report_mirror(folder: Path, frontend: str) -> str:
    """What our own client says of the same content, by JSON."""
    for path in checkins.DIRECTORIES:
        (folder / "tree" / path).mkdir(parents=True, exist_ok=True)
    (folder / "report_mirror.conf").write_text(
        f"[global]\nenabled = 1\nserver = {frontend}/xmlrpc\n"
        f"[site]\nenabled = 1\nname = {checkins.SITE}\npassword = {checkins.PASSWORD}\n"
        f"[host]\nenabled = 1\nname = {checkins.HOST}\n"
        f"[Fedora Linux]\nenabled = 1\npath = {folder / 'tree'}\n"
    )
    command = [sys.executable, REPORT_MIRROR, "-c", folder / "report_mirror.conf", "--protocol", "json"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
