"""The numbers of all workers together."""

from __future__ import annotations

import inspect
import json
import logging
import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mm_redirector.metrics import Metrics, Sources

FORK = multiprocessing.get_context("fork")


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Name and label values -> number, by Prometheus' own parser."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def requests(metrics: Metrics) -> float:
    return sum(value for (name, *_), value in read(metrics).items() if name == "mm_redirector_requests_total")


def started(directory: Path, **sources: object) -> Metrics:
    metrics = Metrics(Sources(**sources), directory)  # type: ignore[arg-type]
    metrics.start()
    return metrics


def observe(metrics: Metrics, number: int = 1) -> None:
    for _ in range(number):
        metrics.observe("METALINK", "OK", "COUNTRY", 0.0003, 1000)


def _worker(directory: Path, number: int, pipe: Connection) -> None:
    """Another process that observes, shows it, and waits until it is ended or killed."""
    metrics = started(directory, index=lambda: (number, 1000 + number))
    observe(metrics, number)
    metrics.flush()
    pipe.send("shown")
    pipe.recv()
    observe(metrics)
    metrics.close()


class Other:
    def __init__(self, directory: Path, number: int) -> None:
        self.pipe, theirs = FORK.Pipe()
        self.process = FORK.Process(target=_worker, args=(directory, number, theirs))
        self.process.start()
        assert self.pipe.recv() == "shown"

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def test_requests_are_counted_by_kind_result_and_tier() -> None:
    metrics = Metrics(Sources())
    observe(metrics, 2)
    metrics.observe("MIRRORLIST", "UNKNOWN_REPOSITORY", "", 0.001, 50)
    numbers = read(metrics)
    assert numbers["mm_redirector_requests_total", "METALINK", "OK", "COUNTRY"] == 2
    assert numbers["mm_redirector_requests_total", "MIRRORLIST", "UNKNOWN_REPOSITORY", ""] == 1
    assert numbers["mm_redirector_response_bytes_total", "METALINK"] == 2000


def test_the_histogram_is_cumulative_and_its_bounds_belong_to_their_buckets() -> None:
    metrics = Metrics(Sources())
    for seconds in (0.00005, 0.0001, 0.00011, 3.0):
        metrics.observe("METALINK", "OK", "COUNTRY", seconds, 1)
    numbers = read(metrics)
    bucket = "mm_redirector_request_seconds_bucket"
    counts = [numbers[bucket, "METALINK", bound] for bound in ("5e-05", "0.0001", "0.0002", "1.0", "+Inf")]
    assert counts == [1, 2, 3, 3, 4]
    assert numbers["mm_redirector_request_seconds_count", "METALINK"] == 4
    assert numbers["mm_redirector_request_seconds_sum", "METALINK"] == pytest.approx(3.00026)


def test_what_others_keep_is_told() -> None:
    now = int(time.time())
    metrics = Metrics(
        Sources(
            index=lambda: (7, now - 60),
            databases=lambda: {"asn": now - 3600},
            reloads=lambda: {"taken": 3, "refused": 1},
            dropped=lambda: 5,
        )
    )
    numbers = read(metrics)
    assert numbers["mm_redirector_cache_generation",] == 7
    assert numbers["mm_redirector_cache_generated_timestamp_seconds",] == now - 60
    assert numbers["mm_redirector_cache_age_seconds",] == pytest.approx(60, abs=20)
    assert numbers["mm_redirector_database_build_timestamp_seconds", "asn"] == now - 3600
    assert numbers["mm_redirector_database_age_seconds", "asn"] == pytest.approx(3600, abs=20)
    assert numbers["mm_redirector_reloads_total", "refused"] == 1
    assert numbers["mm_redirector_access_log_dropped_lines_total",] == 5
    assert numbers["mm_redirector_workers",] == 1
    assert numbers["process_resident_memory_bytes",] > 1e6


def test_whether_it_is_compiled_is_told() -> None:
    """Of both: `make test` runs this once more on the compiled modules."""
    expected = "no" if inspect.isfunction(Metrics.observe) else "yes"
    labels = [
        sample.labels
        for family in text_string_to_metric_families(Metrics(Sources()).exposition().decode())
        for sample in family.samples
        if sample.name == "mm_redirector_python_info"
    ]
    assert [each["compiled"] for each in labels] == [expected]


def test_without_a_cache_nothing_is_said_of_it() -> None:
    assert ("mm_redirector_cache_generation",) not in read(Metrics(Sources()))


def test_threads_lose_no_request_to_each_other() -> None:
    metrics = Metrics(Sources())
    threads = [threading.Thread(target=observe, args=(metrics, 20_000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert requests(metrics) == 80_000


def test_every_worker_tells_the_sum_and_the_oldest_cache(tmp_path: Path) -> None:
    first, other = started(tmp_path, index=lambda: (5, 1005)), Other(tmp_path, 3)
    observe(first, 4)
    numbers = read(first)
    assert numbers["mm_redirector_requests_total", "METALINK", "OK", "COUNTRY"] == 7
    assert numbers["mm_redirector_workers",] == 2
    assert numbers["mm_redirector_cache_generation",] == 3
    assert numbers["mm_redirector_cache_generated_timestamp_seconds",] == 1003
    other.end()
    first.close()


def test_a_killed_workers_counters_stay_and_its_gauges_go(tmp_path: Path) -> None:
    first, other = started(tmp_path, index=lambda: (5, 1005)), Other(tmp_path, 3)
    other.kill()
    numbers = read(first)
    assert numbers["mm_redirector_requests_total", "METALINK", "OK", "COUNTRY"] == 3
    assert numbers["mm_redirector_workers",] == 1
    assert numbers["mm_redirector_cache_generation",] == 5
    first.close()


def test_a_successor_counts_on_in_the_slot_of_the_dead(tmp_path: Path) -> None:
    first = started(tmp_path)
    for number in (3, 2, 1):
        Other(tmp_path, number).kill()
    assert requests(first) == 6
    assert len(list(tmp_path.glob("*.json"))) == 2
    first.close()


def test_what_a_worker_counts_last_is_kept_at_its_end(tmp_path: Path) -> None:
    first, other = started(tmp_path), Other(tmp_path, 3)
    other.end()
    assert requests(first) == 4
    first.close()


def test_the_sums_are_shown_to_others_without_being_asked(tmp_path: Path) -> None:
    metrics = started(tmp_path)
    observe(metrics)
    deadline = time.monotonic() + 20
    while '"requests"' not in (tmp_path / "0.json").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    metrics.close()


def test_a_directory_that_cannot_be_used_leaves_the_workers_own_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    metrics = started(tmp_path / "file")
    observe(metrics)
    assert requests(metrics) == 1
    assert "/metrics will tell of one worker only" in caplog.text
    metrics.close()


def test_a_directory_that_vanishes_costs_one_complaint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "metrics"
    metrics = started(directory)
    observe(metrics)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    with caplog.at_level(logging.ERROR):
        metrics.flush()
        assert requests(metrics) == 1
    assert len(caplog.records) == 1
    metrics.close()


def test_half_a_file_is_never_seen(tmp_path: Path) -> None:
    metrics = started(tmp_path)
    for number in range(50):
        observe(metrics)
        metrics.flush()
        shown = json.loads((tmp_path / "0.json").read_text())
        assert sum(row[2][3] for row in shown["counters"] if row[0] == "requests") == number + 1
    metrics.close()
