"""The index is kept current, whatever happens to the file."""

from __future__ import annotations

import gc
import logging
import pickle
import struct
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from mm_lib.cache import codec, file
from mm_lib.cache.codec import HEADER_SIZE, MAGIC
from mm_lib.cache.schema import SCHEMA_VERSION, MirrorlistCache
from mm_redirector.index import Index
from mm_redirector.query import Choice, Reason, Refusal
from mm_redirector.settings import CLASSIC
from mm_redirector.store import Store
from tests.redirector.world import Atlas, environment, request, world

NEVER = 3600.0
SOON = 0.005
PATIENCE = 20.0  # seconds that a busy machine may need


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mirrorlist.cache"


@pytest.fixture
def stores() -> Iterator[Callable[..., Store]]:
    """Makes started stores and stops them after the test."""
    made: list[Store] = []

    def make(path: Path, interval: float = NEVER, watchers: tuple[Callable[[], None], ...] = ()) -> Store:
        store = Store(path, interval, CLASSIC, watchers)
        made.append(store)
        store.start()
        return store

    yield make
    for store in made:
        store.stop()


def publish(path: Path, generation: int) -> None:
    file.publish(path, codec.encode(world(generation=generation)))


def generation(store: Store) -> int:
    current = store.current()
    assert isinstance(current, Index), current
    return current.generation


def seal(payload: bytes) -> bytes:
    """A file whose length and checksum are right, whatever it holds."""
    digest = sha256(struct.pack("!HQ", SCHEMA_VERSION, len(payload)) + payload).digest()
    return struct.pack("!8sHQ32s", MAGIC, SCHEMA_VERSION, len(payload), digest) + payload


class Command:
    """A pickle of this runs a command when a naive reader loads it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        import os

        return os.mkdir, (str(self.witness),)


def bad_files(tmp_path: Path) -> dict[str, bytes]:
    good = codec.encode(world(generation=666))
    wrong = world(generation=666)
    wrong.netblock_hosts = {"10.0.0.0/8": "1"}  # type: ignore[dict-item]
    odd = world(generation=666)
    odd.country_continents = {1: "EU"}  # type: ignore[dict-item]
    return {
        "empty": b"",
        "truncated": good[:-1],
        "only a header": good[:HEADER_SIZE],
        "a bit flipped": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        "something else": b"<html>not a cache</html>",
        "another version": good[:8] + b"\xff\xff" + good[10:],
        "a hostile pickle": seal(pickle.dumps(Command(tmp_path / "witness"))),
        "another shape": seal(pickle.dumps([1, 2, 3])),
        "odd netblocks": codec.encode(wrong),
        "odd countries": codec.encode(odd),
    }


KINDS = list(bad_files(Path()))


def test_the_published_file_is_served(path: Path, stores: Callable[..., Store]) -> None:
    publish(path, 1)
    assert generation(stores(path)) == 1


def test_without_a_file_there_is_a_refusal_that_says_what_to_do(path: Path, stores: Callable[..., Store]) -> None:
    assert stores(path).current() == Refusal(
        Reason.NOT_READY, "there is no usable mirrorlist cache: it does not exist; `mm-admin cache build` writes it"
    )


def test_a_first_file_that_comes_later_is_noticed(path: Path, stores: Callable[..., Store]) -> None:
    store = stores(path)
    publish(path, 1)
    store.poll()
    assert generation(store) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_keeps_the_old_index_and_is_reported_once(
    kind: str, path: Path, tmp_path: Path, stores: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    publish(path, 1)
    store = stores(path)
    file.publish(path, bad_files(tmp_path)[kind])
    with caplog.at_level(logging.ERROR):
        store.poll()
        store.poll()
    assert generation(store) == 1
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert "the one in memory stays" in caplog.text
    assert not (tmp_path / "witness").exists()
    publish(path, 2)
    store.poll()
    assert generation(store) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_first_file_is_replaced_by_the_previous_one(
    kind: str, path: Path, tmp_path: Path, stores: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    publish(path, 1)
    file.publish(path, bad_files(tmp_path)[kind])
    assert generation(stores(path)) == 1
    assert "serving the version before it, generation 1" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_first_file_without_a_previous_one_is_waited_out(
    kind: str, path: Path, tmp_path: Path, stores: Callable[..., Store]
) -> None:
    file.publish(path, bad_files(tmp_path)[kind])
    store = stores(path)
    refusal = store.current()
    assert isinstance(refusal, Refusal)
    assert str(tmp_path) not in refusal.detail
    publish(path, 2)
    store.poll()
    assert generation(store) == 2


def test_a_file_that_vanishes_keeps_the_old_index(path: Path, stores: Callable[..., Store]) -> None:
    publish(path, 1)
    store = stores(path)
    path.unlink()
    store.poll()
    assert generation(store) == 1


def test_a_folder_in_the_place_of_the_file_keeps_the_old_index(path: Path, stores: Callable[..., Store]) -> None:
    publish(path, 1)
    store = stores(path)
    path.unlink()
    path.mkdir()
    store.poll()
    assert generation(store) == 1


class Looks:
    """Lets a test wait until the background thread has looked again."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def __call__(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait_until(self, true: Callable[[], bool]) -> None:
        with self._condition:
            assert self._condition.wait_for(true, PATIENCE)


def test_the_background_thread_notices_a_new_file(path: Path, stores: Callable[..., Store]) -> None:
    publish(path, 1)
    looks = Looks()
    store = stores(path, SOON, (looks,))
    publish(path, 2)
    looks.wait_until(lambda: generation(store) == 2)


def test_reload_soon_reads_the_file_at_once(path: Path, stores: Callable[..., Store]) -> None:
    publish(path, 1)
    looks = Looks()
    store = stores(path, NEVER, (looks,))
    before = store.current()
    store.reload_soon()
    looks.wait_until(lambda: store.current() is not before)


def test_the_background_thread_outlives_a_watcher_that_fails(
    path: Path, stores: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    publish(path, 1)
    looks = Looks()

    def fail_after_looking() -> None:
        looks()
        raise RuntimeError("planted")

    store = stores(path, SOON, (fail_after_looking,))
    publish(path, 2)
    looks.wait_until(lambda: generation(store) == 2)
    publish(path, 3)
    looks.wait_until(lambda: generation(store) == 3)
    assert "looking for new files failed" in caplog.text


def one_host(cache: MirrorlistCache, name: str) -> MirrorlistCache:
    for category in cache.categories:
        category.urls = dict.fromkeys(category.urls, (f"https://{name}.example",))
    return cache


def test_requests_during_reloads_see_one_generation_each_and_none_is_lost(
    path: Path, stores: Callable[..., Store]
) -> None:
    """Four threads ask while ten new files come: every answer is whole and of a single generation."""
    from mm_redirector.app import Application

    versions = [codec.encode(one_host(world(generation=number), f"g{number}")) for number in range(10)]
    file.publish(path, versions[0])
    looks = Looks()
    store = stores(path, SOON, (looks,))
    application = Application(store.current, Atlas(), CLASSIC)
    done = threading.Event()
    failures: list[str] = []
    served = [0] * 4

    def storm(worker: int) -> None:
        while not done.is_set():
            answer = request(application, environment("/mirrorlist?repo=fedora-44&arch=x86_64&time", "", "GET", {}))
            names = {url.split("/")[2] for url in answer.urls}
            if answer.status != 200 or len(names) != 1:
                failures.append(answer.text)
            served[worker] += 1

    threads = [threading.Thread(target=storm, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for number, data in enumerate(versions):
        file.publish(path, data)
        looks.wait_until(lambda number=number: generation(store) == number)  # type: ignore[misc]
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(served) > 0


def test_a_first_load_does_not_rest_and_later_ones_do(
    stores: Callable[..., Store], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only once requests are served does anybody wait for the interpreter."""
    rests: list[float] = []
    monkeypatch.setattr("mm_redirector.store.WORK", 0.0)
    monkeypatch.setattr("mm_redirector.store.time.sleep", rests.append)
    publish(path, 1)
    store = stores(path)
    assert rests == []
    publish(path, 2)
    store.poll()
    assert generation(store) == 2
    assert rests
    assert store.reloads == {"taken": 2, "refused": 0}


def test_a_request_that_began_before_a_reload_ends_with_the_old_index(path: Path, stores: Callable[..., Store]) -> None:
    publish(path, 1)
    store = stores(path)
    before = store.current()
    assert isinstance(before, Index)
    publish(path, 2)
    store.poll()
    assert generation(store) == 2
    assert before.generation == 1
    assert [host.name for host in before.hosts] == [host.name for host in world().hosts]
    assert all(category.view(Choice(None, None)).lines for category in before.categories)


def test_what_a_reload_makes_is_left_alone_by_the_garbage_collector(path: Path, stores: Callable[..., Store]) -> None:
    """A full collection of all that an index holds would keep every request waiting."""
    publish(path, 1)
    store = stores(path)
    frozen = gc.get_freeze_count()
    publish(path, 2)
    store.poll()
    assert gc.get_freeze_count() > frozen
    assert gc.isenabled()
