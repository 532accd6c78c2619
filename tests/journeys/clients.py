"""Real clients of a redirector, each with a folder of its own and nothing of the machine's configuration."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.journeys.program import as_root

Finished = subprocess.CompletedProcess[str]

ARIA2_CHECKSUM_ERROR = 32
SECONDS = 60  # more than any client needs; wget2 can ask for ever


def run(folder: Path, *command: str, seconds: int = SECONDS, **environment: str) -> Finished:
    """Run a client in its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    surroundings = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "HOME": str(folder)}
    return subprocess.run(
        ["timeout", "--kill-after=5", str(seconds), *command],
        cwd=folder,
        env=surroundings | environment,
        capture_output=True,
        text=True,
    )


def dnf(folder: Path, source: str, *command: str) -> Finished:
    """dnf with an empty cache, and one repository; its source is a line like metalink=URL."""
    (folder / "repos").mkdir(parents=True)
    (folder / "log").mkdir()
    # Debian's dnf.conf has skip_if_unavailable=True, which would hide every failure.
    (folder / "repos/mm.repo").write_text(
        f"[mm]\nname=mm\n{source}\nenabled=1\ngpgcheck=0\nskip_if_unavailable=0\nretries=1\n"
    )
    places = {"reposdir": "repos", "cachedir": "cache", "persistdir": "persist", "logdir": "log"}
    options = [f"--setopt={name}={folder / place}" for name, place in places.items()]
    fixed = (f"--installroot={folder / 'root'}", "--releasever=44", "--forcearch=x86_64", "--disableplugin=*")
    return run(folder, *as_root("dnf", "-y", *fixed, *options, *command))


_LIBREPO = """
import json, sys, librepo
handle = librepo.Handle()
handle.setopt(librepo.LRO_REPOTYPE, librepo.LR_YUMREPO)
handle.setopt(librepo.LRO_DESTDIR, ".")
handle.setopt(librepo.LRO_YUMDLIST, ["primary"])
handle.setopt(getattr(librepo, sys.argv[1]), sys.argv[2])
handle.perform(librepo.Result())
metalink = handle.metalink
if metalink:
    hashes = sorted(name for name, value in metalink["hashes"])
    print(json.dumps({"hashes": hashes, "alternates": len(metalink.get("alternates", ()))}))
"""


def librepo(folder: Path, option: str, url: str) -> Finished:
    """Fetch a repository's metadata with librepo into the folder; prints what it knows from a metalink."""
    # The distribution's Python: librepo is not on PyPI.
    return run(folder, "/usr/bin/python3", "-c", _LIBREPO, option, url)


def facts(finished: Finished) -> dict[str, object]:
    """What librepo printed."""
    return dict(json.loads(finished.stdout))


def zypper(folder: Path, source: str, *command: str) -> Finished:
    """zypper with one repository; its source is a line like metalink=URL."""
    repositories = folder / "root/etc/zypp/repos.d"
    repositories.mkdir(parents=True)
    (repositories / "mm.repo").write_text(
        f"[mm]\nname=mm\n{source}\nenabled=1\nautorefresh=1\ngpgcheck=0\ntype=rpm-md\n"
    )
    options = (f"--root={folder / 'root'}", "--non-interactive", "--no-gpg-checks")
    return run(folder, *as_root("zypper", *options, *command), ZYPP_CONF="/dev/null")


def aria2(folder: Path, url: str) -> Finished:
    """Download what the metalink at the URL describes into the folder."""
    quick = ("--connect-timeout=5", "--max-tries=2", "--retry-wait=0", "--max-connection-per-server=1", "--split=1")
    options = ("--no-conf", "--follow-metalink=mem", "--file-allocation=none", "--enable-dht=false", *quick)
    return run(folder, "aria2c", *options, url)


def wget2(folder: Path, *arguments: str) -> Finished:
    """wget2 with its own idea of when to end, which it does not always have: never without a time limit."""
    options = ("--no-config", "--no-hsts", "--no-ocsp", "--no-robots", "--tries=2", "--max-threads=1")
    return run(folder, "wget2", *options, *arguments, seconds=10)


def curl(folder: Path, url: str, *options: str) -> Finished:
    """Download into the file "fetched"."""
    return run(folder, "curl", "-q", "-sS", "-L", "--fail", *options, "-o", "fetched", url)


_APT = """
Dir::State "{here}/state";
Dir::State::status "{here}/status";
Dir::Cache "{here}/cache";
Dir::Etc "{here}/etc";
Dir::Log "{here}/log";
APT::Sandbox::User "root";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
Acquire::Languages "none";
Acquire::Retries "0";
"""


def apt(folder: Path, source: str, *commands: tuple[str, ...]) -> list[Finished]:
    """Run apt-get commands one after the other with one line in sources.list."""
    for name in (
        "etc/apt.conf.d",
        "etc/sources.list.d",
        "etc/preferences.d",
        "etc/trusted.gpg.d",
        "state/lists/partial",
        "cache/archives/partial",
        "log",
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "etc/sources.list").write_text(f"{source}\n")
    (folder / "apt.conf").write_text(_APT.format(here=folder))
    configuration = {"APT_CONFIG": str(folder / "apt.conf")}
    return [run(folder, *as_root("apt-get", *command), **configuration) for command in commands]
