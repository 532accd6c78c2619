"""What the API promises besides its operations: problems, ETags, idempotency, pages of lists, tokens and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mm_frontend import guards
from mm_frontend.api import openapi
from mm_frontend.api.problems import TYPES
from mm_frontend.operators.details import RESOLVER
from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import ApiToken, AuditEvent, KeptAnswer
from mm_lib.services import tokens
from tests.frontend import api_world, operators_world, world
from tests.frontend.api_world import API, ApiWorld
from tests.frontend.operators_world import NOW


@pytest.fixture(scope="module")
def api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    """One for all tests: each works with things of its own."""
    with api_world.opened(sqlite_template, tmp_path_factory.mktemp("api")) as opened:
        opened.app.config[RESOLVER] = lambda _name: ["192.0.2.1"]
        yield opened


def new_site(api: ApiWorld, name: str, **headers: str) -> dict[str, Any]:
    answer = api.ask("owner", "POST", "/sites", {"name": name, "org_url": "https://example.org"}, **headers)
    assert answer.status_code == 201, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


# -- a life of a host, by a program


def test_a_program_makes_a_host_with_everything_changes_it_and_deletes_it(api: ApiWorld) -> None:
    site = new_site(api, "Everything")
    host = api.ask(
        "owner",
        "POST",
        f"/sites/{site['id']}/hosts",
        {"name": "all.example.org", "country": "de", "asn": 64500, "latitude": 52.5, "longitude": 13.4},
    ).get_json()
    assert (host["country"], host["asn"], host["latitude"]) == ("DE", 64500, 52.5)
    base = f"/hosts/{host['id']}"
    made = {
        "categories": {"category": "Fedora Linux"},
        "netblocks": {"netblock": "198.51.100.7/24", "name": "campus"},
        "countries": {"country": "FR", "kind": "extra"},
        "acl": {"address": "192.0.2.9"},
        "maintenance": {"starts_at": "2126-01-01T00:00:00Z", "ends_at": "2126-01-02T00:00:00+01:00"},
    }
    api.app.config[RESOLVER] = lambda _name: ["192.0.2.1"]
    for kind, body in made.items():
        who = "super" if kind == "netblocks" else "owner"  # documentation networks are not on the Internet
        answer = api.ask(who, "POST", f"{base}/{kind}", body)
        assert answer.status_code == 201, answer.get_data(as_text=True)
        one = api.ask("owner", "GET", answer.location.removeprefix(API))
        assert one.get_json() == answer.get_json()
        assert one.headers["ETag"] == answer.headers["ETag"]
        made[kind] = {"path": answer.location.removeprefix(API)}
    url = api.ask("owner", "POST", f"{made['categories']['path']}/urls", {"url": "https://all.example.org/linux/"})
    assert url.get_json()["url"] == "https://all.example.org/linux"
    changed = api.ask("owner", "PATCH", base, {"comment": "hello", "latitude": None, "longitude": None})
    assert (changed.get_json()["comment"], changed.get_json()["latitude"]) == ("hello", None)
    assert changed.get_json()["asn"] == 64500  # what is left out stays
    assert api.ask("owner", "PATCH", base, {"asn": None}).get_json()["asn"] is None
    off = api.ask("owner", "PUT", f"{base}/state", {"on": False, "reason": "moving"})
    assert (off.get_json()["state"], off.get_json()["state_reason"]) == ("owner-disabled", "moving")
    for one in made.values():
        assert api.ask("owner", "DELETE", one["path"]).status_code == 204
        assert api.ask("owner", "GET", one["path"]).status_code == 404
    assert api.ask("owner", "DELETE", base).status_code == 204
    assert api.ask("owner", "GET", base).status_code == 404


def test_what_a_program_changes_is_audited_with_its_token(api: ApiWorld) -> None:
    site = new_site(api, "Audited")
    events = api.ask("owner", "GET", f"/sites/{site['id']}/events").get_json()["items"]
    assert {event["actor"] for event in events} == {"owner by token test"}
    assert "add site" in [event["action"] for event in events]


def test_what_was_deleted_is_listed_and_brought_back(api: ApiWorld) -> None:
    site = new_site(api, "Back again")
    host = api.ask("owner", "POST", f"/sites/{site['id']}/hosts", {"name": "b.example.org", "country": "DE"}).get_json()
    api.ask("owner", "DELETE", f"/hosts/{host['id']}")
    listed = api.ask("owner", "GET", "/deleted").get_json()["items"]
    assert ("host", host["id"]) in [(row["kind"], row["id"]) for row in listed]
    assert api.ask("stranger", "POST", f"/deleted/hosts/{host['id']}/restore").status_code == 404
    assert api.ask("owner", "POST", f"/deleted/hosts/{host['id']}/restore").get_json()["name"] == "b.example.org"
    api.ask("owner", "DELETE", f"/sites/{site['id']}")
    assert api.ask("owner", "POST", f"/deleted/sites/{site['id']}/restore").status_code == 200
    assert api.ask("owner", "GET", f"/hosts/{host['id']}").status_code == 200


def test_a_member_leaves_and_the_last_owner_stays(api: ApiWorld) -> None:
    site = new_site(api, "Left")
    assert api.ask("owner", "DELETE", f"/sites/{site['id']}/membership").status_code == 403
    api.ask("owner", "POST", f"/sites/{site['id']}/members", {"user": "viewer", "role": "viewer"})
    assert api.ask("viewer", "DELETE", f"/sites/{site['id']}/membership").status_code == 204
    assert api.ask("viewer", "GET", f"/sites/{site['id']}").status_code == 404


def test_half_a_place_is_refused_also_when_the_other_half_is_there(api: ApiWorld) -> None:
    answer = api.ask("owner", "PATCH", api.path("/hosts/{host_id}"), {"latitude": 5})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == "#/longitude"


def test_private_addresses_and_large_networks_are_the_administrators_to_make(api: ApiWorld) -> None:
    urls = api.path("/hosts/{host_id}/categories/{carried_id}/urls")
    assert api.ask("owner", "POST", urls, {"url": "https://p.example.org/x", "private": True}).status_code == 403
    assert api.ask("super", "POST", urls, {"url": "https://p.example.org/x", "private": True}).status_code == 201
    netblocks = api.path("/hosts/{host_id}/netblocks")
    assert api.ask("owner", "POST", netblocks, {"netblock": "9.0.0.0/8"}).status_code == 422
    assert api.ask("super", "POST", netblocks, {"netblock": "9.0.0.0/8"}).status_code == 201


def test_where_new_sites_are_looked_at_first_one_that_a_program_makes_waits(api: ApiWorld) -> None:
    from mm_frontend.app import create_app

    app = create_app(world.settings(approve_sites=True), api.engine)
    headers = {"Authorization": f"Bearer {api.texts['owner']}"}
    body = {"name": "Waiting", "org_url": "https://example.org"}
    made = app.test_client().post(f"{API}/sites", json=body, headers=headers)
    assert made.get_json()["state"] == "waiting"


# -- who asks


def test_a_token_that_has_ended_is_refused_and_where_nobody_needs_one_as_well(api: ApiWorld) -> None:
    api.texts["ended"] = "mmu_" + "x" * 43
    for path in ("/sites", "/mirrors"):
        answer = api.ask("ended", "GET", path)
        assert (answer.status_code, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    for header in ("Basic eDp5", "Bearer", "", "Bearer \xff"):
        assert api.app.test_client().get(f"{API}/me", headers={"Authorization": header}).status_code == 401


def test_a_tokens_use_is_noted(api: ApiWorld) -> None:
    name = api.token("viewer", "registry:read")
    api.ask(name, "GET", "/me")
    hash_ = tokens.token_hash(api.texts[name])
    with make_sessions(api.engine)() as session:
        row = session.scalars(select(ApiToken).where(ApiToken.token_hash == hash_)).one()
        assert row.last_used_at is not None
        assert session.scalars(select(AuditEvent).where(AuditEvent.object_type == "api_token")).all() == []


def test_a_browser_session_changes_nothing_without_its_csrf_token(api: ApiWorld) -> None:
    client = operators_world.signed_in(api.app, "owner")
    body = {"name": "From a browser", "org_url": "https://example.org"}
    refused = client.post(f"{API}/sites", json=body)
    assert (refused.status_code, refused.get_json()["type"]) == (400, "/api/v1/problems#csrf")
    token = client.get(f"{API}/me").get_json()["csrf_token"]
    assert client.post(f"{API}/sites", json=body, headers={"X-CSRFToken": token}).status_code == 201


def test_a_token_counts_before_a_session(api: ApiWorld) -> None:
    client = operators_world.signed_in(api.app, "super")
    headers = {"Authorization": f"Bearer {api.texts['viewer']}"}
    assert client.get(f"{API}/me", headers=headers).get_json()["name"] == "viewer"


def test_who_asks_is_told_what_the_token_may(api: ApiWorld) -> None:
    told = api.ask("site", "GET", "/me").get_json()
    assert (told["kind"], told["name"], told["csrf_token"]) == ("site", "Example University", None)
    assert told["scopes"] == sorted(scope.value for scope in tokens.OF_SITES)


def test_lists_hold_what_the_caller_may_see(api: ApiWorld) -> None:
    def names(who: str) -> set[str]:
        return {site["name"] for site in api.ask(who, "GET", "/sites?limit=500").get_json()["items"]}

    assert names("viewer") == names("site") == {"Example University"}
    assert names("stranger") == {"Other University"}
    assert {"Example University", "Other University"} <= names("auditor")
    hosts = {host["name"] for host in api.ask("site", "GET", "/hosts").get_json()["items"]}
    assert hosts == {"m.example.org"}


def test_other_origins_get_no_permission_to_read(api: ApiWorld) -> None:
    answer = api.ask("owner", "GET", "/me", Origin="https://elsewhere.example")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_there_are_limits_to_how_often_an_address_may_change_something(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards.limiter, "enabled", True)
    client, address = api.app.test_client(), {"REMOTE_ADDR": "203.0.113.77"}
    statuses = [client.delete(f"{API}/sites/1", environ_base=address).status_code for _ in range(241)]
    assert statuses == [401] * 240 + [429]
    assert client.get(f"{API}/products", environ_base=address).status_code == 200


def test_questions_that_keep_the_redirector_busy_have_a_limit_of_their_own(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards.limiter, "enabled", True)
    client, headers = api.app.test_client(), {"Authorization": f"Bearer {api.texts['owner']}"}
    path, address = api.path(f"{API}/hosts/{{host_id}}/explanation"), {"REMOTE_ADDR": "203.0.113.78"}
    statuses = [client.get(path, headers=headers, environ_base=address).status_code for _ in range(31)]
    assert statuses == [424] * 30 + [429]
    refused = client.get(path, headers=headers, environ_base=address)
    assert refused.get_json()["type"] == "/api/v1/problems#too-often" and int(refused.headers["Retry-After"]) > 0
    assert client.get(f"{API}/me", headers=headers, environ_base=address).status_code == 200


# -- problems


@pytest.mark.parametrize(
    ("method", "path", "status", "type_"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/sites/0", 404, "not-found"),
        ("GET", f"/sites/{2**40}", 404, "not-found"),
        ("GET", "/sites/x", 404, "not-found"),
        ("PUT", "/sites", 405, "method"),
        ("GET", "/sites?limit=0", 422, "invalid"),
        ("GET", "/sites?page=2", 422, "invalid"),
        ("GET", "/sites?name=%00", 422, "invalid"),
    ],
)
def test_refusals_are_problems_with_a_type_that_is_explained(
    api: ApiWorld, method: str, path: str, status: int, type_: str
) -> None:
    answer = api.ask("owner", method, path)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    told = answer.get_json()
    assert (told["status"], told["type"]) == (status, f"/api/v1/problems#{type_}")
    assert f'id="{type_}"' in api.app.test_client().get(f"{API}/problems").get_data(as_text=True)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("{", "application/json", 400),
        ('{"name": "x\\ud800"}', "application/json", 400),
        ("{}", "text/plain", 415),
        ("{}", "application/json", 422),
        ('{"name": "x", "org_url": "https://x.example", "more": 1}', "application/json", 422),
        ('{"name": "x\\u0000", "org_url": "https://x.example"}', "application/json", 422),
        ('{"name": 1, "org_url": "https://x.example"}', "application/json", 422),
        ('{"name": "x", "org_url": "javascript:alert(1)"}', "application/json", 422),
        ("[" * 5000, "application/json", 400),
        ('"' + "x" * (1 << 20) + '"', "application/json", 413),
    ],
)
def test_bodies_that_make_no_sense_are_refused_neatly(api: ApiWorld, body: str, kind: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {api.texts['owner']}"}
    answer = api.app.test_client().post(f"{API}/sites", data=body, content_type=kind, headers=headers)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_what_is_wrong_is_pointed_to_and_not_repeated(api: ApiWorld) -> None:
    answer = api.ask("owner", "POST", api.path("/sites/{site_id}/hosts"), {"name": "x", "country": "secret"})
    assert [error["pointer"] for error in answer.get_json()["errors"]] == ["#/country"]
    assert "secret" not in answer.get_data(as_text=True)


def test_a_text_that_is_too_long_is_told_so_in_characters(api: ApiWorld) -> None:
    answer = api.ask("owner", "PATCH", api.path("/sites/{site_id}"), {"name": "x" * 256})
    assert answer.status_code == 422
    assert "at most 255 characters" in answer.get_data(as_text=True)


def test_a_member_without_an_account_is_pointed_to_by_the_name_in_the_body(api: ApiWorld) -> None:
    answer = api.ask("owner", "POST", api.path("/sites/{site_id}/members"), {"user": "nobody", "role": "viewer"})
    assert [error["pointer"] for error in answer.get_json()["errors"]] == ["#/user"]


def test_a_name_that_is_taken_is_a_conflict(api: ApiWorld) -> None:
    answer = api.ask("owner", "POST", "/sites", {"name": "Other University", "org_url": "https://example.org"})
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/api/v1/problems#exists")


def test_our_own_mistakes_are_problems_with_an_id(api: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    from mm_lib.services import listings

    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(listings, "products", broken)
    answer = api.ask("owner", "GET", "/products")
    assert (answer.status_code, answer.get_json()["type"]) == (500, "/api/v1/problems#internal")
    assert answer.get_json()["id"] and "secret" not in answer.get_data(as_text=True)


# -- conditional requests


def test_an_answer_that_the_client_has_is_not_sent_again(api: ApiWorld) -> None:
    path = api.path("/hosts/{host_id}/netblocks")
    first = api.ask("owner", "GET", path)
    again = api.ask("owner", "GET", path, If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.get_data()) == (304, b"")
    assert {"Authorization", "Cookie"} <= set(first.vary)


def test_a_change_of_what_was_changed_meanwhile_is_refused(api: ApiWorld) -> None:
    site = f"/sites/{new_site(api, 'Contended')['id']}"
    seen = api.ask("owner", "GET", site).headers["ETag"]
    mine = api.ask("owner", "PATCH", site, {"downstream_comments": "mine"}, If_Match=seen)
    assert mine.status_code == 200
    late = api.ask("owner", "PATCH", site, {"downstream_comments": "late"}, If_Match=seen)
    assert (late.status_code, late.get_json()["type"]) == (412, "/api/v1/problems#changed")
    assert api.ask("owner", "DELETE", site, If_Match=seen).status_code == 412
    assert api.ask("owner", "GET", site).headers["ETag"] == mine.headers["ETag"]
    assert api.ask("owner", "DELETE", site, If_Match=mine.headers["ETag"]).status_code == 204


def test_what_was_made_has_the_etag_that_it_is_read_with(api: ApiWorld) -> None:
    made = api.ask("owner", "POST", "/sites", {"name": "Tagged", "org_url": "https://example.org"})
    assert api.ask("owner", "GET", made.location.removeprefix(API)).headers["ETag"] == made.headers["ETag"]


# -- idempotency


def test_a_request_that_is_sent_again_is_carried_out_once(api: ApiWorld) -> None:
    body = {"name": "Once", "org_url": "https://example.org"}
    first, second = (api.ask("owner", "POST", "/sites", body, Idempotency_Key="k1") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.get_data(), first.location) == (second.get_data(), second.location)
    assert "Idempotency-Replayed" not in first.headers and second.headers["Idempotency-Replayed"] == "true"
    other = api.ask("owner", "POST", "/sites", {**body, "name": "Twice"}, Idempotency_Key="k1")
    assert (other.status_code, other.get_json()["type"]) == (422, "/api/v1/problems#key-reused")


def test_a_key_belongs_to_who_sends_it_and_is_forgotten_after_a_day(api: ApiWorld) -> None:
    hosts = api.path("/sites/{site_id}/hosts")
    first = api.ask("owner", "POST", hosts, {"name": "k.example.org", "country": "DE"}, Idempotency_Key="k2")
    other = api.ask("site", "POST", hosts, {"name": "l.example.org", "country": "DE"}, Idempotency_Key="k2")
    assert (first.status_code, other.status_code) == (201, 201)
    with make_sessions(api.engine)() as session, transaction(session):
        for row in session.scalars(select(KeptAnswer)):
            row.expires_at = NOW - timedelta(seconds=1)
    again = api.ask("owner", "POST", hosts, {"name": "k.example.org", "country": "DE"}, Idempotency_Key="k2")
    assert again.status_code == 409  # the host is there: it was carried out anew


def test_a_refusal_is_not_kept(api: ApiWorld) -> None:
    refused = api.ask("owner", "POST", "/sites", {"name": "Later", "org_url": "nonsense"}, Idempotency_Key="k3")
    assert refused.status_code == 422
    new_site(api, "Later", Idempotency_Key="k3")


@pytest.mark.parametrize("key", ["", "x" * 201, "ü"])
def test_keys_that_cannot_be_kept_are_refused(api: ApiWorld, key: str) -> None:
    body = {"name": "Keyed", "org_url": "https://example.org"}
    assert api.ask("owner", "POST", "/sites", body, Idempotency_Key=key).status_code == 400


# -- lists


def test_pages_hold_everything_once_although_things_come_and_go_meanwhile(api: ApiWorld) -> None:
    site = new_site(api, "Paged")["id"]
    for number in range(5):
        api.ask("owner", "POST", f"/sites/{site}/hosts", {"name": f"{number}.example.org", "country": "DE"})
    seen, cursor = [], ""
    while cursor is not None:
        page = api.ask("owner", "GET", f"/sites/{site}/hosts?limit=2&cursor={cursor}").get_json()
        seen += [host["name"] for host in page["items"]]
        cursor = page["next"]
        if len(seen) == 2:
            first = api.ask("owner", "GET", f"/sites/{site}/hosts?name=0.example.org").get_json()["items"][0]
            api.ask("owner", "DELETE", f"/hosts/{first['id']}")
            api.ask("owner", "POST", f"/sites/{site}/hosts", {"name": "5.example.org", "country": "DE"})
    assert seen == [f"{number}.example.org" for number in range(6)]


def test_events_are_paged_from_the_newest_on(api: ApiWorld) -> None:
    site = new_site(api, "Storied")["id"]
    for number in range(3):
        api.ask("owner", "PATCH", f"/sites/{site}", {"downstream_comments": str(number)})
    first = api.ask("owner", "GET", f"/sites/{site}/events?limit=2").get_json()
    second = api.ask("owner", "GET", f"/sites/{site}/events?limit=500&cursor={first['next']}").get_json()
    ids = [event["id"] for event in first["items"] + second["items"]]
    assert ids == sorted(set(ids), reverse=True) and len(ids) > 3 and second["next"] is None


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "!", "WyIvYXBpL3YxL3NpdGVzIiwiMSJd", "WyIvYXBpL3YxL3NpdGVzIiwtMV0"])
def test_cursors_that_are_not_ours_are_refused(api: ApiWorld, cursor: str) -> None:
    answer = api.ask("owner", "GET", f"/sites?cursor={cursor}")
    assert (answer.status_code, answer.get_json()["type"]) == (422, "/api/v1/problems#cursor")


def test_a_cursor_of_another_list_is_refused(api: ApiWorld) -> None:
    cursor = api.ask("super", "GET", "/hosts?limit=1").get_json()["next"]
    assert api.ask("super", "GET", f"/hosts?limit=1&cursor={cursor}").status_code == 200
    assert api.ask("super", "GET", f"/sites?cursor={cursor}").status_code == 422


# -- what is read


def test_mirrors_show_how_fresh_each_repository_is_there(api: ApiWorld) -> None:
    found = api.ask("anonymous", "GET", "/mirrors?country=de&product=Fedora&version=44").get_json()["items"]
    assert {mirror["name"] for mirror in found} == {"m.example.org", "m.example.net"}
    assert found[0]["categories"][0]["percent"] == 100
    fresh = api.ask("anonymous", "GET", api.path("/mirrors/{mirror_id}/repositories")).get_json()["items"]
    assert [(row["repo"], row["arch"], row["verdict"], row["lag_seconds"]) for row in fresh] == [
        ("fedora-44", "x86_64", "ok", 0)
    ]
    everywhere = api.ask("anonymous", "GET", api.path("/repositories/{repository_id}/mirrors")).get_json()["items"]
    assert {row["mirror"] for row in everywhere} == {"m.example.org", "m.example.net"}


def test_what_is_not_public_is_shown_to_auditors_only(api: ApiWorld) -> None:
    def names(who: str) -> set[str]:
        return {row["name"] for row in api.ask(who, "GET", "/categories").get_json()["items"]}

    assert "Codecs" not in names("anonymous") | names("owner")
    assert "Codecs" in names("auditor")


def test_a_crawl_is_shown_with_its_verdicts(api: ApiWorld) -> None:
    listed = api.ask("viewer", "GET", api.path("/hosts/{host_id}/crawls")).get_json()["items"]
    assert [(crawl["id"], crawl["category"], crawl["counts"]) for crawl in listed] == [
        (api.ids["crawl_id"], "Fedora Linux", {"ok": 1})
    ]
    shown = api.ask("viewer", "GET", api.path("/hosts/{host_id}/crawls/{crawl_id}")).get_json()
    assert shown["evidence"][0]["verdict"] == "ok"


def test_statistics_of_a_host_are_its_members_and_the_others_everybodys(api: ApiWorld) -> None:
    start = NOW.date().isoformat()
    assert api.ask("anonymous", "GET", f"/statistics/countries?start={start}").get_json()["items"][0]["requests"] == 7
    assert api.ask("anonymous", "GET", f"/statistics/hosts?start={start}").status_code == 404
    own = api.ask("viewer", "GET", api.path("/hosts/{host_id}/statistics")).get_json()["items"]
    assert [figure["requests"] for figure in own] == [7]
    spread = api.ask("anonymous", "GET", api.path("/repositories/{repository_id}/propagation")).get_json()["items"]
    assert [moment["same_day"] for moment in spread] == [2]


def test_an_explanation_without_a_redirector_says_so(api: ApiWorld) -> None:
    answer = api.ask("owner", "GET", api.path("/hosts/{host_id}/explanation?repo=fedora-44&arch=x86_64"))
    assert (answer.status_code, answer.get_json()["type"]) == (424, "/api/v1/problems#depends")


# -- the description, and the old addresses


def test_the_description_is_openapi_3_1_and_names_every_problem(api: ApiWorld) -> None:
    answer = api.app.test_client().get(f"{API}/openapi.json")
    told = answer.get_json()
    assert told["openapi"] == "3.1.0"
    assert set(told["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]) == {
        kind.uri for kind in TYPES.values()
    }
    again = api.app.test_client().get(f"{API}/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_operations_have_a_name_of_their_own_and_say_what_they_do() -> None:
    rows = list(openapi.OPERATIONS.values())
    assert len({row.name for row in rows}) == len(rows)
    assert [row.name for row in rows if not row.about or not row.summary] == []


def test_the_list_of_operations_names_them_all_without_a_script(api: ApiWorld) -> None:
    page = api.app.test_client().get(f"{API}/").get_data(as_text=True)
    assert [row.path for row in openapi.OPERATIONS.values() if f"{row.method} {row.path}" not in page] == []
    assert "<script" not in page


def test_only_the_page_to_try_it_may_run_scripts_and_only_ours(api: ApiWorld) -> None:
    client = api.app.test_client()
    policy = client.get(f"{API}/browse").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    assert "script-src" not in client.get(f"{API}/").headers["Content-Security-Policy"]


def test_the_old_list_of_admins_has_its_old_shape(api: ApiWorld) -> None:
    client = api.app.test_client()
    everybody = client.get("/api/mirroradmins").get_json()
    assert everybody["total"] == len(everybody["admins"]) and {"admin", "owner", "stranger"} <= set(everybody["admins"])
    assert "viewer" not in everybody["admins"]
    for name in ("m.example.org", "Example University"):
        assert set(client.get("/api/mirroradmins", query_string={"name": name}).get_json()["admins"]) == {
            "admin",
            "owner",
            "test",
        }
    unknown = client.get("/api/mirroradmins?name=nowhere")
    assert (unknown.status_code, list(unknown.get_json())) == (400, ["message"])


def test_the_old_list_of_repositories_has_its_old_shape(api: ApiWorld) -> None:
    directory = "pub/fedora/linux/releases/44/Everything/x86_64/os"
    assert api.app.test_client().get("/api/repositories").get_json() == {
        "repositories": [{"fedora-44": {"name": directory, "directory": directory}}],
        "total": 1,
    }
