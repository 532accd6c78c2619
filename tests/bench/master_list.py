"""A fullfiletimelist of a master as large as Fedora's, and the few files of it whose contents are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

SEED = 44
RELEASES = 60
TREES = 1_875  # each with 80 directories: 150,000 in all
PACKAGES = 88  # in each directory of packages
ARCHES = ("x86_64", "aarch64", "ppc64le", "s390x")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
NOW = 1_760_000_000
_REPOMD = (
    '<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary"><timestamp>{}</timestamp></data></repomd>'
)


def tree_paths() -> list[str]:
    """Where the trees hang below the topdir."""
    kinds = ("releases/{}/Everything/{}", "updates/{}/Everything/{}", "updates/testing/{}/Everything/{}")
    paths = [kind.format(release, arch) for release in range(1, RELEASES + 1) for arch in ARCHES for kind in kinds]
    spins = [f"releases/{n % RELEASES + 1}/Spins/spin{n}" for n in range(TREES - len(paths))]
    return [*paths, *spins]


def write(folder: Path) -> None:
    """`fullfiletimelist-bench` and `linux/` in the folder."""
    rng = Random(SEED)
    stems = {letter: [_stem(letter, rng) for _ in range(PACKAGES)] for letter in LETTERS}
    with (folder / "fullfiletimelist-bench").open("w") as stream:
        stream.write("[Version]\n2\n\n[Files]\n")
        last: list[str] = []
        for path in sorted(tree_paths()):
            parts = ["linux", *path.split("/")]
            stream.writelines(_closing(last, parts))
            last = parts
            stream.writelines(_tree(folder, f"linux/{path}", stems, rng))
        stream.writelines(_closing(last, []))
        stream.write("\n[Checksums SHA1]\n\n[End]\n")


def _closing(last: list[str], parts: list[str]) -> Iterator[str]:
    """The directories that were left, as a walk names them after all that is in them."""
    shared = 0
    while shared < min(len(last), len(parts)) and last[shared] == parts[shared]:
        shared += 1
    for length in range(len(last), shared, -1):
        yield f"{NOW}\td\t4096\t{'/'.join(last[:length])}\n"


def _stem(letter: str, rng: Random) -> str:
    word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz-", k=rng.randint(4, 24))).strip("-")
    return f"{letter}{word}-{rng.randint(0, 9)}.{rng.randint(0, 40)}.{rng.randint(0, 9)}-{rng.randint(1, 30)}"


def _tree(folder: Path, top: str, stems: dict[str, list[str]], rng: Random) -> Iterator[str]:
    """Packages and debuginfo by letters, each with metadata, and images: 80 directories with the top."""
    for part in (f"{top}/os", f"{top}/debug/tree"):
        for letter in LETTERS:
            yield from _packages(f"{part}/Packages/{letter}", stems[letter], rng)
        yield f"{NOW}\td\t4096\t{part}/Packages\n"
        yield from _metadata(folder, f"{part}/repodata", rng)
        yield f"{NOW}\tf\t1500\t{part}/.treeinfo\n"
        yield f"{NOW}\td\t4096\t{part}\n"
    yield f"{NOW}\td\t4096\t{top}/debug\n"


def _packages(path: str, stems: list[str], rng: Random) -> Iterator[str]:
    """As a disk lists them: in no order."""
    rng.shuffle(stems)
    start = rng.randint(1_000_000_000, NOW - 1_000_000)
    yield "".join(
        [f"{start + 977 * n}\tf\t{20_000 + 7919 * n}\t{path}/{stem}.fc44.x86_64.rpm\n" for n, stem in enumerate(stems)]
    )
    yield f"{start + 977 * len(stems)}\td\t4096\t{path}\n"


def _metadata(folder: Path, path: str, rng: Random) -> Iterator[str]:
    time = rng.randint(1_500_000_000, NOW)
    content = _REPOMD.format(time)
    (folder / path).mkdir(parents=True)
    (folder / path / "repomd.xml").write_text(content)
    yield f"{time}\tf\t{len(content)}\t{path}/repomd.xml\n"
    for name in ("primary.xml.gz", "filelists.xml.gz", "other.xml.gz", "comps.xml.xz", "updateinfo.xml.zck"):
        yield f"{time}\tf\t{rng.randint(1000, 90_000_000)}\t{path}/{rng.randbytes(32).hex()}-{name}\n"
    yield f"{time}\td\t4096\t{path}\n"
