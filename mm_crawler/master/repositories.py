"""Which repositories a scan creates and moves, and which it leaves alone although the rules say otherwise."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mm_lib.rules.repositories import Match, NoMatch, Reason, Rule, decide


@dataclass(frozen=True)
class KnownRepository:
    """A repository that is recorded; `where` is its directory's path below the content root."""

    id: int
    prefix: str | None
    arch: str
    directory_id: int | None
    where: str
    pinned: bool


@dataclass(frozen=True)
class NewRepository:
    """A repository to create."""

    directory_id: int
    match: Match


@dataclass
class RepositoryPlan:
    """What a scan does about repositories."""

    create: list[NewRepository] = field(default_factory=list)
    move: list[tuple[int, int]] = field(default_factory=list)  # repository id, directory id
    unmatched: int = 0
    problems: list[str] = field(default_factory=list)


def plan(
    candidates: Collection[str],
    directories: Mapping[str, int],
    rules: Sequence[Rule],
    known: Iterable[KnownRepository],
    arches: frozenset[str],
) -> RepositoryPlan:
    """Decide about every directory that holds a repository; `directories` are at least these and those above them."""
    result = RepositoryPlan()
    if candidates and not rules:
        result.unmatched = len(candidates)
        result.problems.append(
            f"{len(candidates)} repositories, but the category has no rules; `mm-admin rules load` loads some"
        )
        return result
    matches = _matches(candidates, rules, arches, result)
    by_key = {(repository.prefix, repository.arch): repository for repository in known if repository.prefix}
    without_key = {(repository.directory_id, repository.arch) for repository in known if not repository.prefix}
    taken: dict[tuple[str, str], str] = {}  # key -> directory
    # Where two directories claim one key, the earlier rule's wins: rules name releases before development.
    for path, match in sorted(matches, key=lambda item: (item[1].position, item[0])):
        where = match.directory or path
        id_ = directories[where]
        if not match.prefix:
            if (id_, match.arch) not in without_key:
                without_key.add((id_, match.arch))
                result.create.append(NewRepository(id_, match))
            continue
        key = (match.prefix, match.arch)
        if key not in taken:
            _place(result, where, id_, match, by_key.get(key))
            taken[key] = where
        elif taken[key] != where:  # the components of an APT suite share its key
            result.problems.append(f"{where}: repo={key[0]} arch={key[1]} is already {taken[key]}")
    return result


def _matches(
    candidates: Iterable[str], rules: Sequence[Rule], arches: frozenset[str], result: RepositoryPlan
) -> list[tuple[str, Match]]:
    found = []
    for path in sorted(candidates):
        match decide(rules, path):
            case Match() as decision if decision.arch in arches:
                found.append((path, decision))
            case Match() as decision:
                result.unmatched += 1
                result.problems.append(f"{path}: no repository, there is no arch {decision.arch!r}")
            case NoMatch(reason=Reason.SKIPPED):
                pass
            case NoMatch() as refusal:
                result.unmatched += 1
                result.problems.append(
                    f"{path}: no repository, {refusal.reason}{refusal.detail and ': '}{refusal.detail}"
                )
    return found


def _place(result: RepositoryPlan, path: str, directory_id: int, match: Match, known: KnownRepository | None) -> None:
    if known is None:
        result.create.append(NewRepository(directory_id, match))
    elif known.directory_id == directory_id:
        return
    elif known.pinned:
        result.problems.append(_stays(path, match, known, "it is pinned"))
    elif known.directory_id is not None:
        result.problems.append(_stays(path, match, known, "that directory still exists"))
    else:
        result.move.append((known.id, directory_id))


def _stays(path: str, match: Match, known: KnownRepository, reason: str) -> str:
    where = known.where or "no directory"
    return f"{path}: repo={match.prefix} arch={match.arch} stays with {where}: {reason}"
