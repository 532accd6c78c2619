"""Check repository rules, those in the database or those of a file, against examples and what is really there."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rstr import Rstr
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from mm_lib.model.content import Category, Directory, FileDetail
from mm_lib.rules.checking import Finding, clashes, unreachable
from mm_lib.rules.repositories import Rule
from mm_lib.services.content import find_category
from mm_lib.services.errors import InvalidValue
from mm_lib.services.rules import RuleEntry, below_topdir, list_rules, rule_of, rule_of_row

_EXAMPLES = 150
_PRINTABLE = dict.fromkeys(map(ord, "\t\n\r\v\f"), "x")  # no path that is scanned holds these


def check_rules(
    session: Session, only: Iterable[str] = (), entries: Mapping[str, Sequence[RuleEntry]] | None = None
) -> list[Finding]:
    """Every rule that is invalid, unreachable or clashes with another.

    Of all categories or only of some; with `entries`, of a file that is not loaded yet. Raises NotFound.
    """
    named = [find_category(session, name).name for name in only]
    categories = list(session.scalars(select(Category).order_by(Category.name)))
    findings: list[Finding] = []
    rules = {category.name: list(_stored(session, category.name, findings)) for category in categories}
    for name, given in (entries or {}).items():
        findings = [finding for finding in findings if finding.category != name]
        rules[name] = [rule_of(name, number, entry) for number, entry in enumerate(given, start=1)]
    paths = {category.name: repository_paths(session, category) for category in categories}
    shown = set(named or entries or rules)
    for name in sorted(shown):
        findings += unreachable(name, rules[name], examples, paths.get(name, []))
    findings += clashes(rules, paths)
    return [finding for finding in findings if finding.category in shown]


def _stored(session: Session, category: str, findings: list[Finding]) -> Iterator[Rule]:
    for row in list_rules(session, category):
        try:
            yield rule_of_row(category, row)
        except InvalidValue as error:
            findings.append(Finding(category, row.position, "invalid", str(error)))


def repository_paths(session: Session, category: Category) -> list[str]:
    """Directories of the category that hold a repository, by what was recorded of their metadata."""
    index = or_(FileDetail.filename.like("Packages%"), FileDetail.filename.like("Sources%"))
    query = (
        select(Directory.path, FileDetail.filename)
        .join(FileDetail, FileDetail.directory_id == Directory.id)
        .where(Directory.category_id == category.id, or_(FileDetail.filename.in_(("repomd.xml", "summary")), index))
        .distinct()
    )
    found = set()
    for path, filename in session.execute(query):
        below = below_topdir(category.topdir, path)
        if filename != "repomd.xml":
            found.add(below)
        elif below == "repodata" or below.endswith("/repodata"):
            found.add(below.removesuffix("repodata").removesuffix("/"))
    return sorted(found)


def examples(pattern: str) -> Iterator[str]:
    """Paths that match, the same at each call; none where the expression is one that only RE2 knows."""
    maker = Rstr(random.Random(0))  # noqa: S311 - no secret
    try:
        for _ in range(_EXAMPLES):
            yield maker.xeger(pattern).translate(_PRINTABLE)
    except (re.error, KeyError, OverflowError, RecursionError, ValueError):
        return
