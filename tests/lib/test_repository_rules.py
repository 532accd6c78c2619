"""Which repository a path is: the rule engine."""

from __future__ import annotations

import pytest

from mm_lib.rules.repositories import Match, NoMatch, Reason, Rule, RuleError, decide, explain

TREE = r"(?P<top>[^/]+)/(?P<version>[\d.]+)(?:/(?P<debug>debug)|/(?P<source>source))?/(?P<arch>\w+)"


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("BaseOS/76/x86_64", "some-baseos-f76"),
        ("BaseOS/76/debug/x86_64", "some-baseos-debug-f76"),
        ("BaseOS/76/source/x86_64", "some-baseos-source-f76"),
    ],
)
def test_templates_lower_case_and_leave_out_what_took_no_part(path: str, prefix: str) -> None:
    decision = decide([Rule(TREE, prefix="some-{top|lower}{-debug}{-source}-f{version}")], path)
    assert isinstance(decision, Match) and decision.prefix == prefix


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("top/77/base", "77"),
        ("top/8.8/base", "8.8"),
        ("top/development/rawhide/os", "development"),
        ("top/development/1030/os", "1030"),
        ("SIGs/9-stream/infra/x86_64", "9-stream"),
        ("top/development/os", None),
        ("", None),
    ],
)
def test_versions_come_from_the_path(path: str, version: str | None) -> None:
    rules = [
        Rule(r"(?:.*/)?rawhide(?:/.*)?", version="development", arch="x86_64", position=1),
        Rule(r"(?:.*/)?(?P<version>\d[\d.]*(?:[-_]\w+)?)/.*", arch="x86_64", position=2),
    ]
    decision = decide(rules, path)
    assert (decision.version if isinstance(decision, Match) else None) == version


def test_the_first_rule_that_matches_decides_even_when_it_cannot_be_used() -> None:
    rules = [Rule(r"(?P<version>.*)/x", arch="noarch", position=1), Rule(r".*", version="1", arch="noarch", position=2)]
    assert decide(rules, "a b/x") == NoMatch(Reason.UNUSABLE, 1, "version 'a b'")
    assert isinstance(decide(rules, "y"), Match)


def test_a_pattern_must_match_the_whole_path() -> None:
    assert decide([Rule("releases", version="1", arch="x")], "releases/44") == NoMatch(Reason.NO_RULE)


def test_an_explanation_says_what_became_of_every_rule() -> None:
    rules = [
        Rule("a", version="1", arch="x", position=1),
        Rule("b+", version="1", arch="x", position=2),
        Rule("b.*", skip=True, position=3),
    ]
    found = explain(rules, "bb")
    assert [step.outcome for step in found.steps] == [
        "does not match: it does not begin with a",
        "matches and decides",
        "would match, but rule 2 comes first",
    ]
    assert found.decision == decide(rules, "bb")


@pytest.mark.parametrize(
    ("pattern", "outcome"),
    [
        (r"releases/\d+/os", r"does not match: after releases there is no \d+"),
        (r"updates/\d+", "does not match: it does not begin with updates"),
        (r"releases/[^/]+/(?:os|debug/tree)", "does not match: after releases/[^/]+ there is no (?:os|debug/tree)"),
        (r"releases/rawhide", "does not match: the path goes on"),
        (r"a/b|c/d", "does not match"),
        (r"[]/a]/b", "does not match: it does not begin with []"),
        (r"releases\/x", "does not match: it does not begin with releases\\/x"),
    ],
)
def test_an_explanation_says_how_far_a_rule_gets(pattern: str, outcome: str) -> None:
    (step,) = explain([Rule(pattern, version="1", arch="x")], "releases/rawhide/x86_64").steps
    assert step.outcome == outcome


def test_a_repository_may_stand_above_the_path_that_matches() -> None:
    pattern = "(?P<top>.*)/(?P<version>[a-z]+)/main/(?P<arch>.*)"
    decision = decide([Rule(pattern, directory="{top}/{version}")], "debian/dists/sid/main/amd64")
    assert isinstance(decision, Match) and decision.directory == "debian/dists/sid"
    elsewhere = decide([Rule(pattern, directory="{version}/main")], "debian/dists/sid/main/amd64")
    assert elsewhere == NoMatch(Reason.UNUSABLE, 1, "directory 'sid/main' is not above the path")


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(.*)*b", "(a*)*(a*)*(a*)*b"])
def test_no_pattern_takes_more_than_linear_time(pattern: str) -> None:
    """With the standard library's engine these would take longer than the universe is old."""
    assert decide([Rule(pattern, version="1", arch="x")], "a" * 10_000) == NoMatch(Reason.NO_RULE)


def test_an_expression_with_look_around_is_refused_with_advice() -> None:
    with pytest.raises(RuleError, match="it has no look-around; order alternatives or rules instead"):
        Rule("(?!source)x", skip=True)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"pattern": r"(a)\1", "version": "1", "arch": "x"}, "pattern"),
        ({"pattern": "a{2000}{1000}", "version": "1", "arch": "x"}, "pattern"),
        ({"pattern": "(?P<version>x)", "arch": "y", "directory": "{suite}"}, "directory"),
        ({"pattern": "("}, "pattern"),
        ({"pattern": " "}, "pattern"),
        ({"pattern": "x"}, "version"),
        ({"pattern": "(?P<version>x)", "arch": "y", "prefix": "{release}"}, "prefix"),
        ({"pattern": "(?P<version>x)", "arch": "{"}, "arch"),
        ({"pattern": "(?P<version>x)", "arch": ""}, "arch"),
        ({"pattern": "(?P<version>x)", "arch": "a b"}, "arch"),
        ({"pattern": "(?P<version>x)", "arch": "y", "prefix": "{version|upper}"}, "prefix"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_when_it_is_made(values: dict[str, str], field: str) -> None:
    with pytest.raises(RuleError) as caught:
        Rule(**values)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_rule_that_skips_needs_no_templates() -> None:
    assert decide([Rule("x", skip=True, position=7)], "x") == NoMatch(Reason.SKIPPED, 7)
