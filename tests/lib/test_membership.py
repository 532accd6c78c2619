"""Members, invitations and what belongs to hosts, where the database decides: on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import AuditEvent, Role, User
from mm_lib.model.hosts import Host
from mm_lib.model.sites import MemberRole, Site, SiteInvitation, SiteMember
from mm_lib.services import (
    access,
    accounts,
    audit,
    event_log,
    host_details,
    identities,
    maintenance,
    membership,
    overview,
)
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound
from mm_lib.services.event_log import EventFilter
from mm_lib.services.host_details import Limits
from tests import factories as make

NOW = make.NOW


@pytest.fixture
def host(session: Session) -> Host:
    """A host of a site that anne owns."""
    host = make.host(session, "m.example.org")
    session.add_all([User(name="anne"), User(name="bert")])
    session.flush()
    membership.add(session, host.site, "anne", MemberRole.OWNER, by_owner=True)
    return host


def user(session: Session, name: str) -> User:
    return session.scalars(select(User).where(User.name == name)).one()


def member(session: Session, site: Site, name: str) -> SiteMember:
    return next(row for row in membership.members(session, site) if row.user.name == name)


def test_a_site_keeps_an_owner(session: Session, host: Host) -> None:
    anne = member(session, host.site, "anne")
    for refused in (
        lambda: membership.leave(session, host.site, anne.user_id),
        lambda: membership.set_role(session, anne, MemberRole.ADMIN),
        lambda: membership.remove(session, anne, by_owner=True),
    ):
        with pytest.raises(NotAllowed, match="last owner"):
            refused()
    membership.add(session, host.site, "bert", MemberRole.VIEWER, by_owner=False)
    membership.transfer(session, host.site, member(session, host.site, "bert"), anne.user_id)
    membership.leave(session, host.site, anne.user_id)
    assert [(row.user.name, row.role) for row in membership.members(session, host.site)] == [("bert", MemberRole.OWNER)]


def test_an_invitation_works_once_and_the_newest_counts(session: Session, host: Host) -> None:
    def invite() -> str:
        how = {"by": "anne", "by_owner": False, "now": NOW}
        return membership.invite(session, host.site, "Bert@Example.org", MemberRole.ADMIN, **how)[1]  # type: ignore[arg-type]

    old, token = invite(), invite()
    with pytest.raises(NotFound):
        membership.find_invitation(session, old, NOW)
    with pytest.raises(NotFound):
        membership.find_invitation(session, token, NOW + membership.VALID)
    found, site = membership.find_invitation(session, token, NOW)
    membership.accept(session, found, site, user(session, "bert").id, "bert")
    assert access.role_in(session, user(session, "bert").id, site.id) is MemberRole.ADMIN
    with pytest.raises(NotFound):
        membership.find_invitation(session, token, NOW)


@pytest.mark.parametrize("how", ["removed", "left", "demoted", "handed over", "disabled", "linked into another"])
def test_whoever_may_invite_no_more_has_nobody_come_in(session: Session, host: Host, how: str) -> None:
    site, tokens = host.site, {}
    session.add(User(name="carl"))
    session.flush()
    membership.add(session, site, "bert", MemberRole.OWNER, by_owner=True)
    membership.add(session, site, "carl", MemberRole.ADMIN, by_owner=True)
    for who in ("anne", "bert"):
        invited = membership.invite(
            session, site, f"{who}2@example.org", MemberRole.OWNER, by=who, by_owner=True, now=NOW
        )
        tokens[who] = invited[1]
    bert = member(session, site, "bert")
    if how == "removed":
        membership.remove(session, bert, by_owner=True)
    elif how == "left":
        membership.leave(session, site, bert.user_id)
    elif how == "disabled":
        accounts.set_user(session, "bert", active=False)
    elif how == "linked into another":
        identities.link(session, "bert", "carl")
    elif how == "demoted":
        membership.set_role(session, bert, MemberRole.ADMIN)
    else:
        membership.transfer(session, site, member(session, site, "carl"), bert.user_id)
    assert membership.find_invitation(session, tokens["anne"], NOW)
    with pytest.raises(NotFound):
        membership.find_invitation(session, tokens["bert"], NOW)


def test_a_promotion_leaves_invitations_alone(session: Session, host: Host) -> None:
    bert = membership.add(session, host.site, "bert", MemberRole.ADMIN, by_owner=True)
    _, token = membership.invite(
        session, host.site, "new@example.org", MemberRole.ADMIN, by="bert", by_owner=False, now=NOW
    )
    membership.set_role(session, bert, MemberRole.OWNER)
    assert membership.find_invitation(session, token, NOW)


def test_an_invitation_is_accepted_by_one_of_two_who_come_at_once(session: Session, host: Host) -> None:
    session.add(User(name="carl"))
    _, token = membership.invite(
        session, host.site, "new@example.org", MemberRole.ADMIN, by="anne", by_owner=True, now=NOW
    )
    found, site = membership.find_invitation(session, token, NOW)
    session.expunge(found)  # as two requests have it
    membership.accept(session, found, site, user(session, "bert").id, "bert")
    with pytest.raises(NotFound, match="at the same moment"):
        membership.accept(session, found, site, user(session, "carl").id, "carl")


def test_looking_at_invitations_changes_nothing(session: Session, host: Host) -> None:
    def invite() -> None:
        membership.invite(session, host.site, "new@example.org", MemberRole.ADMIN, by="anne", by_owner=True, now=NOW)

    invite()
    assert membership.list_invitations(session, host.site, NOW + membership.VALID) == []
    assert len(membership.list_invitations(session, host.site, NOW)) == 1
    session.scalars(select(SiteInvitation)).one().expires_at = NOW
    invite()
    assert len(session.scalars(select(SiteInvitation)).all()) == 1


def test_names_that_cannot_be_are_looked_for_nowhere(session: Session, host: Host) -> None:
    """PostgreSQL takes no NUL bytes."""
    with pytest.raises(InvalidValue, match="there is no user"):
        membership.add(session, host.site, "be\0rt", MemberRole.VIEWER, by_owner=True)
    assert membership.ask_to_join(session, "site\0", user(session, "bert").id, "") is None
    with pytest.raises(InvalidValue, match="control character"):
        EventFilter(text="\0")


def test_who_asked_is_let_in_and_asks_no_more(session: Session, host: Host) -> None:
    bert = user(session, "bert")
    assert membership.ask_to_join(session, "SITE of  m.example.org", bert.id, "me") is host.site
    assert membership.ask_to_join(session, host.site.name, bert.id, "me again") is host.site
    [request] = membership.list_requests(session, host.site)
    assert request.message == "me again"
    with pytest.raises(NotAllowed):
        membership.answer(session, request, host.site, MemberRole.OWNER)
    membership.answer(session, request, host.site, MemberRole.VIEWER)
    assert membership.list_requests(session, host.site) == []
    assert membership.ask_to_join(session, host.site.name, bert.id, "") is None


def test_standings_come_from_the_account_and_the_site(session: Session, host: Host) -> None:
    anne, bert = user(session, "anne"), user(session, "bert")
    assert access.standings(session, None, Role.USER, host.site) == {access.Standing.ANYBODY}
    assert access.Standing.OWNER in access.standings(session, anne.id, Role.USER, host.site)
    assert not access.SEE & access.standings(session, bert.id, Role.USER, host.site)
    assert access.CHANGE & access.standings(session, bert.id, Role.ADMIN, host.site)
    assert not access.CHANGE & access.standings(session, bert.id, Role.AUDITOR, host.site)


@pytest.mark.parametrize(
    ("taken", "wanted"), [("9.9.0.0/16", "9.9.9.0/24"), ("2a00:1::/48", "2a00:1::/32"), ("n.example.org",) * 2]
)
def test_networks_of_other_sites_are_found_whatever_their_size(
    session: Session, host: Host, taken: str, wanted: str
) -> None:
    other = make.host(session, "other.example.org")
    rules = {"limits": Limits(), "resolve": lambda _: ["192.0.2.1"]}
    host_details.save_netblock(session, other, None, taken, "", **rules)  # type: ignore[arg-type]
    host_details.save_netblock(session, host, None, "9.8.0.0/16", "", **rules)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="belongs to other"):
        host_details.save_netblock(session, host, None, wanted, "", **rules)  # type: ignore[arg-type]
    other.private = True
    with pytest.raises(InvalidValue, match="a mirror of another site"):
        host_details.save_netblock(session, host, None, wanted, "", **rules)  # type: ignore[arg-type]


def test_a_host_keeps_one_system_of_its_own_and_a_name_of_its_own(session: Session, host: Host) -> None:
    for number in (64500, 64501, None):
        host_details.edit_host(session, host, number)
        assert [row.asn for row in host.asns] == ([number] if number else [])
    other = Host(site=host.site, name="second")
    session.add(other)
    session.flush()
    with pytest.raises(AlreadyExists, match="has a host 'second' already"):
        host_details.edit_host(session, host, None, name="second")


def test_the_overview_of_a_host_says_what_there_is(session: Session, host: Host) -> None:
    category = make.category(session)
    make.carries(session, host, category, [make.directory(session, category, "a")])
    [found] = overview.categories(session, host)
    assert (found.name, found.percent, len(found.urls)) == ("Fedora Linux", 100, 1)
    assert overview.repositories(session, host) == overview.crawls(session, host) == []
    assert overview.badge(session, host, NOW).message == "in sync"
    maintenance.announce(session, host, NOW, NOW + timedelta(hours=1), reason="", by="anne", now=NOW)
    assert overview.badge(session, host, NOW).message == "maintenance"


def test_events_are_found_by_who_what_and_when(session: Session, host: Host) -> None:
    audit.sign(session, audit.Actor("Anne", None, "192.0.2.7"))
    host.comment = "100 % =SUM(A1)"
    session.flush()
    event = session.scalars(select(AuditEvent)).one()
    for wanted in (
        EventFilter(site_id=host.site_id, actor="anne"),
        EventFilter(action="HOST", text="EXAMPLE"),
        EventFilter(since=event.at - timedelta(seconds=1), until=event.at + timedelta(seconds=1)),
    ):
        assert [row["id"] for row in event_log.page(session, wanted, 9, 10).events] == [event.id]
    for other in (EventFilter(actor="bert"), EventFilter(text="%"), EventFilter(until=event.at - timedelta(seconds=1))):
        assert event_log.page(session, other, 1, 10).total == 0
    assert event_log.as_csv([{**event_log.export(session, EventFilter())[0], "name": "=1+1"}]).count(",'=1+1,") == 1
