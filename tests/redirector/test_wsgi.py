"""The wiring: real servers on loopback, asked over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from mm_lib.cache import codec, file
from mm_lib.settings import RedirectorSettings
from mm_redirector import wsgi
from mm_redirector.settings import Policy, policy
from tests.redirector.world import world

PATIENCE = 30.0  # seconds that a busy machine may need
ROOT = Path(__file__).parents[2]
MAIN = [sys.executable, "-c", "from mm_redirector.server import main; main()"]
LIST = "/mirrorlist?repo=fedora-44&arch=x86_64"


def publish(folder: Path, generation: int) -> None:
    file.publish(folder / "mirrorlist.cache", codec.encode(world(generation=generation)))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def configure(folder: Path, interval: float = 0.05) -> Path:
    config = folder / "mirrormanager.toml"
    config.write_text(f'[redirector]\nreload_interval = {interval}\naccess_log = "access.log"\nworkers = 1\n')
    return config


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def wait_for(port: int, path: str, true: Callable[[tuple[int, str]], bool]) -> tuple[int, str]:
    """The first answer that is as wanted; the server of another process cannot tell us when."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = get(port, path)
        except OSError:
            answer = (0, "")
        if true(answer):
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.02)


Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server on a free port; it is ended after the test."""
    processes: list[subprocess.Popen[str]] = []

    def run(command: list[str], config: Path) -> tuple[subprocess.Popen[str], int]:
        port = free_port()
        command = [part.replace("PORT", str(port)) for part in command]
        environ = os.environ | {"MM_CONFIG": str(config), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process, port

    yield run
    for process in processes:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_mm_redirector_serves_waits_for_its_cache_and_reloads(tmp_path: Path, start: Start) -> None:
    process, port = start([*MAIN, "--port", "PORT"], configure(tmp_path))
    status, text = wait_for(port, LIST, lambda answer: answer[0] == 503)
    assert "there is no usable mirrorlist cache" in text
    assert get(port, "/healthz/live")[0] == 200
    publish(tmp_path, 1)
    wait_for(port, "/healthz/ready", lambda answer: "generation 1 " in answer[1])
    publish(tmp_path, 2)
    wait_for(port, "/healthz/ready", lambda answer: "generation 2 " in answer[1])
    status, text = get(port, LIST)
    assert (status, text.splitlines()[0]) == (200, "# repo = fedora-44 arch = x86_64 country = global ")
    assert (tmp_path / "access.log").read_text().startswith("IP: 127.0.0.1; DATE: ")
    process.terminate()
    assert process.wait(PATIENCE) == 0


def test_a_hangup_makes_a_worker_read_the_cache_again(tmp_path: Path, start: Start) -> None:
    publish(tmp_path, 1)
    process, port = start([*MAIN, "--port", "PORT"], configure(tmp_path, interval=3600))
    wait_for(port, "/healthz/ready", lambda answer: answer[0] == 200)
    (worker,) = workers_of(process)
    publish(tmp_path, 2)
    os.kill(worker, signal.SIGHUP)
    wait_for(port, "/healthz/ready", lambda answer: "generation 2 " in answer[1])
    assert workers_of(process) == [worker]


def test_a_hangup_of_the_master_loses_no_cache(tmp_path: Path, start: Start) -> None:
    publish(tmp_path, 1)
    process, port = start([*MAIN, "--port", "PORT"], configure(tmp_path, interval=3600))
    wait_for(port, "/healthz/ready", lambda answer: answer[0] == 200)
    publish(tmp_path, 2)
    process.send_signal(signal.SIGHUP)
    wait_for(port, "/healthz/ready", lambda answer: "generation 2 " in answer[1])


@pytest.mark.parametrize(
    "command",
    [
        ["gunicorn", "--bind", "127.0.0.1:PORT", "--no-control-socket", "mm_redirector.wsgi:application"],
        ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "PORT", "mm_redirector.wsgi:application"],
    ],
    ids=["gunicorn", "granian"],
)
def test_other_wsgi_servers_find_the_application_by_its_name(tmp_path: Path, start: Start, command: list[str]) -> None:
    publish(tmp_path, 1)
    _, port = start([sys.executable, "-m", *command], configure(tmp_path))
    status, text = wait_for(port, LIST, lambda answer: answer[0] == 200)
    assert (status, text.splitlines()[0]) == (200, "# repo = fedora-44 arch = x86_64 country = global ")
    publish(tmp_path, 2)
    wait_for(port, "/healthz/ready", lambda answer: "generation 2 " in answer[1])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([*MAIN, *arguments], env=environ, capture_output=True, text=True, timeout=PATIENCE)


def test_wrong_settings_end_it_with_a_message_that_names_them(tmp_path: Path) -> None:
    config = tmp_path / "mirrormanager.toml"
    config.write_text('[redirector]\nprot = 80\nworkers = "many"\n')
    result = run("--config", str(config))
    assert result.returncode == 2
    assert "redirector.prot: unknown key" in result.stderr
    assert "redirector.workers: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    result = run("--config", str(tmp_path / "no.toml"))
    assert (result.returncode, "no such configuration file" in result.stderr) == (2, True)


def test_help_has_an_example() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert "Example: mm-redirector --config" in result.stdout


def test_the_application_is_built_when_its_name_is_used(tmp_path: Path) -> None:
    script = (
        "import sys, threading, mm_redirector.wsgi as w\n"
        "assert 'application' not in vars(w) and threading.active_count() == 1\n"
        "assert not {'gunicorn', 'click', 'sqlalchemy', 'flask'} & set(sys.modules)\n"
        "assert w.application is w.application\n"
    )
    environ = os.environ | {"PYTHONPATH": str(ROOT), "MM_CONFIG": str(configure(tmp_path))}
    result = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False)


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'aplication'"):
        wsgi.aplication  # noqa: B018


def test_the_policy_is_what_the_settings_say() -> None:
    settings = RedirectorSettings(minimum_hosts=9, trusted_proxies=2, allow_ip_parameter=True)
    assert policy(settings) == Policy(minimum_hosts=9, trusted_proxies=2, allow_ip_parameter=True)
    assert policy(RedirectorSettings()) == Policy()
