"""A whole installation on this machine: master tree, five mirrors, scan, crawl, cache, redirector, front end.

`make demo` stays up until Ctrl-C; `make demo-check` asks the questions itself and ends with 0 or 1.
Everything is below demo-data/, which is made anew each time. Only loopback addresses are used.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from utils.demo import check, mirrors
from utils.demo.place import Place

FOLDER = Path("demo-data")
BIN = Path(sys.executable).parent
START_SECONDS = 30
CATEGORIES = {"Fedora Linux": ("Fedora", "pub/fedora/linux"), "Fedora EPEL": ("EPEL", "pub/epel")}


def main() -> int:
    """Set everything up, then check it or wait for Ctrl-C. Returns the exit code."""
    os.umask(0o022)  # a master tree that only its owner may read is no use to mirrors
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    try:
        with installation() as place:
            print(f"\nReady after {time.monotonic() - started:.0f} seconds.")
            if "--check" in sys.argv[1:]:
                return check.run(place)
            print(place.invitation())
            signal.pause()
    except KeyboardInterrupt:
        print("\nStopped. The files are still in demo-data/.")
    return 0


@contextmanager
def installation() -> Iterator[Place]:
    """Everything set up and running; all processes end with the block."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    say("Building a master tree and five mirrors")
    master = mirrors.build_trees(FOLDER / "trees")
    servers = mirrors.serve(FOLDER / "trees")
    place = Place(
        FOLDER, free_port(3000), free_port(5000), {n: s.server_address[1] for n, s in servers.items()}, master
    )
    environment = configure(place)
    set_up(place, environment)
    with (
        running(place, environment, "mm-redirector", place.redirector),
        running(place, environment, "mm-frontend", place.frontend),
    ):
        yield place


def configure(place: Place) -> dict[str, str]:
    """A configuration file made by mm-admin init; what only the demo wants is in the environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MM_")}
    environment |= {
        "MM_CONFIG": str(place.folder.absolute() / "mirrormanager.toml"),
        "MM_LOG__LEVEL": "WARNING",
        "MM_LOG__FORMAT": "text",
        "MM_REDIRECTOR__PORT": str(place.redirector_port),
        "MM_REDIRECTOR__ALLOW_IP_PARAMETER": "true",
        "MM_FRONTEND__PORT": str(place.frontend_port),
        "MM_FRONTEND__HTTPS": "false",
        "MM_FRONTEND__REDIRECTOR_URL": place.redirector,
        "MM_CRAWLER__TRIES": "2",
        "MM_CRAWLER__PRIVATE_MIRRORS": "true",  # the demo's mirrors are on this machine
    }
    run(environment, "mm-admin", "init")
    return environment


def set_up(place: Place, environment: dict[str, str]) -> None:
    """What an administrator does with a new installation."""
    admin = ("mm-admin",)
    run(environment, *admin, "db", "upgrade")
    run(environment, *admin, "user", "add", "admin", "--role", "admin", "--password-stdin", stdin=place.password)
    run(environment, *admin, "arch", "add", "x86_64", "aarch64")
    run(environment, *admin, "arch", "add", "source", "--hidden")
    for name, (product, topdir) in CATEGORIES.items():
        run(environment, *admin, "product", "add", product)
        source = str(place.master / topdir)
        run(environment, *admin, "category", "add", name, "--product", product, "--topdir", topdir, "--source", source)
    run(environment, *admin, "rules", "load", "fedora")
    run(environment, "mm-crawler", "master")
    # Starting a program is most of its time, and mirrors have nothing to do with each other.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(partial(register, place, environment), mirrors.MIRRORS))
    run(environment, "mm-crawler", "mirrors")
    run(environment, *admin, "cache", "build")


def register(place: Place, environment: dict[str, str], mirror: mirrors.Mirror) -> None:
    """Make a mirror known: its organisation, its host, and where it has which category."""
    site = f"Example network of {mirror.name.split('.')[1].title()}"
    facts = ("--country", mirror.country, "--bandwidth", str(mirror.bandwidth))
    run(environment, "mm-admin", "site", "add", site, "--url", f"https://{mirror.name}")
    run(environment, "mm-admin", "host", "add", site, mirror.name, *facts)
    for name, (_, topdir) in CATEGORIES.items():
        run(environment, "mm-admin", "url", "add", mirror.name, name, f"{place.mirror(mirror.name)}/{topdir}")


def run(environment: dict[str, str], program: str, *arguments: str, stdin: str = "") -> None:
    """Run one of our commands and show it as one would type it."""
    shown = " ".join(f'"{part}"' if " " in part else part for part in (program, *arguments))
    say(f"$ {shown}")
    finished = subprocess.run([BIN / program, *arguments], env=environment, input=stdin, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"That ended with exit code {finished.returncode}.")


@contextmanager
def running(place: Place, environment: dict[str, str], program: str, address: str) -> Iterator[None]:
    """One of our servers, ready to answer."""
    say(f"$ {program}    # {address}")
    log = place.folder / f"{program}.log"
    with log.open("wb") as stream:
        # A group of its own, so that Ctrl-C reaches us alone and we end it in order.
        process = subprocess.Popen(
            [BIN / program], env=environment, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        wait_until_ready(process, f"{address}/healthz/ready", log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Ask until the answer is 200. Ends the program with the server's log when it does not come."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"{url} did not get ready:\n{log.read_text()[-3000:]}")


def free_port(wanted: int) -> int:
    """The wanted loopback port, or another one when somebody has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("No free port on 127.0.0.1.")


def say(text: str) -> None:
    """One line, at once and whole."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
