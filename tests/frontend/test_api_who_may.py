"""Every operation of the API, asked by everybody: one table says who may, and by which scope."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_frontend.api import openapi, operation
from mm_frontend.api.operation import OPEN, OPERATIONS, Operation
from mm_lib.services.tokens import OF_SITES, Scope
from tests.frontend import api_world, operators_world
from tests.frontend.api_world import ApiWorld
from tests.frontend.operators_world import PEOPLE
from tests.frontend.test_who_may import WHO

KNOWN = {*PEOPLE, "site"} - {"anonymous"}
MAY = {
    **WHO,
    "everybody": {*PEOPLE, "site"},
    "known": KNOWN,
    "persons": KNOWN - {"site"},
    "see": WHO["see"] | {"site"},
    "change": WHO["change"] | {"site"},
    "change in person": WHO["change"],
    "its owner": {"owner"},
}
TABLE = """
known               registry:read    GET /me
known               registry:read    GET /sites
persons             registry:write   POST /sites
see                 registry:read    GET /sites/{site_id}
change              registry:write   PATCH /sites/{site_id}
change              registry:write   PUT /sites/{site_id}/state
own                 registry:write   DELETE /sites/{site_id}
see                 registry:read    GET /sites/{site_id}/members
see                 registry:read    GET /sites/{site_id}/members/{member_id}
change in person    registry:write   POST /sites/{site_id}/members
own                 registry:write   PATCH /sites/{site_id}/members/{member_id}
change in person    registry:write   DELETE /sites/{site_id}/members/{member_id}
members             registry:write   DELETE /sites/{site_id}/membership
change              registry:read    GET /sites/{site_id}/invitations
change              registry:read    GET /sites/{site_id}/invitations/{invitation_id}
change in person    registry:write   POST /sites/{site_id}/invitations
change in person    registry:write   DELETE /sites/{site_id}/invitations/{invitation_id}
change              registry:read    GET /sites/{site_id}/checkin-passwords
change in person    registry:write   POST /sites/{site_id}/checkin-passwords
change in person    registry:write   DELETE /sites/{site_id}/checkin-passwords
change              registry:read    GET /sites/{site_id}/tokens
change              registry:read    GET /sites/{site_id}/tokens/{token_id}
change in person    registry:write   POST /sites/{site_id}/tokens
change in person    registry:write   DELETE /sites/{site_id}/tokens/{token_id}
persons             registry:read    GET /me/tokens
its owner           registry:read    GET /me/tokens/{own_token_id}
persons             registry:write   POST /me/tokens
its owner           registry:write   DELETE /me/tokens/{own_token_id}
change              registry:read    GET /sites/{site_id}/requests
change              registry:read    GET /sites/{site_id}/requests/{request_id}
change in person    registry:write   POST /sites/{site_id}/requests/{request_id}/accept
change in person    registry:write   DELETE /sites/{site_id}/requests/{request_id}
known               registry:read    GET /deleted
own                 registry:write   POST /deleted/sites/{deleted_site_id}/restore
change              registry:write   POST /deleted/hosts/{deleted_host_id}/restore
see                 registry:read    GET /sites/{site_id}/events
audit               admin:read       GET /events
see                 registry:read    GET /sites/{site_id}/hosts
change              registry:write   POST /sites/{site_id}/hosts
known               registry:read    GET /hosts
see                 registry:read    GET /hosts/{host_id}
change              registry:write   PATCH /hosts/{host_id}
change              registry:write   PUT /hosts/{host_id}/state
change              registry:write   DELETE /hosts/{host_id}
see                 crawls:read      GET /hosts/{host_id}/repositories
see                 crawls:read      GET /hosts/{host_id}/checks
change              registry:write   POST /hosts/{host_id}/checks
see                 crawls:read      GET /hosts/{host_id}/explanation
see                 crawls:read      GET /hosts/{host_id}/crawls
see                 crawls:read      GET /hosts/{host_id}/crawls/{crawl_id}
known               crawls:read      GET /crawl-runs
see                 statistics:read  GET /hosts/{host_id}/statistics
see                 registry:read    GET /hosts/{host_id}/categories
see                 registry:read    GET /hosts/{host_id}/categories/{carried_id}
change              registry:write   POST /hosts/{host_id}/categories
administer          admin:write      PATCH /hosts/{host_id}/categories/{carried_id}
change              registry:write   DELETE /hosts/{host_id}/categories/{carried_id}
see                 registry:read    GET /hosts/{host_id}/categories/{carried_id}/urls
see                 registry:read    GET /hosts/{host_id}/categories/{carried_id}/urls/{url_id}
change              registry:write   POST /hosts/{host_id}/categories/{carried_id}/urls
change              registry:write   PATCH /hosts/{host_id}/categories/{carried_id}/urls/{url_id}
change              registry:write   DELETE /hosts/{host_id}/categories/{carried_id}/urls/{url_id}
see                 registry:read    GET /hosts/{host_id}/netblocks
see                 registry:read    GET /hosts/{host_id}/netblocks/{netblock_id}
change              registry:write   POST /hosts/{host_id}/netblocks
change              registry:write   PATCH /hosts/{host_id}/netblocks/{netblock_id}
change              registry:write   DELETE /hosts/{host_id}/netblocks/{netblock_id}
see                 registry:read    GET /hosts/{host_id}/asns
see                 registry:read    GET /hosts/{host_id}/asns/{asn_id}
administer          admin:write      POST /hosts/{host_id}/asns
administer          admin:write      PATCH /hosts/{host_id}/asns/{asn_id}
administer          admin:write      DELETE /hosts/{host_id}/asns/{asn_id}
see                 registry:read    GET /hosts/{host_id}/countries
see                 registry:read    GET /hosts/{host_id}/countries/{country_id}
change              registry:write   POST /hosts/{host_id}/countries
change              registry:write   DELETE /hosts/{host_id}/countries/{country_id}
see                 registry:read    GET /hosts/{host_id}/acl
see                 registry:read    GET /hosts/{host_id}/acl/{acl_id}
change              registry:write   POST /hosts/{host_id}/acl
change              registry:write   DELETE /hosts/{host_id}/acl/{acl_id}
see                 registry:read    GET /hosts/{host_id}/maintenance
see                 registry:read    GET /hosts/{host_id}/maintenance/{maintenance_id}
change              registry:write   POST /hosts/{host_id}/maintenance
change              registry:write   PATCH /hosts/{host_id}/maintenance/{maintenance_id}
change              registry:write   DELETE /hosts/{host_id}/maintenance/{maintenance_id}
everybody           none             GET /products
everybody           none             GET /versions
everybody           none             GET /arches
everybody           none             GET /categories
everybody           none             GET /repositories
everybody           none             GET /repositories/{repository_id}
everybody           none             GET /repositories/{repository_id}/mirrors
everybody           none             GET /repositories/{repository_id}/propagation
everybody           none             GET /mirrors
everybody           none             GET /mirrors/{mirror_id}
everybody           none             GET /mirrors/{mirror_id}/repositories
everybody           none             GET /statistics/{dimension}
everybody           checkin          POST /checkin
"""
ROWS = {  # method and path -> who, and the scope
    line[37:]: (line[:20].strip(), line[20:37].strip()) for line in TABLE.strip().splitlines()
}
ALL = list(OPERATIONS.values())
REFUSED = (401, 403)


def key(row: Operation) -> str:
    return f"{row.method} {row.path}"


@pytest.fixture(scope="module")
def api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world.opened(sqlite_template, tmp_path_factory.mktemp("api")) as world:
        yield world


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "transaction", operators_world.nothing_stays)


def ask(api: ApiWorld, who: str, row: Operation, **other: int) -> int:
    """The status. Bodies are empty: who may is decided before."""
    path = api.path(row.path.replace("{dimension}", "countries"), **other)
    query = "?start=2026-11-01" if "/statistics/" in path else ""
    return api.ask(who, row.method, path + query, {} if row.body else None).status_code


def test_the_table_names_every_operation_with_its_scope_and_none_that_is_not_there() -> None:
    assert {key(row): row.scope.value if row.scope else "none" for row in ALL} == {
        name: scope for name, (_, scope) in ROWS.items()
    }


def test_every_endpoint_below_the_api_is_an_operation_or_a_page_about_it(api: ApiWorld) -> None:
    rules = {rule.endpoint for rule in api.app.url_map.iter_rules() if rule.endpoint.startswith("api.")}
    assert rules == {*OPERATIONS, *OPEN}


def test_an_operation_that_names_no_scope_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="needs a scope"):
        operation.operation("POST", "/x", tag="x", summary="x", scope=None, who=openapi.EVERYBODY)


def test_every_scope_is_good_for_something() -> None:
    assert {row.scope for row in ALL} - {None} == set(Scope)


def may(who: str, row: Operation) -> bool:
    """As the table says; but the only owner cannot leave."""
    return who in MAY[ROWS[key(row)][0]] and (who, row.name) != ("owner", "leave_site")


def strangers(row: Operation) -> set[str]:
    """Who may not even know of what the operation is about."""
    if "{deleted_site_id}" in row.path:
        return {"stranger", "site"}  # it is a token of another one
    if "{own_token_id}" in row.path:
        return set(PEOPLE) - {"owner"}  # whatever they may else: administrators, too
    return {"stranger"} if re.search(r"\{(deleted_)?(site|host)_id\}", row.path) else set()


@pytest.mark.parametrize("who", [*PEOPLE, "site"])
def test_everybody_may_what_the_table_says(api: ApiWorld, who: str) -> None:
    wrong = []
    for row in ALL:
        allowed, status = may(who, row), ask(api, who, row)
        if row.path == "/checkin":
            continue  # proves who it is in its body, too: tests of the check-in
        stranger = who in strangers(row) and row.scope in OF_SITES  # their tokens have no other scopes
        expected = 401 if who == "anonymous" else 404 if stranger else 403
        if status >= 500 or (status in (*REFUSED, 404) if allowed else status != expected):
            wrong.append((key(row), "may" if allowed else "may not", status))
    assert wrong == []


def test_a_token_with_all_other_scopes_is_refused_with_the_name_of_the_one_that_it_needs(api: ApiWorld) -> None:
    wrong = []
    for row in ALL:
        if row.scope is None:
            continue
        others = [scope.value for scope in Scope if scope is not row.scope]
        path = api.path(row.path.replace("{dimension}", "countries"))
        answer = api.ask(api.token("super", *others), row.method, path, {} if row.body else None)
        if answer.status_code != 403 or answer.get_json()["scope"] != row.scope.value:
            wrong.append((key(row), answer.status_code))
    assert wrong == []


def test_a_token_with_only_the_scope_may_as_its_owner_may(api: ApiWorld) -> None:
    wrong = []
    for row in ALL:
        if row.scope in OF_SITES and may("owner", row):
            status = ask(api, api.token("owner", row.scope.value), row)
            if status in (*REFUSED, 404) and row.path != "/checkin":
                wrong.append((key(row), status))
    assert wrong == []


def test_an_administrators_token_without_a_scope_for_that_is_a_stranger_to_sites_of_others(api: ApiWorld) -> None:
    name = api.token("super", *(scope.value for scope in OF_SITES))
    answers = {key(row): ask(api, name, row) for row in ALL if strangers(row)}
    assert {key_: status for key_, status in answers.items() if status not in (403, 404)} == {}


def test_an_administrators_token_for_reading_changes_nothing_in_sites_of_others(api: ApiWorld) -> None:
    name = api.token("super", *(scope.value for scope in Scope if scope is not Scope.ADMIN_WRITE))
    for row in ALL:
        if row.changes and strangers(row) and "{own_token_id}" not in row.path:
            assert ask(api, name, row) == 403, key(row)


def test_ids_of_another_site_are_not_found_below_ones_own(api: ApiWorld) -> None:
    wrong = []
    for row in ALL:
        for name in re.findall(r"\{(\w+_id)\}", row.path)[1:]:
            other = {name: api.others[name]}
            status = {who: ask(api, who, row, **other) for who in ("owner", "super", "site")}
            if status["super"] != 404 or not {status["owner"], status["site"]} <= {403, 404}:
                wrong.append((key(row), name, status))
    assert wrong == []


def test_an_endpoint_in_no_table_is_closed_to_everybody(api: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation, "OPEN", set())
    assert {api.ask(who, "GET", "/openapi.json").status_code for who in (*PEOPLE, "site")} == {403}
