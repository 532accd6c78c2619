"""Invitations, requests to join, check-in passwords and tokens, by programs: what is secret is told once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mm_frontend.auth import mail
from mm_lib.database import make_sessions
from mm_lib.model.accounts import ApiToken, AuditEvent, KeptAnswer, Role
from mm_lib.model.base import Base
from mm_lib.model.sites import Site
from mm_lib.services import membership, site_passwords, tokens
from mm_lib.services.tokens import Scope
from tests.frontend import api_world, operators_world
from tests.frontend.api_world import API, ApiWorld
from tests.frontend.operators_world import NOW


@pytest.fixture(scope="module")
def api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world.opened(sqlite_template, tmp_path_factory.mktemp("people")) as opened:
        yield opened


def rows(api: ApiWorld, table: type[Base]) -> str:
    """All that a table holds, as text."""
    with make_sessions(api.engine)() as session:
        return repr(session.execute(select(table.__table__)).all())


def items(api: ApiWorld, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ask("owner", "GET", api.path(path)).get_json()["items"]
    return found


def test_an_invitation_is_mailed_once_it_is_kept_and_its_link_is_told_once(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    mails: list[tuple[str, str]] = []

    def send(address: str, _subject: str, text: str) -> None:
        link = re.search(r"https?://\S+", text)
        assert link is not None
        with make_sessions(api.engine)() as session:  # another connection: it sees what was committed
            membership.find_invitation(session, link[0].rpartition("/")[2], NOW)
        assert "owner invites you" in text
        mails.append((address, link[0]))

    monkeypatch.setattr(mail, "is_set_up", lambda: True)
    monkeypatch.setattr(mail, "send", send)
    body = {"email": "you@example.org", "role": "viewer"}
    made = api.ask("owner", "POST", api.path("/sites/{site_id}/invitations"), body)
    link = made.get_json()["link"]
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert mails == [("you@example.org", link)]
    token = link.rpartition("/")[2]
    one = api.ask("owner", "GET", made.location.removeprefix(API)).get_json()
    assert (one["email"], one["role"], one["invited_by"], "link" in one) == (
        "you@example.org",
        "viewer",
        "owner",
        False,
    )
    assert one in items(api, "/sites/{site_id}/invitations")
    events = rows(api, AuditEvent)
    assert "invite to site" in events and token not in events
    assert api.ask("owner", "DELETE", made.location.removeprefix(API)).status_code == 204
    assert api.ask("owner", "GET", made.location.removeprefix(API)).status_code == 404
    assert "withdraw invitation" in rows(api, AuditEvent)


@pytest.mark.parametrize(
    ("who", "body", "status"),
    [("owner", {"email": "nobody"}, 422), ("admin", {"email": "o@example.org", "role": "owner"}, 403)],
)
def test_an_invitation_that_is_refused_is_not_mailed(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch, who: str, body: dict[str, str], status: int
) -> None:
    mails: list[str] = []
    monkeypatch.setattr(mail, "is_set_up", lambda: True)
    monkeypatch.setattr(mail, "send", lambda address, *_: mails.append(address))
    assert api.ask(who, "POST", api.path("/sites/{site_id}/invitations"), body).status_code == status
    assert mails == []


def test_an_answer_with_a_secret_cannot_be_asked_for_again(api: ApiWorld) -> None:
    body = {"email": "again@example.org"}
    answer = api.ask("owner", "POST", api.path("/sites/{site_id}/invitations"), body, Idempotency_Key="s1")
    assert (answer.status_code, answer.get_json()["type"]) == (400, "/api/v1/problems#malformed")
    assert "again@example.org" not in str(items(api, "/sites/{site_id}/invitations"))
    assert rows(api, KeptAnswer) == "[]"


def test_who_asks_is_let_in_or_not(api: ApiWorld) -> None:
    path = api.path("/sites/{site_id}/requests/{request_id}")
    one = api.ask("admin", "GET", path).get_json()
    assert items(api, "/sites/{site_id}/requests") == [one]
    assert api.ask("admin", "POST", f"{path}/accept", {"role": "owner"}).status_code == 422
    member = api.ask("admin", "POST", f"{path}/accept", {"role": "viewer"}).get_json()
    assert (member["user"], member["role"]) == (one["user"], "viewer")
    assert member in items(api, "/sites/{site_id}/members")
    assert items(api, "/sites/{site_id}/requests") == []
    other = f"/sites/{api.others['site_id']}/requests/{api.others['request_id']}"
    assert api.ask("stranger", "DELETE", other).status_code == 204
    assert api.ask("stranger", "GET", other).status_code == 404
    assert "decline to join" in rows(api, AuditEvent)


# -- check-in passwords


def opens(api: ApiWorld, password: str) -> bool:
    with make_sessions(api.engine)() as session:
        site = session.get_one(Site, api.ids["site_id"])
        return site_passwords.matches(session, site, password, datetime.now(UTC))


def test_a_new_check_in_password_is_told_once_and_the_one_before_works_for_the_overlap(api: ApiWorld) -> None:
    path = api.path("/sites/{site_id}/checkin-passwords")
    first, second = (api.ask("admin", "POST", path, {"overlap_days": 5}) for _ in range(2))
    assert second.headers["Cache-Control"] == "no-store"
    words = [answer.get_json()["password"] for answer in (first, second)]
    assert [opens(api, word) for word in words] == [True, True]
    listed = items(api, path)
    assert [row["expires_at"] is None for row in listed] == [False, True]
    assert set(listed[0]) == {"id", "created_at", "expires_at"}
    assert sorted(second.get_json()["working"], key=lambda row: row["id"]) == listed
    third = api.ask("admin", "POST", path, {"overlap_days": 0}).get_json()["password"]
    assert [opens(api, word) for word in (*words, third)] == [False, False, True]
    events = rows(api, AuditEvent)
    assert "site_password" in events and not any(word in events for word in (*words, third))
    assert api.ask("admin", "DELETE", path).status_code == 204
    assert (items(api, path), opens(api, third)) == ([], False)


def test_a_token_that_cannot_check_in_makes_no_password_for_it(api: ApiWorld) -> None:
    name = api.token("owner", "registry:write")
    answer = api.ask(name, "POST", api.path("/sites/{site_id}/checkin-passwords"), {"overlap_days": 0})
    assert (answer.status_code, answer.get_json()["scope"]) == (403, "checkin")


# -- tokens


@pytest.mark.parametrize("path", ["/me/tokens", "/sites/{site_id}/tokens"])
def test_a_token_is_told_once_opens_what_it_says_and_nothing_when_it_is_revoked(api: ApiWorld, path: str) -> None:
    body = {"name": "nightly", "scopes": ["registry:read"], "days": 7}
    made = api.ask("owner", "POST", api.path(path), body)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    text, at = made.get_json()["token"], made.location.removeprefix(API)
    api.texts["made"] = text
    assert api.ask("made", "GET", "/me").get_json()["scopes"] == ["registry:read"]
    one = api.ask("owner", "GET", at).get_json()
    assert one["id"] in [row["id"] for row in items(api, path)]
    assert (one["name"], one["created_by"], "token" in one) == ("nightly", "owner", False)
    assert text not in rows(api, AuditEvent) + rows(api, ApiToken) + rows(api, KeptAnswer)
    with make_sessions(api.engine)() as session:
        made_by = select(AuditEvent.actor).where(
            AuditEvent.object_type == "api_token", AuditEvent.object_id == one["id"]
        )
        assert session.scalars(made_by).all() == ["owner by token test"]
    assert api.ask("owner", "DELETE", at).status_code == 204
    assert api.ask("made", "GET", "/me").status_code == 401
    assert api.ask("owner", "GET", at).get_json()["revoked_at"] is not None


@pytest.mark.parametrize("path", ["/me/tokens", "/sites/{site_id}/tokens"])
@pytest.mark.parametrize("who", ["owner", "super"])
def test_a_token_gives_no_scope_that_it_lacks(api: ApiWorld, who: str, path: str) -> None:
    scopes = ["registry:write", *(["admin:write"] if who == "super" else [])]  # else the site is not theirs
    name = api.token(who, *scopes)
    for scope in set(Scope) - set(scopes):
        answer = api.ask(name, "POST", api.path(path), {"name": "more", "scopes": ["registry:write", scope.value]})
        assert (answer.status_code, answer.get_json()["scope"]) == (403, scope.value)


def test_nobody_gives_a_token_more_than_they_may_themselves(api: ApiWorld) -> None:
    client = operators_world.signed_in(api.app, "auditor")  # a session has no scopes
    headers = {"X-CSRFToken": client.get(f"{API}/me").get_json()["csrf_token"]}
    status = {}
    for scope in ("admin:read", "admin:write"):
        body = {"name": scope, "scopes": [scope]}
        status[scope] = client.post(f"{API}/me/tokens", json=body, headers=headers).status_code
    assert status == {"admin:read": 201, "admin:write": 422}


def test_what_an_administrators_token_makes_is_worth_no_more_than_the_token(api: ApiWorld) -> None:
    name = api.token("super", "registry:read", "registry:write")  # not for what is administrators' to do
    made = api.ask(name, "POST", "/me/tokens", {"name": "child", "scopes": ["registry:read"]}).get_json()
    with make_sessions(api.engine)() as session:
        assert session.get_one(ApiToken, made["id"]).role is Role.USER


@pytest.mark.parametrize("days", [1, 365, None])
def test_a_token_makes_none_that_outlives_it(api: ApiWorld, days: int | None) -> None:
    body = {"name": f"lasting {days}", "scopes": ["registry:read"], "days": days}
    made = api.ask("owner", "POST", "/me/tokens", body).get_json()
    end = datetime.fromisoformat(made["expires_at"])
    with make_sessions(api.engine)() as session:
        hash_ = tokens.token_hash(api.texts["owner"])
        own = session.scalars(select(ApiToken.expires_at).where(ApiToken.token_hash == hash_)).one()
    assert own is not None and end <= own
    assert (end < own) == (days == 1)
