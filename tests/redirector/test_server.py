"""mm-redirector as it is run: real processes under granian and gunicorn, asked over HTTP."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mm_lib.settings import RedirectorSettings
from mm_redirector import lame_duck, server
from tests.bench import compiled
from tests.postgres import free_port
from tests.redirector.serving import (
    LIST,
    MAIN,
    PACKAGES,
    PATIENCE,
    Load,
    configure,
    get,
    launched,
    publish,
    surroundings,
    wait_for,
    wait_until,
    workers_of,
)  # fmt: skip

SERVERS = ("granian", "gunicorn")


@dataclass
class Running:
    """One mm-redirector with two workers."""

    folder: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def log(self) -> Path:
        return self.folder / "access.log"

    def numbers(self) -> dict[str, float]:
        status, text = get(self.port, "/metrics")
        assert status == 200
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def counted(self) -> float:
        return sum(value for name, value in self.numbers().items() if name.startswith("mm_redirector_requests_total{"))

    def lines(self) -> int:
        """In the access log, and in what it was renamed to."""
        return sum(len(path.read_text().splitlines()) for path in self.folder.glob("access.log*"))

    def settled(self) -> int:
        """How many lines there are when everything that was counted is on the disk."""
        return wait_until(self.lines, lambda number: number == self.counted())


@contextmanager
def run(kind: str, folder: Path, workers: int = 2) -> Iterator[Running]:
    """Looks for new caches only when told to."""
    publish(folder, 1)
    (folder / "tmp").mkdir()
    port = free_port()
    command = [*MAIN, "--server", kind, "--port", str(port), "--workers", str(workers)]
    with launched(command, configure(folder, interval=3600), TMPDIR=str(folder / "tmp")) as process:
        running = Running(folder, port, process)
        wait_until(running.numbers, lambda numbers: numbers["mm_redirector_workers"] == workers)
        yield running


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that leave it as good as they found it."""
    with run(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


together = pytest.mark.xdist_group("mm-redirector")


@together
def test_any_worker_tells_the_numbers_of_all(running: Running) -> None:
    before = running.counted()
    for _ in range(30):
        assert get(running.port, LIST)[0] == 200
    wait_until(running.counted, lambda counted: counted == before + 30)
    assert [running.counted() for _ in range(10)] == [before + 30] * 10


@together
def test_a_hangup_makes_every_worker_read_the_cache_again_and_loses_no_request(running: Running) -> None:
    workers = workers_of(running.process)
    generation = int(running.numbers()["mm_redirector_cache_generation"]) + 1
    load = Load(running.port)
    publish(running.folder, generation)
    running.process.send_signal(signal.SIGHUP)
    wait_until(running.numbers, lambda numbers: numbers["mm_redirector_cache_generation"] == generation)
    assert set(load.stop()) == {"200"}
    assert workers_of(running.process) == workers


@together
def test_log_rotation_loses_no_line_and_no_request(running: Running) -> None:
    rotated = running.folder / "access.log.1"
    before = running.settled()
    load = Load(running.port)
    load.wait(20)
    running.log.rename(rotated)
    running.process.send_signal(signal.SIGUSR1)
    load.wait(20)
    ends = load.stop()
    assert set(ends) == {"200"}
    wait_until(running.lines, lambda number: number == before + ends["200"])
    assert running.log.read_text()


@together
def test_a_signal_that_another_follows_is_heard(running: Running) -> None:
    """The kernel may give the second one to a thread that does not run handlers."""
    generation = int(running.numbers()["mm_redirector_cache_generation"])
    for _ in range(5):
        generation += 1
        publish(running.folder, generation)
        running.process.send_signal(signal.SIGUSR1)
        running.process.send_signal(signal.SIGHUP)
        wait_until(running.numbers, lambda seen, wanted=generation: seen["mm_redirector_cache_generation"] == wanted)


@together
def test_a_worker_that_dies_is_replaced_and_no_counter_goes_backwards(running: Running) -> None:
    for _ in range(10):
        get(running.port, LIST)
    before = running.settled()
    victim = max(workers_of(running.process))
    os.kill(victim, signal.SIGKILL)
    seen: list[float] = [before]

    def workers() -> float:
        numbers = running.numbers()
        seen.append(sum(value for name, value in numbers.items() if name.startswith("mm_redirector_requests_total{")))
        return numbers["mm_redirector_workers"] if victim not in workers_of(running.process) else 0

    wait_until(workers, lambda number: number == 2)
    get(running.port, LIST)
    wait_until(running.counted, lambda counted: counted > before)
    assert seen == sorted(seen)


@together
@pytest.mark.parametrize("kind", SERVERS)
def test_the_end_loses_neither_a_request_nor_a_line_and_leaves_no_files(kind: str, tmp_path: Path) -> None:
    with run(kind, tmp_path) as running:
        load = Load(running.port, clients=4)
        try:
            load.wait(40)
            running.process.terminate()
            assert running.process.wait(PATIENCE) == 0
        finally:
            ends = load.stop()
        assert running.process.stderr
        messages = running.process.stderr.read()
    assert set(ends) <= {"200", "refused"}, messages
    assert len(running.log.read_text().splitlines()) == ends["200"]
    assert list((tmp_path / "tmp").iterdir()) == []
    assert all(line.startswith("{") for line in messages.splitlines())  # the servers' own messages are JSON lines too


@together
def test_with_one_worker_clients_wait_for_its_successor(tmp_path: Path) -> None:
    """Under granian's own loop and sockets they would be refused."""
    with run("granian", tmp_path, workers=1) as running:
        (victim,) = workers_of(running.process)
        os.kill(victim, signal.SIGKILL)
        assert get(running.port, LIST)[0] == 200


@together
def test_workers_do_not_outlive_a_main_process_that_is_killed(tmp_path: Path) -> None:
    """They would keep the port from the next one."""
    with run("granian", tmp_path) as running:
        running.process.kill()
        wait_until(lambda: server.resolve(RedirectorSettings(port=running.port)), bool)


@together
def test_a_missing_cache_is_waited_for_and_a_new_one_is_noticed(tmp_path: Path) -> None:
    port = free_port()
    with launched([*MAIN, "--port", str(port)], configure(tmp_path)):
        _, text = wait_for(port, LIST, lambda answer: answer[0] == 503)
        assert "there is no usable mirrorlist cache" in text
        assert get(port, "/healthz/live")[0] == 200
        for generation in (1, 2):
            publish(tmp_path, generation)
            wait_for(port, "/healthz/ready", lambda answer, wanted=generation: f"generation {wanted} " in answer[1])


@together
def test_under_systemd_the_numbers_are_in_its_runtime_directory(tmp_path: Path) -> None:
    publish(tmp_path, 1)
    stale = tmp_path / "metrics" / "7.json"
    stale.parent.mkdir()
    stale.write_text("not even JSON")
    port = free_port()
    command = [*MAIN, "--port", str(port), "--host", "localhost"]
    with launched(command, configure(tmp_path), RUNTIME_DIRECTORY=f"{tmp_path}:/nowhere") as process:
        running = Running(tmp_path, port, process)
        wait_until(running.numbers, lambda numbers: numbers["mm_redirector_workers"] == 1)
        assert {path.name for path in stale.parent.glob("*.json")} == {"0.json"}
    assert not stale.parent.exists()


@together
def test_serving_loads_no_command_line_database_or_web_framework(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from mm_redirector import on_granian, on_gunicorn, server\n"
        "unwanted = {'click', 'sqlalchemy', 'flask', 'werkzeug', 'alembic'}\n"
        "print(sorted(unwanted & set(sys.modules)))\n"
    )
    environ = surroundings()
    result = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_servers_of_these_tests_run_the_packages_that_are_tested() -> None:
    """`make test` tests compiled ones, too; `-c` and a current folder with other packages must not hide them."""
    modules = ("mm_lib.cache.table", "mm_redirector.app", "mm_redirector.shuffle")
    script = f"from importlib.util import find_spec\nprint([find_spec(name).origin for name in {modules}])\n"
    result = subprocess.run([sys.executable, "-c", script], env=surroundings(), capture_output=True, text=True)
    mine = [sys.modules[name].__file__ for name in modules]
    assert (result.stdout, result.stderr) == (f"{mine}\n", "")
    assert {str(path).endswith(".so") for path in mine} == {PACKAGES == compiled.FOLDER}
    assert os.environ.get("PYTHONPATH") != str(compiled.FOLDER) or PACKAGES == compiled.FOLDER


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = surroundings()
    return subprocess.run([*MAIN, *arguments], env=environ, capture_output=True, text=True, timeout=PATIENCE)


def test_wrong_settings_end_it_with_a_message_that_names_them(tmp_path: Path) -> None:
    config = tmp_path / "mirrormanager.toml"
    config.write_text('[redirector]\nprot = 80\nworkers = "many"\n')
    result = ask("--config", str(config), "--server", "apache")
    assert result.returncode == 2
    assert "redirector.prot: unknown key" in result.stderr
    assert "redirector.workers: " in result.stderr
    assert "redirector.server: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    result = ask("--config", str(tmp_path / "no.toml"))
    assert (result.returncode, "no such configuration file" in result.stderr) == (2, True)


def test_help_has_an_example() -> None:
    result = ask("--help")
    assert result.returncode == 0
    assert "Example: mm-redirector --config" in result.stdout


def test_a_port_that_is_taken_is_named_even_if_it_could_be_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        chosen = RedirectorSettings(port=other.getsockname()[1])
        with pytest.raises(OSError, match=rf"127.0.0.1 port {chosen.port} .*Address already in use"):
            server.resolve(chosen)


@pytest.mark.parametrize(("host", "address"), [("::1", "::1"), ("0.0.0.0", "0.0.0.0"), ("127.0.0.1", "127.0.0.1")])
def test_addresses_of_both_families_can_be_listened_on(host: str, address: str) -> None:
    assert server.resolve(RedirectorSettings(host=host, port=free_port())) == address


def test_a_name_that_does_not_resolve_is_named() -> None:
    with pytest.raises(OSError, match=r"cannot listen on no\.such\.invalid"):
        server.resolve(RedirectorSettings(host="no.such.invalid"))


def test_what_a_killed_server_left_behind_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(server, "_SYSTEMD", tmp_path / "none")
    monkeypatch.delenv("TMPDIR", raising=False)
    left = tmp_path / f"{server.PREFIX}left"
    left.mkdir()
    (left / "0.json").touch()
    with server.metrics_directory() as first, server.metrics_directory() as second:
        assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}
    assert list(tmp_path.iterdir()) == []


def test_the_numbers_of_workers_lie_where_tmpdir_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it remembers what TMPDIR was
    with server.metrics_directory() as directory:
        assert directory.parent == tmp_path


@pytest.mark.parametrize(("user", "in_memory"), [(0, True), (999, True), (1000, False)])
def test_shared_memory_is_for_users_whom_systemd_leaves_it(
    user: int, in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes what others have there when they log out, though a server of theirs still runs."""
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    for folder in (memory, disk):
        folder.mkdir()
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setattr(server, "_SHARED_MEMORY", memory)
    monkeypatch.setattr(server, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: user)
    with server.metrics_directory() as directory:
        assert directory.parent == (memory if in_memory else disk)


def test_many_connections_are_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        server._allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_retired_socket_takes_no_new_connection_and_keeps_those_it_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        address = listener.getsockname()
        with socket.create_connection(address):
            accepted, _ = listener.accept()
            lame_duck.retire([listener])
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.1)
            accepted.close()


def test_a_socket_that_cannot_be_retired_is_left_alone() -> None:
    listener = socket.socket()
    listener.close()
    lame_duck.retire([listener])
