"""The report that every importer fills."""

from __future__ import annotations

from mm_lib.importers.report import SHOWN_ALIKE, Note, Outcome, Report


def test_what_is_refused_is_counted_and_says_where_and_why() -> None:
    report = Report()
    report.count(Outcome.TAKEN, "url", 3)
    report.refused("url", "a.yml:7", "gopher://m.example", "must begin with one of https://")
    assert report.as_json() == {
        "counts": {"url": {"taken": 3, "changed": 0, "unchanged": 0, "repaired": 0, "refused": 1}},
        "notes": [
            {
                "outcome": "refused",
                "kind": "url",
                "where": "a.yml:7",
                "subject": "gopher://m.example",
                "reason": "must begin with one of https://",
            }
        ],
    }


def test_a_terminal_gets_the_first_of_many_alike_and_how_many_more() -> None:
    report = Report()
    for number in range(SHOWN_ALIKE + 5):
        report.add(Note(Outcome.REPAIRED, "country", f"line {number}", "UK", "GB is meant"))
    rows = report.note_rows()
    assert len(rows) == SHOWN_ALIKE + 1
    assert rows[-1]["subject"] == "and 5 more"
    assert report.total(Outcome.REPAIRED) == SHOWN_ALIKE + 5
