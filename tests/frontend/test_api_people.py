"""Invitations, requests to join, check-in passwords and tokens, by programs: what is secret is told once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mm_frontend.api import people
from mm_lib.database import make_sessions
from mm_lib.model.accounts import AuditEvent, KeptAnswer
from mm_lib.model.base import Base
from mm_lib.services import membership
from tests.frontend import api_world
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
    mails: list[tuple[str, str, str]] = []

    def write(address: str, link: str, *, by: str) -> None:
        with make_sessions(api.engine)() as session:  # another connection: it sees what was committed
            membership.find_invitation(session, link.rpartition("/")[2], NOW)
        mails.append((address, link, by))

    monkeypatch.setattr(people, "write_invitation", write)
    body = {"email": "you@example.org", "role": "viewer"}
    made = api.ask("owner", "POST", api.path("/sites/{site_id}/invitations"), body)
    link = made.get_json()["link"]
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert mails == [("you@example.org", link, "owner")]
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
    monkeypatch.setattr(people, "write_invitation", lambda address, _link, **_: mails.append(address))
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
