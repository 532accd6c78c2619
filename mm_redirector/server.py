"""`mm-redirector`: the command, and what granian and gunicorn have in common.

The main process answers nothing. It keeps the workers alive and passes signals on to them: SIGHUP makes each read the
cache again, SIGUSR1 makes each open its access log anew, SIGTERM lets each end what it has begun.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mm_lib import log
from mm_lib.cache.codec import CacheError
from mm_lib.settings import RedirectorSettings, Settings, SettingsError, load
from mm_redirector import fetch

HELP = """Answer /mirrorlist and /metalink from the published mirrorlist cache.

A missing cache file is waited for: until it comes, requests are answered with 503. A new one is noticed by itself,
and at once on SIGHUP. SIGUSR1 opens the access log anew.
"""
EXAMPLE = "Example: mm-redirector --config /etc/mirrormanager/mirrormanager.toml --workers 4"
PREFIX = "mm-redirector-"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # of Linux; mkdtemp keeps others out, as in any temporary folder
_SYSTEMD = Path("/run/systemd/system")  # exists where it runs
_ORDINARY = 1000  # the first user that is no part of the system


def main() -> None:
    """Entry point of mm-redirector."""
    try:
        if sys.argv[1:2] == ["replay"]:  # has options of its own
            from mm_redirector import replay

            raise SystemExit(replay.main(sys.argv[2:]))
        arguments = _arguments()
        settings = _settings(arguments)
        if arguments.command == "fetch":
            raise SystemExit(fetch.once(settings))
        serve(settings)
    except SettingsError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(2) from None
    except (OSError, CacheError) as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(1) from None


def _arguments() -> argparse.Namespace:
    """argparse, not click as elsewhere: whatever is loaded here stays in the memory of the workers."""
    parser = argparse.ArgumentParser(
        "mm-redirector", description=HELP, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    about = "only bring the cache file up to date, and end; `replay --help` tells of another command"
    parser.add_argument("command", nargs="?", choices=["fetch"], help=about)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration file [default: $MM_CONFIG]")
    parser.add_argument("--host", help="listen on this address instead of redirector.host")
    parser.add_argument("--port", type=int, help="listen on this port instead of redirector.port")
    parser.add_argument("--workers", type=int, metavar="N", help="run this many processes, not redirector.workers")
    parser.add_argument("--server", help="serve with granian or gunicorn instead of redirector.server")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    """An option is worth a variable: it is checked as the settings are, and wins over them."""
    names = ("host", "port", "workers", "server")
    given = {name: str(value) for name in names if (value := getattr(arguments, name)) is not None}
    return load(arguments.config, os.environ | {f"MM_REDIRECTOR__{name.upper()}": given[name] for name in given})


def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    for number in (signal.SIGHUP, signal.SIGUSR1):  # would end the process until the server listens to them
        signal.signal(number, signal.SIG_IGN)
    log.configure(settings.log)
    address = resolve(settings.redirector)
    _allow_many_connections()
    _answer_in_batches()
    # numpy would start threads for work on large matrices, which there is none of.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if settings.redirector.server == "granian":
        from mm_redirector.on_granian import serve as run  # not before the settings are known to be right: it is slow
    else:
        from mm_redirector.on_gunicorn import serve as run
    with metrics_directory() as directory, fetch.start_fetching(settings):
        # What was made so far is used by every worker and changed by none: the collector need not touch their pages.
        gc.collect()
        gc.freeze()
        run(settings, address, directory)


def resolve(chosen: RedirectorSettings) -> str:
    """The numeric address to listen on, which granian needs. OSError if there is none, or if it is taken.

    Both servers share a port with SO_REUSEPORT: a second mm-redirector would quietly take half of the connections.
    """
    try:
        found = socket.getaddrinfo(chosen.host, chosen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"cannot listen on {chosen.host} port {chosen.port} (redirector.host, .port): {reason}") from None
    return str(address[0])


def _allow_many_connections() -> None:
    """As many open connections as the administrator allows, not as few as a shell starts with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid the call; systemd's LimitNOFILE has set both then
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _answer_in_batches() -> None:
    """Let no thread that wakes up interrupt another on the same core; workers inherit this.

    The thread that reads requests would interrupt the one that answers them at every request and every answer, which
    costs more than the rest of its work. A core that is idle runs it at once, as before.
    """
    with suppress(OSError, AttributeError):  # systemd's sandbox forbids the call; the unit has CPUSchedulingPolicy
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextmanager
def metrics_directory() -> Iterator[Path]:
    """An empty directory for the workers' numbers; it ends with the server."""
    from mm_redirector.wsgi import runtime_directory  # loaded by the server already

    directory = runtime_directory()
    if directory is None:
        parent = _parent_of_the_moment()
        _remove_leftovers(parent)
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    else:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    lock = _lock(directory)
    owner = os.getpid()
    try:
        yield directory
    finally:
        if os.getpid() == owner:  # gunicorn's workers leave through here as well
            shutil.rmtree(directory, ignore_errors=True)
            if lock is not None:
                os.close(lock)


def _parent_of_the_moment() -> Path:
    """Where files that nobody needs later lie in memory; where there is no such place, or TMPDIR is set, on disk.

    To replace a file each second costs milliseconds on a disk's file system, and requests wait for as long. But
    systemd-logind empties shared memory of what an ordinary user left there at the end of the last session (RemoveIPC).
    """
    lasting = os.getuid() < _ORDINARY or not _SYSTEMD.exists()
    writable = lasting and os.access(_SHARED_MEMORY, os.W_OK | os.X_OK)
    return _SHARED_MEMORY if writable and "TMPDIR" not in os.environ else Path(tempfile.gettempdir())


def _remove_leftovers(parent: Path) -> None:
    """Directories of servers that were killed."""
    for path in parent.glob(f"{PREFIX}*"):
        if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid():
            lock = _lock(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _lock(directory: Path) -> int | None:
    """A handle on the directory that is locked for as long as the main process or a worker lives."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle
