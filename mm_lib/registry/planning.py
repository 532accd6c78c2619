"""A plan: what would be done so that the registry is as files say, what would be refused, and what is left alone.

A plan can be saved; it then holds what the files said and a fingerprint of the registry that it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from mm_lib.registry.carry_out import Powers, Refusal, carry_out, trial
from mm_lib.registry.current import Sites, fingerprint, read_sites
from mm_lib.registry.documents import SiteFile, plain
from mm_lib.registry.steps import Action, Step, known_as, steps
from mm_lib.services.errors import InvalidValue, ServiceError

FORMAT = 1  # of a saved plan


class ChangedMeanwhile(ServiceError):
    """The registry is not as it was when the plan was made."""


@dataclass(frozen=True)
class Wish:
    """What files ask for."""

    sites: Sequence[SiteFile]
    complete: bool  # they describe every site: what they do not name is to go
    delete: bool  # what they do not name is deleted, else it is left alone


@dataclass(frozen=True)
class Plan:
    """What would happen."""

    wish: Wish
    fingerprint: str
    steps: Sequence[Step]
    left: Sequence[Step]  # deletions that nobody asked for
    refused: Sequence[Refusal]


def make_plan(session: Session, wish: Wish, powers: Powers, progress: Callable[[], object] = lambda: None) -> Plan:
    """Find out what would happen, by trying. The session must be rolled back afterwards."""
    current = read_sites(session, powers.now)
    todo, left = _steps(current, wish)
    return Plan(wish, concern(current, wish), todo, left, trial(session, todo, powers, progress))


def carry_out_plan(
    session: Session, wish: Wish, powers: Powers, expected: str | None, progress: Callable[[], object] = lambda: None
) -> Plan:
    """Make the registry as files say. Raises Refused, and ChangedMeanwhile when it is not as `expected` says."""
    current = read_sites(session, powers.now)
    found = concern(current, wish)
    if expected not in (None, found):
        raise ChangedMeanwhile("The registry was changed after the plan was made. Nothing was done; make a new plan.")
    todo, left = _steps(current, wish)
    carry_out(session, todo, powers, progress)
    return Plan(wish, found, todo, left, [])


def _steps(current: Sites, wish: Wish) -> tuple[list[Step], list[Step]]:
    found = steps(current, wish.sites, wish.complete)
    if wish.delete:
        return found, []
    left = [step for step in found if step.action is Action.REMOVE]
    return [step for step in found if step.action is not Action.REMOVE], left


def concern(current: Sites, wish: Wish) -> str:
    """The fingerprint of what a wish is about."""
    if wish.complete:
        return fingerprint(current)
    concerned = [known_as(current, site) for site in wish.sites]
    return fingerprint({site.name: site for site in concerned if site})


# -- saved


def save(plan: Plan) -> str:
    """A plan as JSON: the wish and the fingerprint; the steps are for readers."""
    values = {
        "format": FORMAT,
        "fingerprint": plan.fingerprint,
        "complete": plan.wish.complete,
        "delete": plan.wish.delete,
        "sites": [plain(site) for site in plan.wish.sites],
        "steps": [as_json(step) for step in plan.steps],
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def restore(text: str) -> tuple[Wish, str]:
    """The wish and the fingerprint of a saved plan. Raises InvalidValue."""
    try:
        values = json.loads(text)
        if values["format"] != FORMAT:
            raise InvalidValue("plan", f"has format {values['format']!r}; this version knows {FORMAT}")
        sites = [SiteFile.model_validate(site) for site in values["sites"]]
        return Wish(sites, bool(values["complete"]), bool(values["delete"])), str(values["fingerprint"])
    except (ValueError, LookupError, TypeError, RecursionError, ValidationError):
        raise InvalidValue("plan", "is no plan that `mm-admin plan --out` wrote") from None


def as_json(step: Step) -> dict[str, Any]:
    """A step for a program."""
    return {
        "action": step.action.name.lower(),
        "kind": step.kind,
        "site": step.site,
        "host": step.host,
        "category": step.category,
        "subject": step.subject,
        "before": values(step.before),
        "after": values(step.after),
    }


def values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON holds them."""
    return {name: value.model_dump() if hasattr(value, "model_dump") else value for name, value in fields.items()}
