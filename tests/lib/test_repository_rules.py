"""Which repository a path is: the rule engine, and the shipped rules against every row that matters."""

from __future__ import annotations

from importlib import resources

import pytest

from mm_lib.rules.repositories import Match, NoMatch, Reason, Rule, RuleError, decide, explain
from mm_lib.services.rules import parse_rules

TEXT = resources.files("mm_lib.data").joinpath("rules/fedora.toml").read_text(encoding="utf-8")
SHIPPED = {
    name: tuple(
        Rule(**entry.model_dump(exclude={"comment"}), position=position) for position, entry in enumerate(entries, 1)
    )
    for name, entries in parse_rules(TEXT).items()
}

NO_KEY = ""  # a repository that only says that a version has an arch

FEDORA = [
    ("releases/41/Everything/x86_64/os", "fedora-41", "41", "x86_64"),
    ("releases/41/Everything/aarch64/debug/tree", "fedora-debug-41", "41", "aarch64"),
    ("releases/41/Everything/source/tree", "fedora-source-41", "41", "source"),
    ("releases/20/Everything/x86_64/debug", "fedora-debug-20", "20", "x86_64"),
    ("releases/20/Everything/source/SRPMS", "fedora-source-20", "20", "source"),
    ("development/42/Everything/x86_64/os", "fedora-42", "42", "x86_64"),
    ("development/42/Everything/x86_64/debug/tree", "fedora-debug-42", "42", "x86_64"),
    ("development/42/Everything/source/tree", "fedora-source-42", "42", "source"),
    ("development/rawhide/Everything/x86_64/os", "rawhide", "development", "x86_64"),
    ("development/rawhide/Everything/x86_64/debug/tree", "rawhide-debug", "development", "x86_64"),
    ("development/rawhide/Everything/source/tree", "rawhide-source", "development", "source"),
    ("releases/28/Modular/x86_64/os", "fedora-modular-28", "28", "x86_64"),
    ("releases/28/Modular/x86_64/debug/tree", "fedora-modular-debug-28", "28", "x86_64"),
    ("releases/28/Modular/source/tree", "fedora-modular-source-28", "28", "source"),
    ("development/rawhide/Modular/x86_64/os", "rawhide-modular", "development", "x86_64"),
    ("development/rawhide/Modular/x86_64/debug/tree", "rawhide-modular-debug", "development", "x86_64"),
    ("development/rawhide/Modular/source/tree", "rawhide-modular-source", "development", "source"),
    ("updates/41/Everything/x86_64", "updates-released-f41", "41", "x86_64"),
    ("updates/41/Everything/x86_64/debug", "updates-released-debug-f41", "41", "x86_64"),
    ("updates/41/Everything/source/tree", "updates-released-source-f41", "41", "source"),
    ("updates/testing/41/Everything/x86_64", "updates-testing-f41", "41", "x86_64"),
    ("updates/testing/41/Everything/x86_64/debug", "updates-testing-debug-f41", "41", "x86_64"),
    ("updates/testing/41/Everything/source/tree", "updates-testing-source-f41", "41", "source"),
    ("updates/41/Modular/x86_64", "updates-released-modular-f41", "41", "x86_64"),
    ("updates/testing/41/Modular/x86_64", "updates-testing-modular-f41", "41", "x86_64"),
    ("updates/41/x86_64", NO_KEY, "41", "x86_64"),
    ("releases/20/Fedora/x86_64/os", "fedora-install-20", "20", "x86_64"),
    ("releases/20/Fedora/source/SRPMS", NO_KEY, "20", "source"),
    ("development/22/x86_64/os", NO_KEY, "22", "x86_64"),
    ("atomic/21", "atomic-21", "21", "x86_64"),
    ("atomic/rawhide", "atomic-rawhide", "development", "x86_64"),
]
EPEL = [
    ("9/Everything/x86_64", "epel-9", "9", "x86_64"),
    ("9/Everything/x86_64/debug", "epel-debug-9", "9", "x86_64"),
    ("9/Everything/source/tree", "epel-source-9", "9", "source"),
    ("7/SRPMS", "epel-source-7", "7", "source"),
    ("9/x86_64", "epel-9", "9", "x86_64"),
    ("7/x86_64/debug", "epel-debug-7", "7", "x86_64"),
    ("testing/7/SRPMS", "testing-source-epel7", "7", "source"),
    ("testing/7/x86_64", "testing-epel7", "7", "x86_64"),
    ("testing/9/Everything/x86_64", "testing-epel9", "9", "x86_64"),
    ("testing/9/Everything/x86_64/debug", "testing-debug-epel9", "9", "x86_64"),
    ("testing/9/Everything/source/tree", "testing-source-epel9", "9", "source"),
    ("testing/10/Everything/x86_64", "epel-testing-10", "10", "x86_64"),
    ("8/Modular/x86_64", "epel-modular-8", "8", "x86_64"),
    ("testing/8/Modular/x86_64", "testing-modular-epel8", "8", "x86_64"),
    ("playground/8/Everything/x86_64/os", "playground-epel8", "8", "x86_64"),
    ("playground/8/Everything/source/tree", "playground-source-epel8", "8", "source"),
    ("next/9/Everything/x86_64", "epel-next-9", "9", "x86_64"),
    ("next/9/Everything/x86_64/debug", "epel-next-debug-9", "9", "x86_64"),
    ("next/9/Everything/source/tree", "epel-next-source-9", "9", "source"),
    ("testing/next/9/Everything/x86_64", "epel-testing-next-9", "9", "x86_64"),
    ("10.0/Everything/x86_64", "epel-z-10.0", "10.0", "x86_64"),
    ("10.0z/Everything/x86_64", "epel-z-10.0", "10.0", "x86_64"),
    ("10.0/Everything/x86_64/debug", "epel-z-debug-10.0", "10.0", "x86_64"),
    ("testing/10.0/Everything/x86_64", "epel-z-testing-10.0", "10.0", "x86_64"),
    ("testing/10.0/Everything/source/tree", "epel-z-testing-source-10.0", "10.0", "source"),
]


@pytest.mark.parametrize(("path", "prefix", "version", "arch"), FEDORA)
def test_fedora_linux(path: str, prefix: str, version: str, arch: str) -> None:
    decision = decide(SHIPPED["Fedora Linux"], path)
    assert isinstance(decision, Match)
    assert (decision.prefix, decision.version, decision.arch) == (prefix, version, arch)
    assert not decision.is_test and decision.display


@pytest.mark.parametrize(("path", "prefix", "version", "arch"), EPEL)
def test_fedora_epel(path: str, prefix: str, version: str, arch: str) -> None:
    decision = decide(SHIPPED["Fedora EPEL"], path)
    assert isinstance(decision, Match)
    assert (decision.prefix, decision.version, decision.arch) == (prefix, version, arch)


@pytest.mark.parametrize("path", ["releases/41/Server/x86_64/os", "releases/44/Workstation/x86_64/os", "Cloud/44"])
def test_installation_trees_are_known_to_be_no_repositories(path: str) -> None:
    decision = decide(SHIPPED["Fedora Linux"], path)
    assert isinstance(decision, NoMatch) and decision.reason is Reason.SKIPPED


@pytest.mark.parametrize("path", ["", "core/6/i386/os", "epel/7/x86_64", "releases/41/Everything/x86_64"])
def test_other_layouts_match_no_rule(path: str) -> None:
    assert decide(SHIPPED["Fedora Linux"], path) == NoMatch(Reason.NO_RULE)


@pytest.mark.parametrize("folder", ["releases/test", "stage"])
def test_a_test_release_has_no_key_and_is_not_displayed(folder: str) -> None:
    decision = decide(SHIPPED["Fedora Linux"], f"{folder}/42_Beta/Everything/x86_64/os")
    assert isinstance(decision, Match)
    assert (decision.prefix, decision.version, decision.is_test, decision.display) == ("", "42_Beta", True, False)


def test_no_shipped_rule_is_without_a_path_that_it_decides() -> None:
    """A rule that an earlier one hides, or that nobody tried, is a mistake in the file."""
    for category, rows in (("Fedora Linux", FEDORA), ("Fedora EPEL", EPEL)):
        others = ["releases/41/Server/x86_64/os", "stage/42_Beta/Everything/x86_64/os", "releases/test/x"]
        deciding = {decide(SHIPPED[category], path).position for path in [row[0] for row in rows] + others}
        assert {rule.position for rule in SHIPPED[category]} - deciding == set()


# -- the engine

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
        "does not match",
        "matches and decides",
        "would match, but rule 2 comes first",
    ]
    assert found.decision == decide(rules, "bb")


@pytest.mark.parametrize(
    ("values", "field"),
    [
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
