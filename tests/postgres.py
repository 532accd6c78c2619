"""A real PostgreSQL server of the tests' own: unprivileged, on a free loopback port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import psycopg2.extensions

PACKAGES = Path("/usr/lib/postgresql")  # where Debian keeps every major version


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


MEMORY = Path("/dev/shm")
ENOUGH = 2 << 30  # bytes
# Nothing has to outlive these databases.
CARELESS = "-c full_page_writes=off -c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0"


class Postgres:
    """A running server; databases are made by copying a template.

    In memory, where there is room for it: a disk that others work on takes ten times longer for a copy.
    """

    def __init__(self, *, in_memory: bool = False) -> None:
        roomy = in_memory and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ENOUGH
        self.directory = Path(tempfile.mkdtemp(prefix="mm-postgres-", dir=MEMORY if roomy else None))
        self.port = free_port()
        self.user = self._unprivileged()
        self._made = 0
        self._strategy = ""
        data = self.directory / "data"
        self._run("initdb", "-D", str(data), "-U", "mm", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60"
        if in_memory:
            options = f"{options} {CARELESS}"
        self._run("pg_ctl", "-D", str(data), "-o", options, "-l", str(self.directory / "log"), "-w", "start")
        if in_memory and self._version() >= 150_000:  # older ones know no other way
            self._strategy = "STRATEGY FILE_COPY"  # takes half the time where checkpoints cost nothing

    def stop(self) -> None:
        """End the server and remove its files."""
        self._run("pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)

    def url(self, database: str) -> str:
        """How mm-admin names the database."""
        return f"postgresql://mm@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template1", name: str | None = None) -> str:
        """Make a database as a copy of the template; returns its name."""
        self._made += 1
        name = name or f"test_{self._made}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {self._strategy}')
        return name

    def drop(self, name: str) -> None:
        """Remove a database, even one that something is still connected to."""
        self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(host="127.0.0.1", port=self.port, user="mm", dbname="postgres")

    def _version(self) -> int:
        connection = self._connect()
        try:
            return int(connection.server_version)
        finally:
            connection.close()

    def _execute(self, statement: str) -> None:
        connection = self._connect()
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()

    def _unprivileged(self) -> str | None:
        """PostgreSQL refuses to run as root; root lends the folder to the package's own user."""
        if os.geteuid() != 0:
            return None
        account = pwd.getpwnam("postgres")
        os.chown(self.directory, account.pw_uid, account.pw_gid)
        return account.pw_name

    def _run(self, program: str, *arguments: str) -> None:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": str(self.directory)}
        # A file, not a pipe: the server inherits it, and a pipe would keep us waiting for its end.
        with (self.directory / "output").open("ab") as output:
            finished = subprocess.run(
                [_program(program), *arguments],
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if finished.returncode:
            raise RuntimeError(f"{program} failed:\n{(self.directory / 'output').read_text()[-2000:]}")


def _program(name: str) -> str:
    found = sorted(PACKAGES.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise RuntimeError(f"{name} is missing: run `apt-get install postgresql` (as root), or `make test` as root")
    return str(found[-1])
