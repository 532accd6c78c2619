"""What the API can do, as one table: each operation says who may, by which scope, what it takes and what it answers.

The same declaration serves the request, describes the operation (openapi.py), and is walked by tests. To add one, write
a module with a view under @operation, and name it in views.py:

    @operation("POST", "/hosts/<int:host_id>/checkin", tag="check-in", scope=Scope.CHECKIN, who=CHANGE, body=Tree,
               answer=Counts, summary="Report what a private mirror carries")
    def check_in(body: Tree) -> Counts:
        ...

Ids in the path are found before, each below its parents: guards.reached() has them. What a view changes is committed
when it returns; it raises the services' errors, or Problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from typing import Any, Required, TypedDict, Unpack

from flask import Response, request
from flask.typing import ResponseReturnValue, RouteCallable
from pydantic import BaseModel

from mm_frontend.api import idempotency, packed
from mm_frontend.api.blueprint import PREFIX, blueprint
from mm_frontend.api.calling import Who, identify, permit
from mm_frontend.api.problems import Problem
from mm_frontend.db import session
from mm_frontend.guards import limiter, reached
from mm_lib.database import transaction
from mm_lib.services import access
from mm_lib.services.access import EVERYBODY
from mm_lib.services.tokens import Scope

View = Callable[..., BaseModel | None]
JSON_KINDS = ("application/json", "application/merge-patch+json")


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One row of the table."""

    method: str
    rule: str  # as Flask writes it, below the prefix
    view: View = field(repr=False)
    tag: str
    summary: str
    scope: Scope | None  # None: everybody may, so that there is nothing to allow
    who: Who
    person: bool = False  # no token of a site may
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None  # None: no content
    current: View | None = None  # shows what is changed, for If-Match
    at: Callable[[Any], str] | None = None  # the path of what was made
    max_body: int | None = None  # bytes, where it may be more than a form's
    problems: tuple[str, ...] = ()  # besides those that follow from all this
    limit: str = ""  # how often one address may, where that is less than of others
    secret: bool = False  # the answer holds one: it is kept nowhere

    @property
    def name(self) -> str:
        """Of the view: unique, and stays the same."""
        return self.view.__name__

    @property
    def about(self) -> str:
        """More than the summary says."""
        return (self.view.__doc__ or "").strip()

    @property
    def status(self) -> int:
        """Of the answer, when all is well."""
        made = HTTPStatus.CREATED if self.at else HTTPStatus.OK
        return made if self.answer else HTTPStatus.NO_CONTENT

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.method not in ("GET", "HEAD")

    @property
    def path(self) -> str:
        """As OpenAPI writes it."""
        return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", self.rule)


class Declared(TypedDict, total=False):
    """What a row says, as Operation has it."""

    tag: Required[str]
    summary: Required[str]
    scope: Required[Scope | None]
    who: Required[Who]
    person: bool
    body: type[BaseModel]
    query: type[BaseModel]
    answer: type[BaseModel]
    current: View
    at: Callable[[Any], str]
    max_body: int
    problems: tuple[str, ...]
    limit: str
    secret: bool


OPERATIONS: dict[str, Operation] = {}  # by endpoint
OPEN: set[str] = set()  # endpoints of pages about the API, for everybody


def operation(method: str, rule: str, **declared: Unpack[Declared]) -> Callable[[View], View]:
    """Put a view into the table."""
    if declared["scope"] is None and (declared["who"] != EVERYBODY or method != "GET"):
        raise ValueError(f"{method} {rule}: what is not for everybody to read needs a scope")

    def put(view: View) -> View:
        row = Operation(method=method, rule=rule, view=view, **declared)
        OPERATIONS[f"{blueprint.name}.{row.name}"] = row
        blueprint.add_url_rule(rule, row.name, _endpoint(row), methods=[method])
        return view

    return put


def _endpoint(row: Operation) -> RouteCallable:
    """What Flask calls."""

    @wraps(row.view)  # limits are counted by its name
    def endpoint(**ids: Any) -> ResponseReturnValue:
        return serve(row, ids)

    return limiter.limit(row.limit, override_defaults=False)(endpoint) if row.limit else endpoint


@blueprint.before_request
def authorise() -> None:
    """Who asks and whether they may, before anything else of the request is looked at."""
    if request.endpoint in OPEN:
        return
    row = OPERATIONS.get(request.endpoint or "")
    if row is None:
        raise Problem("not-allowed", "Nobody may do this: it is in no table of who may what.")
    identify()
    permit(row.who, row.scope, person=row.person)


def serve(row: Operation, ids: Mapping[str, Any]) -> ResponseReturnValue:
    """Answer a request that authorise() let through."""
    arguments = {name: value for name, value in ids.items() if name not in access.IDS}
    if row.query is not None:
        arguments["query"] = row.query.model_validate(request.args.to_dict())
    if row.body is not None:
        arguments["body"] = _read_body(row, row.body)
    if not row.changes:
        return _conditional(_respond(row, row.view(**arguments)))
    if row.secret:
        idempotency.refuse()
    with transaction(session()):
        if row.at is not None and not row.secret:
            return idempotency.once(lambda: _change(row, arguments))
        return _change(row, arguments)


def _change(row: Operation, arguments: Mapping[str, Any]) -> Response:
    _check_match(row)
    result = row.view(**arguments)
    session().flush()
    return _respond(row, result)


def _read_body(row: Operation, kind: type[BaseModel]) -> BaseModel:
    if row.max_body is not None:
        request.max_content_length = row.max_body
    if request.mimetype not in JSON_KINDS:
        raise Problem("media-type")
    return kind.model_validate_json(request.get_data() if row.max_body is None else packed.read())


def _respond(row: Operation, result: BaseModel | None) -> Response:
    if result is None:
        return Response(status=row.status)
    response = Response(result.model_dump_json(), row.status, content_type="application/json")
    response.add_etag()
    if row.secret:
        response.headers["Cache-Control"] = "no-store"
    if row.at is not None:
        response.headers["Location"] = PREFIX + row.at(result)
    return response


def _conditional(response: Response) -> Response:
    """Without its body to those who have it already."""
    response.vary.update(("Authorization", "Cookie"))
    response.make_conditional(request)
    return response


def _check_match(row: Operation) -> None:
    """Refuse to change what is not any more as the client saw it. Raises Problem."""
    if row.current is None or not request.if_match:
        return
    access.lock(session(), reached())
    seen = Response((row.current)().model_dump_json())  # type: ignore[union-attr]
    seen.add_etag()
    if not request.if_match.contains(seen.get_etag()[0] or ""):
        raise Problem("changed")
