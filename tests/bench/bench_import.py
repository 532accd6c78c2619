"""What it takes to move an installation like Fedora's from MirrorManager2: `make bench-import`.

Both databases are on one PostgreSQL server of the benchmark's own. The source has 300 hosts that carry one or two
categories, and 5 million rows of what is up to date where; a tenth of them are not up to date.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import psycopg2

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from pyroaring import BitMap

from mm_lib.database import make_engine
from mm_lib.services import schema
from mm_lib.settings import DatabaseSettings
from tests.bench.report import bar, close
from tests.mirrormanager2 import create
from tests.postgres import Postgres

HOSTS, ROWS = 300, 5_000_000
DIRECTORIES = 20_000  # of each of the two categories
MINUTES = 5.0

_FILL = f"""
INSERT INTO product (name, publiclist) VALUES ('Fedora', true);
INSERT INTO version (product_id, name, display) SELECT 1, n::text, true FROM generate_series(40, 45) n;
INSERT INTO arch (name, publiclist, primary_arch) VALUES ('x86_64', true, true), ('aarch64', true, true);
INSERT INTO directory (name, readable, ctime, files)
    SELECT CASE WHEN n = 1 THEN 'pub/' || c ELSE 'pub/' || c || '/d' || n % 100 || '/e' || n END, true, 1700000000 + n,
        convert_to('[{{"name": "a' || n || '.rpm", "size": ' || n || ', "timestamp": 1700000000}}]', 'UTF8')
    FROM (VALUES ('linux'), ('epel')) t(c), generate_series(1, {DIRECTORIES}) n ORDER BY c DESC, n;
INSERT INTO category (product_id, name, topdir_id, publiclist)
    VALUES (1, 'Linux', 1, true), (1, 'EPEL', {DIRECTORIES + 1}, true);
INSERT INTO category_directory SELECT 1 + (id > {DIRECTORIES})::int, id FROM directory;
INSERT INTO repository (name, prefix, category_id, version_id, arch_id, directory_id, disabled)
    SELECT name, 'r' || id, 1, 1 + id % 6, 1 + id % 2, id, false FROM directory WHERE id BETWEEN 2 AND 1500;
INSERT INTO file_detail (directory_id, filename, timestamp, size, md5, sha256)
    SELECT 2 + n % 1499, 'repomd.xml', 1700000000 + n, n, md5(n::text), md5(n::text) || md5(n::text)
    FROM generate_series(1, 15000) n;
INSERT INTO site (name, password, admin_active, user_active)
    SELECT 'site ' || n, 'the password of ' || n, true, true FROM generate_series(1, {HOSTS // 2}) n;
INSERT INTO site_admin (username, site_id) SELECT 'user' || id, id FROM site;
INSERT INTO host (name, site_id, country, bandwidth_int, admin_active, user_active, private, last_crawled, asn)
    SELECT 'h' || n || '.example.org', 1 + n % {HOSTS // 2}, 'DE', 1000, true, true, false, '2026-11-01', n
    FROM generate_series(1, {HOSTS}) n;
INSERT INTO host_netblock (host_id, netblock) SELECT id, '10.' || id % 250 || '.0.0/16' FROM host;
INSERT INTO host_category (host_id, category_id, always_up2date) SELECT id, 1, false FROM host;
INSERT INTO host_category (host_id, category_id, always_up2date) SELECT id, 2, false FROM host WHERE id % 3 <> 0;
INSERT INTO host_category_url (host_category_id, url, private)
    SELECT id, 'https://h' || host_id || '.example.org/' || category_id, false FROM host_category;
INSERT INTO host_category_dir (host_category_id, path, up2date, directory_id)
    SELECT c.id, '/d' || d.id, (c.id + d.id) % 10 <> 0, d.id
    FROM directory d, host_category c
    WHERE c.category_id = 1 + (d.id > {DIRECTORIES})::int
    ORDER BY md5((c.id + d.id)::text) LIMIT {ROWS};
ANALYZE;
"""


def main() -> None:
    """Fill, import, compare."""
    server = Postgres()
    try:
        source, target = server.url(server.create()), server.url(server.create())
        print("bench: filling a MirrorManager2 database", flush=True)
        connection = create(source)
        with connection.cursor() as cursor:
            cursor.execute(_FILL)
        connection.close()
        engine = make_engine(DatabaseSettings(url=target))
        schema.upgrade(engine)
        engine.dispose()
        measure(server.directory, source, target)
    finally:
        server.stop()
    close()


def measure(folder: Path, source: str, target: str) -> None:
    """Run mm-admin in a process of its own, once on an empty registry and once more."""
    config = folder / "mm.toml"
    config.write_text(f"[database]\nurl = '{target}'\n")
    command = [sys.executable, "-c", "from mm_lib.cli.main import main; main()", "--config", str(config)]
    command += ["import", "mirrormanager2", "--dsn", source, "--json"]
    started = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.monotonic() - started
    bar("import of 5 million state rows", seconds / 60, "min", "<", MINUTES)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    bar("import, CPU of mm-admin", used.ru_utime + used.ru_stime, "s", "<", 60 * MINUTES)
    bar("import, memory of mm-admin", used.ru_maxrss / 1024, "MB", "<", 1024)
    compare(source, target, json.loads(done.stdout)["counts"])
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    bar("import once more, nothing new", (time.monotonic() - started) / 60, "min", "<", MINUTES)


def compare(source: str, target: str, counts: dict[str, dict[str, int]]) -> None:
    """What was in the source against what is here."""
    for table, query in {
        "host": "SELECT count(*) FROM host",
        "directory": "SELECT count(*) FROM directory",
        "host_category": "SELECT count(*) FROM host_category",
        "host_category_url": "SELECT count(*) FROM host_category_url",
        "repository": "SELECT count(*) FROM repository",
        "file_detail": "SELECT count(*) FROM file_detail",
    }.items():
        bar(f"{table} rows here", value(target, query), "rows", "=", value(source, query))
    read = sum(counts[kind]["taken"] for kind in ("host_category_dir", "host_category_dir (not up to date)"))
    bar("state rows read", read, "rows", "=", value(source, "SELECT count(*) FROM host_category_dir"))
    there = value(source, "SELECT count(*) FROM host_category_dir WHERE up2date")
    bar("directories up to date here", in_bitmaps(target), "rows", "=", there)


def value(dsn: str, query: str) -> int:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return int(cursor.fetchone()[0])


def in_bitmaps(dsn: str) -> int:
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT up_to_date FROM host_category_state")
        return sum(len(BitMap.deserialize(bytes(data))) for (data,) in cursor.fetchall())


if __name__ == "__main__":
    main()
