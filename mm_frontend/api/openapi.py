"""The API in the words of OpenAPI 3.1, made from the table of operations and the models that it works with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from mm_frontend.api.blueprint import PREFIX, VERSION
from mm_frontend.api.idempotency import HEADER, LONGEST
from mm_frontend.api.operation import JSON_KINDS, OPERATIONS, Operation
from mm_frontend.api.problems import KIND, TYPES
from mm_lib.services.access import ADMINISTER, AUDIT, EVERYBODY, LARGEST_ID, SIGNED_IN
from mm_lib.services.tokens import ABOUT

Json = dict[str, Any]
Refs = Mapping[tuple[Any, JsonSchemaMode], Json]  # model and what for -> where it is described
_REF = "#/components/schemas/{model}"
_WHO = {EVERYBODY: "everybody", SIGNED_IN: "whoever is known", AUDIT: "auditors and administrators"}
_WHO |= {ADMINISTER: "administrators"}
_ETAG = {
    "description": "Of this answer; send it as If-None-Match, or as If-Match with a change.",
    "schema": {"type": "string"},
}


def document(title: str) -> Json:
    """The whole description."""
    rows = list(OPERATIONS.values())
    schemas, refs = _schemas(rows)
    paths: dict[str, Json] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{title}: the API",
            "version": VERSION,
            "description": "Mirrors, who runs them, what they carry and how fresh it is. "
            "Errors are application/problem+json (RFC 9457); lists are read page by page by their cursor.",
        },
        "servers": [{"url": PREFIX}],
        "tags": [{"name": tag} for tag in dict.fromkeys(row.tag for row in rows)],
        "paths": paths,
        "components": {
            "schemas": schemas | {"Problem": _problem()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token. Scopes: "
                    + "; ".join(f"{scope.value}: {about}" for scope, about in ABOUT.items()),
                },
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
            },
        },
    }


def _schemas(rows: Iterable[Operation]) -> tuple[Json, Refs]:
    inputs = [row.body for row in rows if row.body] + [row.query for row in rows if row.query]
    outputs = [row.answer for row in rows if row.answer]
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in dict.fromkeys(inputs)]
    wanted += [(model, "serialization") for model in dict.fromkeys(outputs)]
    refs, definitions = models_json_schema(wanted, ref_template=_REF)
    schemas = definitions.get("$defs", {})
    for model in dict.fromkeys(row.body for row in rows if row.body and row.method == "PATCH"):
        for member in schemas[model.__name__]["properties"].values():
            member.pop("default", None)  # what is left out stays as it is
    return schemas, refs


def _operation(row: Operation, refs: Refs) -> Json:
    found: Json = {
        "operationId": row.name,
        "summary": row.summary,
        "description": f"{row.about}\n\n{_allowed(row)}",
        "tags": [row.tag],
        "security": _security(row),
        "parameters": [*_path_parameters(row.rule), *_query_parameters(row), *_headers(row)],
        "responses": {str(int(row.status)): _success(row, refs)} | _problems(row),
    }
    if row.body is not None:
        kinds = JSON_KINDS if row.method == "PATCH" else JSON_KINDS[:1]
        schema = refs[row.body, "validation"]
        found["requestBody"] = {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}
    return found


def _allowed(row: Operation) -> str:
    """In words, who may."""
    who = _WHO.get(row.who) or ", ".join(sorted(standing.value for standing in row.who))
    scope = f" A token needs the scope `{row.scope.value}`." if row.scope else ""
    person = " The token of a site may not." if row.person else ""
    return f"For {who}.{scope}{person}"


def _security(row: Operation) -> list[Json]:
    if row.who == EVERYBODY:
        return [{}, {"token": []}]
    # A browser's sign-in is a cookie whose name depends on the installation; what changes something needs this with it.
    return [{"token": []}, {"csrf": []}] if row.changes else [{"token": []}]


def _path_parameters(rule: str) -> list[Json]:
    number = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": number if kind == "int:" else {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
        }
        for kind, name in re.findall(r"<(\w+:)?(\w+)>", rule)
    ]


def _query_parameters(row: Operation) -> list[Json]:
    if row.query is None:
        return []
    schema = row.query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": member.pop("description", ""),
            "schema": _inline(member, schema.get("$defs", {})),
        }
        for name, member in schema["properties"].items()
    ]


def _inline(member: Json, definitions: Json) -> Json:
    """A parameter's schema without references to where it came from."""
    if "$ref" in member:
        return {**definitions[member["$ref"].rpartition("/")[2]], **{k: v for k, v in member.items() if k != "$ref"}}
    return {k: [_inline(one, definitions) for one in v] if k == "anyOf" else v for k, v in member.items()}


def _headers(row: Operation) -> list[Json]:
    text: Json = {"type": "string"}
    if not row.changes:
        about = "The ETag of an earlier answer: 304 when nothing has changed."
        return [{"name": "If-None-Match", "in": "header", "description": about, "schema": text}]
    found = []
    if row.current is not None:
        about = "The ETag of what is changed: 412 when somebody else changed it meanwhile."
        found.append({"name": "If-Match", "in": "header", "description": about, "schema": text})
    if row.at is not None and not row.secret:
        about = "Any text that is new for each request. Sent again within 24 hours, the first answer is repeated."
        limits = {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"}
        found.append({"name": HEADER, "in": "header", "description": about, "schema": limits})
    return found


def _success(row: Operation, refs: Refs) -> Json:
    found: Json = {"description": HTTPStatus(row.status).phrase}
    if row.answer is not None:
        found["content"] = {"application/json": {"schema": refs[row.answer, "serialization"]}}
        found["headers"] = {"ETag": _ETAG}
    if row.at is not None:
        found["headers"] |= {"Location": {"description": "Where it is.", "schema": {"type": "string"}}}
    return found


def problem_names(row: Operation) -> list[str]:
    """The problems that an operation can answer with."""
    names = ["not-found", "method", "too-often", "unavailable", *row.problems]
    names += ["unauthenticated"]  # also where nobody needs to be known: a token that has ended
    if row.who != EVERYBODY:
        names += ["scope", "not-allowed"]
    if row.person:
        names.append("person-needed")
    if row.query is not None:
        names += ["invalid", "cursor"] if "cursor" in row.query.model_fields else ["invalid"]
    if row.changes:
        names += ["malformed", "csrf", "exists", "invalid", "too-large", "media-type"]
    if row.current is not None:
        names.append("changed")
    if row.at is not None and not row.secret:
        names += ["in-progress", "key-reused"]
    return [name for name in TYPES if name in names]


def _problems(row: Operation) -> Json:
    by_status: dict[int, list[str]] = {}
    for name in problem_names(row):
        by_status.setdefault(TYPES[name].status, []).append(name)
    found: Json = {
        str(status): {
            "description": "; ".join(f"{TYPES[name].title} ({name})" for name in names),
            "content": {KIND: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
        for status, names in by_status.items()
    }
    return found if row.changes else {"304": {"description": "As in the answer whose ETag was sent."}} | found


def _problem() -> Json:
    text = {"type": "string"}
    one = {"type": "object", "properties": {"pointer": text, "detail": text}, "required": ["pointer", "detail"]}
    return {
        "type": "object",
        "description": "Why a request was refused (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "enum": [kind.uri for kind in TYPES.values()]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "id": {**text, "description": "By which the log knows our own mistakes."},
            "scope": {**text, "description": "The scope that a token would need."},
            "errors": {"type": "array", "items": one},
        },
        "required": ["type", "title", "status", "detail"],
    }
