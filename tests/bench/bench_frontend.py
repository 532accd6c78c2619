"""What the pages cost on a large installation: `make bench-frontend`.

PostgreSQL with 700 hosts, 150,000 directories and 500 repositories. Every page that can be read, for everybody who may,
is asked for in this process, without HTTP: time on the clock and of the CPU, and queries. Then 200 readers at once ask
two workers of the real server.
"""

from __future__ import annotations

import http.client
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.wsgi import settle
from mm_lib.database import make_engine
from mm_lib.settings import DatabaseSettings, FrontendSettings
from tests.bench import frontend_world, processes
from tests.bench.report import bar, close
from tests.frontend import world
from tests.frontend.world import counting_queries
from tests.journeys.program import Installation
from tests.postgres import Postgres

FIRST, TIMES = 3, 12  # each page is asked for; those that are far below the bar no more than three times
FAR_BELOW = 25.0  # milliseconds
READERS, EACH = 200, 5
PARAMETER = re.compile(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>")
MORE = {
    "product": "Fedora",
    "version": "44",
    "arch": "x86_64",
    "code": "DE",
    "filename": "style.css",
    "table": "host",
    "key": "1",
    "dimension": "country",
}
READ = ("/", "/mirrors", "/mirrors/Fedora/44/x86_64", "/countries", "/country/DE", "/mirrors?page_number=3", "/crawler")


class Cost(NamedTuple):
    """Of one page for one person, in milliseconds."""

    page: str
    person: str
    p95: float  # on the clock
    median: float
    cpu: float  # of this process and of the database server's
    queries: int


def pages(app: Flask, values: dict[str, Any]) -> Iterator[str]:
    """An address for each route that can be read and of which all parts are known."""
    for rule in app.url_map.iter_rules():
        names = PARAMETER.findall(rule.rule)
        if "GET" in (rule.methods or ()) and all(name in values for name in names):
            yield PARAMETER.sub(lambda match: str(values[match[1]]), rule.rule)


def cost(client: FlaskClient, engine: Engine, page: str, person: str) -> Cost | None:
    """None: this person is not shown this page."""
    with counting_queries(engine) as statements:
        first = client.get(page)
        first.get_data()
    if first.status_code != 200:
        return None
    walls, cpus, of_database = [], [], database_cpu(engine)
    while len(walls) < (FIRST if max(walls, default=0.0) < FAR_BELOW else TIMES):
        wall, own = time.perf_counter(), time.process_time()
        client.get(page).get_data()
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - own) * 1000)
    spent = statistics.median(cpus) + (database_cpu(engine) - of_database) * 1000 / len(walls)
    walls.sort()
    return Cost(page, person, walls[int(len(walls) * 0.95)], statistics.median(walls), spent, len(statements))


def database_cpu(engine: Engine) -> float:
    """Seconds of CPU that this process's connection has used so far: there is one, for requests come one by one."""
    with engine.connect() as connection:
        return processes.cpu_of(int(connection.scalar(text("SELECT pg_backend_pid()")) or 0))


def measure_pages(engine: Engine, values: dict[str, Any]) -> None:
    """Every page as the settings have it: what is public is read once a minute."""
    guards.limiter.enabled = False
    found: list[Cost] = []
    app = create_app(world.settings(cache_seconds=FrontendSettings().cache_seconds), engine)
    settle()  # as mm-frontend does in each of its processes
    for person in ("anonymous", *frontend_world.PEOPLE):
        client = signed_in(app, person)
        costs = (cost(client, engine, page, person) for page in pages(app, values | MORE))
        found += [each for each in costs if each is not None]
        print(f"{len(found)} pages so far, the last as {person}", flush=True)
    found.sort(key=lambda each: -each.p95)
    print(f"{len(found)} pages; the slowest, in milliseconds: p95, median, CPU; queries")
    for each in found[:25]:
        print(f"{each.p95:8.1f} {each.median:7.1f} {each.cpu:7.1f} {each.queries:4}  {each.page} ({each.person})")
    print("most queries:", *sorted({(each.queries, each.page) for each in found}, reverse=True)[:5])
    bar("frontend-slowest-page-p95", found[0].p95, "ms", "<", 100.0)
    bar("frontend-slowest-page-cpu", max(each.cpu for each in found), "ms", "<", 100.0)
    bar("frontend-most-queries", max(each.queries for each in found), "queries", "<", 30)
    lists = [each.p95 for each in found if each.person == "anonymous" and each.page.startswith("/mirrors")]
    bar("frontend-mirror-list-kept-p95", max(lists), "ms", "<", 30.0)
    measure_reading(engine)


def measure_reading(engine: Engine) -> None:
    """What the first reader of a minute waits for: the registry is read anew, and then kept."""
    app = create_app(world.settings(cache_seconds=0), engine)
    found = cost(app.test_client(), engine, "/mirrors", "anonymous")
    assert found is not None
    print(
        f"/mirrors with the registry read anew: {found.median:.0f} ms, CPU {found.cpu:.0f} ms, {found.queries} queries"
    )


def signed_in(app: Flask, person: str) -> FlaskClient:
    """Their browser."""
    client = app.test_client()
    if person != "anonymous":
        assert world.sign_in(client, person, frontend_world.PASSWORD).status_code == 302
    return client


def measure_readers(url: str, folder: Path) -> None:
    """Many at once, on two workers."""
    installation = Installation(folder, database__url=url, frontend__https="false", frontend__workers="2")
    installation.admin("init")
    answers: Counter[int | str] = Counter()
    seconds: list[float] = []
    with installation.serving("mm-frontend", "FRONTEND") as address:
        port = int(address.rpartition(":")[2])
        readers = [threading.Thread(target=read, args=(port, number, answers, seconds)) for number in range(READERS)]
        began = time.perf_counter()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        took = time.perf_counter() - began
    wrong = sum(number for status, number in answers.items() if status != 200)
    print(f"{READERS} readers: {sum(answers.values()) / took:.0f} pages/s, {dict(answers)}")
    bar("frontend-readers-answered", answers[200], "pages", "=", READERS * EACH)
    bar("frontend-readers-errors", wrong, "errors", "=", 0)
    print(f"their median wait: {statistics.median(seconds) * 1000:.0f} ms, the longest {max(seconds) * 1000:.0f} ms")


def read(port: int, number: int, answers: Counter[int | str], seconds: list[float]) -> None:
    """One reader, who looks at some pages one after the other."""
    for page in range(EACH):
        began = time.perf_counter()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", READ[(number + page) % len(READ)])
            answer = connection.getresponse()
            answer.read()
            answers[answer.status] += 1
            connection.close()
        except OSError as error:
            answers[type(error).__name__] += 1
        seconds.append(time.perf_counter() - began)


def main() -> None:
    """Print the figures beside their bars."""
    os.environ.pop("MM_CONFIG", None)
    server = Postgres()
    try:
        url = server.url(server.create())
        began = time.perf_counter()
        values = frontend_world.fill(url)
        print(f"filled in {time.perf_counter() - began:.0f} s")
        engine = make_engine(DatabaseSettings(url=url))
        measure_pages(engine, values)
        engine.dispose()
        with tempfile.TemporaryDirectory(prefix="mm-bench-") as folder:
            measure_readers(url, Path(folder))
    finally:
        server.stop()
    close()


if __name__ == "__main__":
    main()
