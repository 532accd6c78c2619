"""Redirects of repositories as administrators look after them: where each leads, and what a new one would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.content import Repository, RepositoryRedirect
from mm_lib.services import changes, releases
from mm_lib.services.places import Client, Effect

NOTHING = "no such repository"


@dataclass(frozen=True)
class RedirectRow:
    """A redirect, with how many repositories it leads to, and how many of its own it hides."""

    row: RepositoryRedirect
    reached: int
    hidden: int
    chained: bool  # it leads to another redirect, which no redirector follows


def list_all(session: Session) -> list[RedirectRow]:
    """All, by what clients ask for."""
    rows = session.scalars(select(RepositoryRedirect).order_by(RepositoryRedirect.from_prefix)).all()
    wanted = {prefix for row in rows for prefix in (row.from_prefix, row.to_prefix)}
    query = select(Repository.prefix).where(Repository.prefix.in_(wanted), Repository.directory_id.is_not(None))
    counted = Counter(session.scalars(query))
    redirected = {row.from_prefix for row in rows}
    return [
        RedirectRow(row, counted[row.to_prefix], counted[row.from_prefix], row.to_prefix in redirected) for row in rows
    ]


def effect(session: Session, from_prefix: str, to_prefix: str | None) -> Effect:
    """What clients of a repository get instead; None: without the redirect. Raises InvalidValue, NotFound."""
    plan = releases.redirect(session, from_prefix, to_prefix)
    if not plan.changes:
        return Effect(["Nothing changes: it is redirected there already."])
    from_prefix = plan.subject
    known = session.scalar(select(RepositoryRedirect.to_prefix).where(RepositoryRedirect.from_prefix == from_prefix))
    target = to_prefix.strip() if to_prefix is not None else from_prefix
    now, then = _by_arch(session, known or from_prefix), _by_arch(session, target)
    told = [f"Clients that ask for {from_prefix} are answered with {target}, from the next cache on."]
    if not then:
        told.append(f"There is no repository {target} yet: they get an error until there is one.")
    own = _by_arch(session, from_prefix) if known is None and to_prefix is not None else {}
    if own:
        told.append(f"{from_prefix} has repositories of its own ({', '.join(sorted(own))}); nobody gets them any more.")
    clients = [
        Client(f"repo={from_prefix}&arch={arch}", now.get(arch, NOTHING), then.get(arch, NOTHING))
        for arch in sorted({*now, *then})
    ]
    return Effect(told, (), clients)


def _by_arch(session: Session, prefix: str) -> dict[str, str]:
    """Arch -> where its repository is."""
    joined = (joinedload(path) for path in (Repository.arch, Repository.category, Repository.directory))
    found: Sequence[Repository] = session.scalars(
        select(Repository).where(Repository.prefix == prefix).options(*joined)
    ).all()
    return {row.arch.name: _place(row) for row in found}


def _place(row: Repository) -> str:
    if row.directory is None:
        return "a repository without directory"
    return f"{row.directory.path} ({row.category.name})" + ("" if row.enabled else ", switched off")


def save(session: Session, from_prefix: str, to_prefix: str | None, by: str) -> None:
    """Redirect a repository, or (None) no longer. Raises InvalidValue, NotFound, ChangedMeanwhile."""
    changes.apply(session, releases.redirect(session, from_prefix, to_prefix), by)
