"""How long a redirector of a configuration takes from nothing to ready: python -m tests.bench.loading CONFIG."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.data import ROOT
from tests.bench.processes import SERVER_CORE


def measure(config: Path) -> dict[str, float]:
    """Seconds, and seconds of CPU, in a process of its own."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "tests.bench.loading", str(config)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    from mm_lib.settings import load
    from mm_redirector import wsgi

    settings = load(Path(sys.argv[1]))
    wall, cpu = time.perf_counter(), time.process_time()
    wsgi.build(settings).store.start()
    print(json.dumps({"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
