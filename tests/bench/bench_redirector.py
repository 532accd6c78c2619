"""Requests per CPU-second of the redirector: see tests/bench/README.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import in_process
from tests.bench.data import make_geo, make_world
from tests.bench.traffic import CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-process", action="store_true", help="only the WSGI application, without a server")
    parser.add_argument("--profile", choices=CASES, help="where the time of one kind of request goes")
    chosen = parser.parse_args()
    world, geo = make_world(), make_geo()
    if chosen.profile:
        in_process.profile(CASES[chosen.profile], world, geo)
    elif chosen.in_process:
        in_process.table(world, geo)


if __name__ == "__main__":
    main()
