"""What the cache in MirrorManager's own format costs, for a world like Fedora's: `make bench-protobuf`.

Each way in a process of its own. The file is large, for it says per directory who has it.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from mm_lib.cache import codec
from mm_lib.publish import formats
from tests.bench.report import bar, close
from tests.bench.world import world

SEED = 44
OURS, THEIRS, BACK = "ours.cache", "theirs.proto", "back.cache"


def main() -> None:
    """Make a world, write it in the other format, read it again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.joinpath(OURS).write_bytes(codec.encode(world(SEED)))
        for what, source, target in (("written", OURS, THEIRS), ("read", THEIRS, BACK)):
            command = [sys.executable, __file__, str(folder / source), str(folder / target)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, memory = map(float, done.stdout.split())
            bar(f"protobuf {what}, CPU", seconds, "s", "<", 60)
            bar(f"protobuf {what}, memory", memory, "MB", "<", 250)
        print(f"bench: the file has {folder.joinpath(THEIRS).stat().st_size / 1e6:.0f} MB")
    close()


def one(source: Path, target: Path) -> None:
    """Convert, and say what it took."""
    formats.convert(source, target)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


if __name__ == "__main__":
    one(Path(sys.argv[1]), Path(sys.argv[2])) if len(sys.argv) > 1 else main()
