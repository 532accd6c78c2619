"""What checking in 50,000 directories costs the server: `make bench-checkin`.

The category has three times as many. Each interface is called through the whole application in this process: the clock
and the CPU are those of the server; with PostgreSQL, the database's own CPU is not in the second.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import statistics
import sys
import tempfile
import time
import xmlrpc.client
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, insert, select

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.content import Category, Directory, Product
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.model.sites import Site
from mm_lib.model.state import HostCategoryState
from mm_lib.services import schema, site_passwords
from mm_lib.settings import DatabaseSettings, Settings
from tests.bench.bench_publish import postgres
from tests.bench.report import bar, close

KNOWN, CHECKED_IN, ROUNDS, LIMIT = 150_000, 50_000, 5, 2.0
SITE, HOST, PASSWORD = "Example University", "mirror.example.edu", "correct horse battery"
TOPDIR = "pub/fedora/linux"
SETTINGS = Settings.model_validate({"frontend": {"secret_key": "0123456789abcdefghijklmnopqrstuvwxyz", "https": False}})


def path(number: int) -> str:
    """A directory below the topdir, about as long as Fedora's."""
    return f"updates/{number % 44}/Everything/x86_64/Packages/{number // 44 % 36:02}/group-of-packages-{number}"


def fill(engine: Engine) -> None:
    """One private host, and a category that is larger than what it has."""
    schema.upgrade(engine)
    with make_sessions(engine)() as session, transaction(session):
        site = Site(name=SITE)
        category = Category(product=Product(name="Fedora"), name="Fedora Linux", topdir=TOPDIR)
        host = Host(site=site, name=HOST, private=True)
        session.add(HostCategory(host=host, category=category))
        session.flush()
        rows = [{"category_id": category.id, "path": f"{TOPDIR}/{path(number)}", "mtime": 0} for number in range(KNOWN)]
        session.execute(insert(Directory), rows)
        site_passwords.change(session, site, datetime.now(UTC), password=PASSWORD)


def old_call(paths: list[str]) -> tuple[str, bytes, dict[str, str]]:
    """Address, body and headers of a call as report_mirror has always sent it."""
    payload = {
        "version": 0,
        "global": {"enabled": "1", "server": ""},
        "site": {"enabled": "1", "name": SITE, "password": PASSWORD},
        "host": {"enabled": "1", "name": HOST},
        "stats": {},
        "fedora linux": {"enabled": "1", "dirtree": {path: {} for path in paths}},
    }
    argument = base64.urlsafe_b64encode(bz2.compress(json.dumps(payload).encode())).decode()
    return "/xmlrpc", xmlrpc.client.dumps((argument,), "checkin").encode(), {"Content-Type": "text/xml"}


def new_call(paths: list[str]) -> tuple[str, bytes, dict[str, str]]:
    """The same by JSON."""
    body = {"site": SITE, "password": PASSWORD, "host": HOST, "categories": {"fedora linux": paths}}
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    return "/api/v1/checkin", gzip.compress(json.dumps(body).encode()), headers


def kept(engine: Engine) -> int:
    """How many directories the host has now."""
    with make_sessions(engine)() as session:
        return session.scalars(select(HostCategoryState.directories_up_to_date)).one()


def measure(database: str, url: str) -> None:
    """Check in several times, each with a tenth changed; print the slowest by the clock and the median of CPU."""
    engine = make_engine(DatabaseSettings(url=url))
    fill(engine)
    app = create_app(SETTINGS, engine)
    guards.limiter.enabled = False
    for name, call in (("xmlrpc", old_call), ("json", new_call)):
        clocks, seconds = [], []
        for round_ in range(ROUNDS):
            address, body, headers = call([path(number + round_ * CHECKED_IN // 10) for number in range(CHECKED_IN)])
            clock, cpu = time.perf_counter(), time.process_time()
            answer = app.test_client().post(address, data=body, headers=headers)
            clocks.append(time.perf_counter() - clock)
            seconds.append(time.process_time() - cpu)
            assert answer.status_code == 200 and kept(engine) == CHECKED_IN, answer.data
        print(f"{database}, {name}: {len(body) / 1e6:.2f} MB sent, first {clocks[0]:.2f} s")
        bar(f"checkin-{database}-{name}-clock", max(clocks), "s", "<", LIMIT)
        bar(f"checkin-{database}-{name}-cpu", statistics.median(seconds), "s", "<", LIMIT)
    engine.dispose()


def main() -> None:
    """Print the figures of every database."""
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        measure("sqlite", f"sqlite:///{Path(name) / 'registry.sqlite'}")
        if server:
            measure("postgresql", server.url(server.create()))
    close()


if __name__ == "__main__":
    main()
