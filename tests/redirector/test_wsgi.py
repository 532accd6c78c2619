"""The wiring: the application in WSGI servers that are not started by mm-redirector."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mm_lib.settings import RedirectorSettings
from mm_redirector import wsgi
from mm_redirector.settings import Policy, policy
from tests.postgres import free_port
from tests.redirector.serving import LIST, configure, get, launched, publish, surroundings, wait_for, workers_of


@pytest.mark.parametrize(
    "command",
    [
        ["gunicorn", "--bind", "127.0.0.1:PORT", "--no-control-socket", "mm_redirector.wsgi:application"],
        ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "PORT", "mm_redirector.wsgi:application"],
    ],
    ids=["gunicorn", "granian"],
)
def test_other_wsgi_servers_find_the_application_by_its_name(tmp_path: Path, command: list[str]) -> None:
    """There, signals go to the worker itself; at its end no line is lost either."""
    publish(tmp_path, 1)
    port = str(free_port())
    arguments = [part.replace("PORT", port) for part in command]
    with launched([sys.executable, "-m", *arguments], configure(tmp_path, interval=3600)) as process:
        wait_for(int(port), "/healthz/ready", lambda answer: answer[0] == 200)
        (worker,) = workers_of(process)
        publish(tmp_path, 2)
        os.kill(worker, signal.SIGUSR1)
        os.kill(worker, signal.SIGHUP)
        wait_for(int(port), "/healthz/ready", lambda answer: "generation 2 " in answer[1])
        assert get(int(port), LIST)[1].startswith("# repo = fedora-44 arch = x86_64 country = global ")
        assert "mm_redirector_workers 1.0" in get(int(port), "/metrics")[1]
    assert (tmp_path / "access.log").read_text().startswith("IP: 127.0.0.1; DATE: ")


def test_the_application_is_built_when_its_name_is_used(tmp_path: Path) -> None:
    script = (
        "import sys, threading, mm_redirector.wsgi as w\n"
        "assert 'application' not in vars(w) and threading.active_count() == 1\n"
        "assert not {'gunicorn', 'granian', 'click', 'sqlalchemy', 'flask'} & set(sys.modules)\n"
        "assert w.application is w.application\n"
    )
    environ = surroundings(MM_CONFIG=str(configure(tmp_path)))
    result = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert (result.returncode, "Traceback" in result.stderr) == (0, False)


def test_no_other_name_is_made_up() -> None:
    with pytest.raises(AttributeError, match="no attribute 'aplication'"):
        wsgi.aplication  # noqa: B018


def test_a_signal_that_is_ignored_stays_ignored_and_others_keep_their_first_use() -> None:
    script = (
        "import os, queue, signal, mm_redirector.wsgi as w\n"
        "seen = queue.Queue()\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGUSR1, lambda number, frame: seen.put('server'))\n"
        "actions = {s: lambda s=s: seen.put(s.name) for s in (signal.SIGHUP, signal.SIGUSR1)}\n"
        "w.on_signals(actions)\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "print(*sorted((seen.get(timeout=20), seen.get(timeout=20))), seen.empty())\n"
    )
    environ = surroundings()
    result = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("SIGUSR1 server True\n", "")


def test_the_policy_is_what_the_settings_say() -> None:
    settings = RedirectorSettings(minimum_hosts=9, trusted_proxies=2, allow_ip_parameter=True)
    assert policy(settings) == Policy(minimum_hosts=9, trusted_proxies=2, allow_ip_parameter=True)
    assert policy(RedirectorSettings()) == Policy()
