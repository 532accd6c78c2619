"""A plan as text that people review: a line per object and per field, marked +, ~ or -."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from mm_lib.registry.planning import Plan, values
from mm_lib.registry.steps import Action, Step

Where = Callable[[Step], str]
_NAMES = {"url": "URL", "asn": "network", "acl address": "address for pulling"}


def lines(plan: Plan, where: Where) -> Iterator[str]:
    """The plan, site by site and host by host. `where` says which line of which file asks for a step."""
    reasons = {id(refusal.step): refusal.reason for refusal in plan.refused}
    left = {id(step) for step in plan.left}
    place: tuple[str, str] = ("", "")
    for step in sorted([*plan.steps, *plan.left], key=_order):
        indent = "" if step.kind == "site" else "    " if step.host and step.kind != "host" else "  "
        if place != (here := (step.site, step.host)):
            yield from _headings(place, step)
            place = here
        note = "   (left alone without --delete)" if id(step) in left else ""
        yield f"{indent}{_line(step)}{note}"
        for text in _fields(step):
            yield f"{indent}    {text}"
        if id(step) in reasons:
            yield f"{indent}    ! would be refused: {reasons[id(step)]} ({where(step)})"
    yield summary(plan)


def _order(step: Step) -> tuple[str, str, bool]:
    """What is said of a site or host itself comes before what belongs to it."""
    return step.site, step.host, step.kind not in ("site", "host")


def _headings(place: tuple[str, str], step: Step) -> Iterator[str]:
    """Whose the next lines are, when no line of its own says so."""
    if step.site != place[0] and step.kind != "site":
        yield f"  site {step.site}"
    if step.host and step.kind != "host":
        yield f"    host {step.host}"


def _line(step: Step) -> str:
    kind = _NAMES.get(step.kind, step.kind)
    within = f" in {step.category}" if step.category else ""
    along = f" and {step.with_it} {'host' if step.kind == 'site' else 'URL'}(s)" if step.with_it else ""
    if step.kind == "state":
        return _switch(step)
    return f"{step.action.value} {kind} {step.subject}{within}{along}"


def _switch(step: Step) -> str:
    if step.after["by"]:
        return f"~ switched off by its {step.after['by']}: {step.after['reason']}".replace("its admin", "an admin")
    return f"~ switched on (it was off: {step.before['reason']})"


def _fields(step: Step) -> Iterator[str]:
    if step.kind == "state":
        return
    before, after = values(step.before), values(step.after)
    for name in after:
        new = json.dumps(after[name], ensure_ascii=False, default=str)
        if step.action is Action.ADD:
            yield f"{name}: {new}"
        else:
            yield f"~ {name}: {json.dumps(before[name], ensure_ascii=False, default=str)} -> {new}"


def summary(plan: Plan) -> str:
    """How much there is to do."""
    if not plan.steps and not plan.left:
        return "Nothing to do: the registry is as the files say."
    counted = {action: sum(step.action is action for step in plan.steps) for action in Action}
    text = f"{counted[Action.ADD]:,} to add, {counted[Action.CHANGE]:,} to change, {counted[Action.REMOVE]:,} to delete"
    if plan.left:
        text += f"; {len(plan.left):,} left alone that --delete would delete"
    if plan.refused:
        text += f"; {len(plan.refused):,} would be refused, so that nothing would be done"
    return f"{text}."
