"""API tokens: made, found, limited by their owner and their scopes, and ended; on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import ApiToken, AuditEvent, Role, User
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services import audit, deletion, tokens
from mm_lib.services.access import Standing
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.tokens import Bearer, Scope
from tests import factories

NOW = factories.NOW
YEAR = timedelta(days=365)


@pytest.fixture
def site(session: Session) -> Site:
    return factories.host(session, "m.example.org").site


@pytest.fixture
def anne(session: Session, site: Site) -> User:
    user = User(name="anne", role=Role.USER)
    session.add(user)
    session.flush()
    session.add(SiteMember(site_id=site.id, user_id=user.id, role=MemberRole.OWNER))
    session.flush()
    return user


def make(session: Session, owner: User | Site, *scopes: Scope, role: Role = Role.USER) -> str:
    return tokens.make(session, owner, "ci", scopes, by="anne", role=role, now=NOW, lifetime=YEAR)[1]


def found(session: Session, text: str) -> Bearer:
    bearer = tokens.find(session, text, NOW)
    assert bearer is not None
    return bearer


def test_a_token_is_found_by_its_text_and_kept_as_a_hash(session: Session, anne: User) -> None:
    text = make(session, anne, Scope.REGISTRY_READ)
    row = session.scalars(select(ApiToken)).one()
    assert text.startswith("mmu_") and text not in str(vars(row))
    bearer = found(session, text)
    assert (bearer.user_id, bearer.name, bearer.scopes) == (anne.id, "anne", {Scope.REGISTRY_READ})


@pytest.mark.parametrize("text", ["", "mmu_", "mms_nonsense", "Bearer", "mmu_\x00", "mmu_\ud800"])
def test_other_texts_open_nothing(session: Session, anne: User, text: str) -> None:
    make(session, anne, Scope.REGISTRY_READ)
    assert tokens.find(session, text, NOW) is None


def test_a_token_ends_when_it_expires_is_revoked_or_its_user_is_disabled(session: Session, anne: User) -> None:
    text, revoked = make(session, anne, Scope.CHECKIN), make(session, anne, Scope.CHECKIN)
    assert tokens.find(session, text, NOW + YEAR) is None
    tokens.revoke(session, session.scalars(select(ApiToken).order_by(ApiToken.id.desc())).all()[0], NOW)
    assert tokens.find(session, revoked, NOW) is None
    anne.active = False
    session.flush()
    assert tokens.find(session, text, NOW) is None


def test_the_token_of_a_deleted_site_opens_nothing(session: Session, site: Site) -> None:
    text = make(session, site, Scope.CHECKIN)
    assert found(session, text).site_id == site.id
    deletion.delete_site(session, site, "test", NOW)
    assert tokens.find(session, text, NOW) is None


def test_a_users_token_stands_where_its_user_stands(session: Session, site: Site, anne: User) -> None:
    bearer = found(session, make(session, anne, Scope.REGISTRY_WRITE))
    assert Standing.OWNER in tokens.standings(session, bearer, site)
    other = factories.host(session, "n.example.org").site
    assert tokens.standings(session, bearer, other) == {Standing.ANYBODY, Standing.SIGNED_IN}


def test_a_sites_token_is_an_admin_of_its_site_and_nobody_elsewhere(session: Session, site: Site) -> None:
    bearer = found(session, make(session, site, *tokens.OF_SITES))
    assert tokens.standings(session, bearer, site) == {Standing.ANYBODY, Standing.ADMIN}
    other = factories.host(session, "n.example.org").site
    assert tokens.standings(session, bearer, other) == tokens.standings(session, bearer, None) == {Standing.ANYBODY}


@pytest.mark.parametrize(
    ("scope", "role"),
    [(Scope.REGISTRY_WRITE, Role.USER), (Scope.ADMIN_READ, Role.AUDITOR), (Scope.ADMIN_WRITE, Role.ADMIN)],
)
def test_an_administrators_token_needs_a_scope_for_that(session: Session, anne: User, scope: Scope, role: Role) -> None:
    anne.role = Role.ADMIN
    assert found(session, make(session, anne, scope, role=Role.ADMIN)).role is role


def test_a_token_is_worth_no_more_than_the_sign_in_that_made_it_and_than_its_user_today(
    session: Session, anne: User
) -> None:
    anne.role = Role.ADMIN
    made_weakly = make(session, anne, Scope.REGISTRY_READ, role=Role.USER)
    made_strongly = make(session, anne, Scope.ADMIN_WRITE, role=Role.ADMIN)
    row = session.scalars(select(ApiToken).order_by(ApiToken.id)).first()
    assert row is not None
    row.scopes = [Scope.ADMIN_WRITE.value]  # even then
    session.flush()
    assert found(session, made_weakly).role is Role.USER
    anne.role = Role.USER
    session.flush()
    assert found(session, made_strongly).role is Role.USER


def test_scopes_that_somebody_cannot_give_are_refused(session: Session, site: Site, anne: User) -> None:
    with pytest.raises(InvalidValue, match="cannot give"):
        make(session, anne, Scope.ADMIN_READ)
    with pytest.raises(InvalidValue, match="cannot give"):
        make(session, site, Scope.ADMIN_WRITE, role=Role.ADMIN)
    with pytest.raises(InvalidValue, match="at least one"):
        make(session, anne)
    with pytest.raises(InvalidValue, match="days"):
        tokens.make(session, anne, "x", [Scope.CHECKIN], by="", role=Role.USER, now=NOW, lifetime=timedelta(days=400))


def test_last_use_is_written_once_a_minute(session: Session, anne: User) -> None:
    bearer = found(session, make(session, anne, Scope.CHECKIN))
    seconds = (0, 30, 59, 61)
    assert [tokens.note_used(session, bearer, NOW + timedelta(seconds=s)) for s in seconds] == [
        True,
        False,
        False,
        True,
    ]
    row = session.scalars(select(ApiToken).execution_options(populate_existing=True)).one()
    assert row.last_used_at == NOW + timedelta(seconds=61)


def test_making_and_revoking_is_audited_and_the_hash_is_not_shown(session: Session, site: Site) -> None:
    audit.sign(session, audit.Actor("anne"))
    make(session, site, Scope.CHECKIN)
    row = session.scalars(select(ApiToken)).one()
    tokens.note_used(session, found_row(session, site), NOW)
    tokens.revoke(session, row, NOW)
    session.flush()
    events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    assert [(event.action, event.site_id) for event in events] == [
        ("add api_token", site.id),
        ("change api_token", site.id),
    ]
    assert row.token_hash not in str(events[0].after)


def found_row(session: Session, site: Site) -> Bearer:
    return found(session, make_quietly(session, site))


def make_quietly(session: Session, site: Site) -> str:
    with audit.told_otherwise(session):
        return make(session, site, Scope.CHECKIN)


def test_lists_hold_the_owners_tokens_and_those_that_ended_lately(session: Session, site: Site, anne: User) -> None:
    make(session, anne, Scope.CHECKIN)
    make(session, site, Scope.CHECKIN)
    mine = tokens.list_tokens(session, anne, NOW + YEAR)
    assert [token.user_id for token in mine] == [anne.id] and tokens.has_ended(mine[0], NOW + YEAR)
    assert tokens.list_tokens(session, anne, NOW + YEAR + tokens.KEPT) == []
    with pytest.raises(NotFound):
        tokens.find_own(session, site, mine[0].id)


def test_all_tokens_are_listed_with_their_owners_until_they_end(session: Session, site: Site, anne: User) -> None:
    make(session, anne, Scope.CHECKIN)
    make(session, site, Scope.CHECKIN)
    listed = tokens.list_all(session, NOW)
    assert [row["owner"] for row in listed] == ["anne", site.name]
    tokens.revoke(session, tokens.find_any(session, listed[0]["id"]), NOW)
    assert [row["owner"] for row in tokens.list_all(session, NOW)] == [site.name]
    for number in (0, 10**12, 999):
        with pytest.raises(NotFound):
            tokens.find_any(session, number)


def test_there_is_a_limit_to_tokens_in_use(session: Session, anne: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_TOKENS", 1)
    make(session, anne, Scope.CHECKIN)
    with pytest.raises(NotAllowed, match="Revoke"):
        make(session, anne, Scope.CHECKIN)
