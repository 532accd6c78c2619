"""Latencies are left out where the clients themselves were kept waiting, and only there."""

from __future__ import annotations

import pytest

from tests.bench.load import Sample, blurred, clear

GAPS = [(1.0, 1.002), (2.0, 2.001), (2.003, 2.004)]  # seconds


def sample(due: float, latency: float) -> Sample:
    return Sample(due, latency, 200)


def test_what_was_due_or_answered_while_the_client_was_away_is_blurred() -> None:
    assert blurred(sample(1.0015, 0.0008), GAPS)  # due in it, sent after it
    assert blurred(sample(0.9995, 0.0026), GAPS)  # its answer was read after it
    assert blurred(sample(1.9999, 0.0039), GAPS)  # in two of them, which explain half of it together


def test_a_request_that_met_no_gap_is_clear_however_long_it_took() -> None:
    for due, latency in ((0.5, 0.4), (1.002, 0.9), (2.0042, 3.0)):
        assert not blurred(sample(due, latency), GAPS)
    assert not blurred(sample(0.5, 0.4), [])


def test_a_stall_of_the_server_is_not_excused_by_a_moment_that_the_client_lost_in_it() -> None:
    assert not blurred(sample(1.99, 0.05), GAPS)


def test_it_says_how_many_are_left_out_and_refuses_to_judge_by_the_few_that_are_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen, hidden = sample(0.0, 0.001), sample(1.0, 0.001)._replace(blurred=True)
    assert clear([seen] * 9 + [hidden]) == [seen] * 9
    assert capsys.readouterr().out.startswith("10.00% of 10 requests are left out")
    with pytest.raises(RuntimeError, match="too many"):
        clear([seen] * 4 + [hidden] * 6)
