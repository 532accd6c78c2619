"""Rules of a category, changed one by one: what other rules would make of its directories, compared with now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.model.content import Category, Directory, Repository, RepositoryRule
from mm_lib.rules.repositories import Decision, Match, Rule, RuleError, decide
from mm_lib.services import rule_checks, rules
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.places import Client, Effect
from mm_lib.services.rules import RuleEntry, below_topdir, rule_of

MAX_SHOWN = 200


@dataclass(frozen=True)
class CategoryRules:
    """A category, with how many rules it has."""

    category: Category
    rules: int


def list_categories(session: Session) -> list[CategoryRules]:
    """All, by name."""
    query = (
        select(Category, func.count(RepositoryRule.id))
        .outerjoin(RepositoryRule, RepositoryRule.category_id == Category.id)
        .group_by(Category.id)
        .order_by(Category.name)
    )
    return [CategoryRules(category, count) for category, count in session.execute(query)]


def find(session: Session, category_id: int) -> Category:
    """Raises NotFound."""
    category = session.get(Category, category_id)
    if category is None:
        raise NotFound("There is no such category.")
    return category


def entries(session: Session, category: Category) -> list[RuleEntry]:
    """Its rules as a file would have them, in order."""
    rows = rules.list_rules(session, category.name)
    names = ("pattern", "prefix", "version", "arch", "directory", "comment")
    return [RuleEntry(**{name: getattr(row, name) for name in names}, **row.flags) for row in rows]


def fingerprint(known: Sequence[RuleEntry]) -> str:
    """Changes with the rules: whoever changes them sees whether somebody else did meanwhile."""
    return hashlib.sha256(repr(list(known)).encode()).hexdigest()[:16]


def changed(
    known: Sequence[RuleEntry], position: int | None, entry: RuleEntry | None, to: int | None = None
) -> list[RuleEntry]:
    """The rules with one of them changed, moved, added (no position) or taken out (no entry). Raises NotFound."""
    after = list(known)
    if position is not None:
        if not 1 <= position <= len(after):
            raise NotFound(f"There is no rule {position}.")
        del after[position - 1]
    if entry is not None:
        place = to if to is not None else position if position is not None else len(after) + 1
        after.insert(min(max(place, 1), len(after) + 1) - 1, entry)
    return after


def effect(session: Session, category: Category, after: Sequence[RuleEntry]) -> Effect:
    """What other rules make of the directories that hold a repository. Raises InvalidValue."""
    then = [rule_of(category.name, number, entry) for number, entry in enumerate(after, start=1)]
    now = _usable(entries(session, category))
    paths = sorted({*rule_checks.repository_paths(session, category), *_known(session, category)})
    differences = [
        Client(path or "(the topdir)", one, other)
        for path in paths
        if (one := _told(decide(now, path))) != (other := _told(decide(then, path)))
    ]
    told = [f"{len(differences)} of {len(paths)} directories with a repository are treated in another way."]
    if len(differences) > MAX_SHOWN:
        told.append(f"The first {MAX_SHOWN} are shown.")
    told.append("The next scan of the master applies them; repositories that are pinned stay.")
    findings = rule_checks.check_rules(session, [category.name], {category.name: after})
    told += [f"Rule {each.position}: {each.message}" for each in findings if each.kind != "invalid"]
    return Effect(told, (), differences[:MAX_SHOWN], "Directory")


def _usable(known: Sequence[RuleEntry]) -> list[Rule]:
    """As far as they can be used: a bad rule that is about to be mended must not be in the way."""
    found = []
    for number, entry in enumerate(known, start=1):
        try:
            found.append(rule_of("", number, entry))
        except (InvalidValue, RuleError):
            continue
    return found


def _known(session: Session, category: Category) -> list[str]:
    query = (
        select(Directory.path)
        .join(Repository, Repository.directory_id == Directory.id)
        .where(Directory.category_id == category.id)
    )
    return [below_topdir(category.topdir, path) for path in session.scalars(query)]


def _told(decision: Decision) -> str:
    if not isinstance(decision, Match):
        return f"no repository: {decision.reason}{f' ({decision.detail})' if decision.detail else ''}"
    name = f"repo={decision.prefix}" if decision.prefix else "no repo="
    more = [f"version {decision.version}", *(["test"] if decision.is_test else [])]
    where = f", at {decision.directory}" if decision.directory else ""
    return f"{name}&arch={decision.arch} ({', '.join(more)}){where}"


def save(session: Session, category: Category, after: Sequence[RuleEntry], base: str) -> None:
    """Replace the rules. Raises InvalidValue, also when they are not those any more that were looked at."""
    if fingerprint(entries(session, category)) != base:
        raise InvalidValue("rules", "somebody else changed the rules of this category meanwhile. Begin again")
    rules.replace_rules(session, category, after)
