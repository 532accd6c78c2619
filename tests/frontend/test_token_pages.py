"""The pages of API tokens: made and shown once, listed, revoked; one's own and those of a site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from mm_lib.database import make_sessions
from mm_lib.model.accounts import ApiToken, AuditEvent
from tests.frontend import api_world, operators_world, world
from tests.frontend.api_world import API, ApiWorld


@pytest.fixture(scope="module")
def api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world.opened(sqlite_template, tmp_path_factory.mktemp("tokens")) as opened:
        yield opened


@pytest.fixture(scope="module")
def owner(api: ApiWorld) -> FlaskClient:
    return operators_world.signed_in(api.app, "owner")


@pytest.fixture(scope="module")
def super_(api: ApiWorld) -> FlaskClient:
    return operators_world.signed_in(api.app, "super")


def make(client: FlaskClient, path: str, **fields: object) -> TestResponse:
    data = {"csrf_token": world.token(client, path), "name": "nightly", "days": "30", **fields}
    return client.post(path, data=data)


def shown(answer: TestResponse) -> str:
    found = re.search(r'<pre class="token">([^<]+)</pre>', answer.get_data(as_text=True))
    assert found, world.text(answer)
    return found[1]


def test_ones_own_token_is_shown_once_and_works(api: ApiWorld, owner: FlaskClient) -> None:
    answer = make(owner, "/account/tokens/new", scopes=["registry:read"])
    api.texts["made"] = shown(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    assert api.ask("made", "GET", "/me").get_json()["scopes"] == ["registry:read"]
    listed = owner.get("/account/tokens")
    assert "nightly" in world.text(listed) and api.texts["made"] not in listed.get_data(as_text=True)


def test_a_sites_token_is_shown_once_and_speaks_for_the_site(api: ApiWorld, owner: FlaskClient) -> None:
    path = f"/site/{api.ids['site_id']}/tokens/new"
    api.texts["of the site"] = shown(make(owner, path, scopes=["checkin", "registry:read"], days="0"))
    assert api.ask("of the site", "GET", "/me").get_json()["kind"] == "site"


def test_a_revoked_token_opens_nothing_and_says_so_in_the_list(api: ApiWorld, owner: FlaskClient) -> None:
    for base, name in (("/account/tokens", "mine"), (f"/site/{api.ids['site_id']}/tokens", "ours")):
        api.texts[name] = shown(make(owner, f"{base}/new", scopes=["registry:read"], name=f"to revoke {name}"))
        assert api.ask(name, "GET", "/me").status_code == 200
        with make_sessions(api.engine)() as session:
            row = session.scalars(select(ApiToken).where(ApiToken.name == f"to revoke {name}")).one()
        path = f"{base}/{row.id}/revoke"
        owner.post(path, data={"csrf_token": world.token(owner, path)})
        assert api.ask(name, "GET", "/me").status_code == 401
        assert "revoked just now" in world.text(owner.get(base))


def test_nobody_revokes_somebody_elses_token(api: ApiWorld, owner: FlaskClient, super_: FlaskClient) -> None:
    make(super_, "/account/tokens/new", scopes=["admin:read"], name="of super")
    with make_sessions(api.engine)() as session:
        row = session.scalars(select(ApiToken).where(ApiToken.name == "of super")).one()
    assert owner.get(f"/account/tokens/{row.id}/revoke").status_code == 404
    assert owner.get(f"/account/tokens/{2**40}/revoke").status_code == 404


def test_scopes_for_administration_are_offered_to_administrators_and_never_for_a_site(
    api: ApiWorld, owner: FlaskClient, super_: FlaskClient
) -> None:
    assert 'value="admin:write"' in super_.get("/account/tokens/new").get_data(as_text=True)
    for client, path in ((owner, "/account/tokens/new"), (super_, f"/site/{api.ids['site_id']}/tokens/new")):
        assert 'value="admin:' not in client.get(path).get_data(as_text=True)
        assert make(client, path, scopes=["admin:write"]).status_code == 422


def test_a_token_without_scopes_or_name_is_refused_at_the_field(owner: FlaskClient) -> None:
    refused = make(owner, "/account/tokens/new")
    assert refused.status_code == 422
    assert 'id="scopes-error"' in refused.get_data(as_text=True)
    assert make(owner, "/account/tokens/new", scopes=["checkin"], name="").status_code == 422


def test_the_list_of_a_site_warns_of_tokens_whose_maker_is_no_member_any_more(
    api: ApiWorld, owner: FlaskClient
) -> None:
    assert "by test, who is no member of the site" in world.text(owner.get(f"/site/{api.ids['site_id']}/tokens"))


def test_making_and_revoking_a_token_is_told_to_the_sites_members(api: ApiWorld, owner: FlaskClient) -> None:
    make(owner, f"/site/{api.ids['site_id']}/tokens/new", scopes=["checkin"], name="audited")
    with make_sessions(api.engine)() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.object_name == "audited")).one()
        assert (event.actor, event.action, event.site_id) == ("owner", "add api_token", api.ids["site_id"])
        assert event.after is not None and event.after["token_hash"] == "(hidden)"


def test_the_account_leads_to_its_tokens_and_they_to_the_api(owner: FlaskClient) -> None:
    assert "/account/tokens" in world.links(owner.get("/account"))
    assert f"{API}/" in world.links(owner.get("/account/tokens"))
