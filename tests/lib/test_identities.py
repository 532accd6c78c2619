"""People from other sources: who they are here, by the subject and never by the name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.accounts import Group, GroupMember, Identity, Role, User
from mm_lib.model.sites import MemberRole, Site, SiteMember
from mm_lib.services import identities, sign_ins
from mm_lib.services.accounts import create_user
from mm_lib.services.errors import InvalidValue, NotAllowed, NotFound
from mm_lib.services.identities import Person
from mm_lib.settings import LdapSettings

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ADA = Person("https://id.example.org", "17", "ada", "Ada L.", "ada@example.org")


def enter(session: Session, person: Person) -> User:
    return identities.enter(session, person, NOW).user


def test_a_new_person_becomes_a_user(session: Session) -> None:
    user = enter(session, ADA)
    assert (user.name, user.display_name, user.email, user.role) == ("ada", "Ada L.", "ada@example.org", Role.USER)
    assert user.last_login_at == NOW
    assert user.password_hash is None


def test_the_subject_says_who_somebody_is_whatever_the_name(session: Session) -> None:
    renamed = replace(ADA, name="lovelace", display_name="A. Lovelace", email="lovelace@example.org")
    assert enter(session, ADA) is enter(session, renamed)
    assert enter(session, ADA).name == "ada"


def test_name_and_address_follow_the_source(session: Session) -> None:
    user = enter(session, ADA)
    enter(session, replace(ADA, display_name="A. Lovelace", email="lovelace@example.org"))
    assert (user.display_name, user.email) == ("A. Lovelace", "lovelace@example.org")
    enter(session, replace(ADA, display_name="", email="no address"))
    assert (user.display_name, user.email) == ("A. Lovelace", "lovelace@example.org")


@pytest.mark.parametrize("other", [replace(ADA, subject="18"), replace(ADA, issuer="https://elsewhere.example.org")])
def test_equal_names_are_not_the_same_person(session: Session, other: Person) -> None:
    local = create_user(session, "ada", "correct horse battery", role=Role.ADMIN)
    first, second = enter(session, ADA), enter(session, other)
    assert len({local.id, first.id, second.id}) == 3
    assert (first.name, second.name) == ("ada-2", "ada-3")
    assert (first.role, local.identities) == (Role.USER, [])


def test_names_are_made_to_fit(session: Session) -> None:
    for wanted, name in (
        ("Ada", "ada"),
        ("ada@example.org", "ada"),
        ("Ada Lovelace", "ada-lovelace"),
        ("a", "user-a"),
        ("", "user"),
        ("../../etc", "etc"),
        ("\u00c1d\u00e1", "user-d"),
        ("x" * 300, "x" * 56),
    ):
        assert identities.free_name(session, wanted) == name


def test_a_disabled_person_is_refused(session: Session) -> None:
    enter(session, ADA).active = False
    with pytest.raises(NotAllowed, match="disabled"):
        enter(session, ADA)


RULES = LdapSettings(required_groups=["staff", "admins"], admin_groups=["admins"], auditor_groups=["audit"])


@pytest.mark.parametrize(
    ("groups", "role"),
    [({"staff"}, Role.USER), ({"admins"}, Role.ADMIN), ({"staff", "audit"}, Role.AUDITOR)],
)
def test_groups_give_roles(groups: set[str], role: Role) -> None:
    assert identities.role_of(frozenset(groups), RULES) is role


def test_who_is_in_no_required_group_is_refused() -> None:
    with pytest.raises(NotAllowed, match="none of the groups"):
        identities.role_of(frozenset({"audit"}), RULES)


def test_without_required_groups_everybody_may_sign_in() -> None:
    assert identities.role_of(frozenset(), LdapSettings()) is Role.USER


def test_who_was_linked_by_mistake_is_told_apart_and_has_the_account_of_before(session: Session) -> None:
    user, other = enter(session, ADA), enter(session, replace(ADA, subject="18"))
    identities.link(session, "ada-2", "ada")
    assert identities.tell_apart(session, identities.known_as(session, ADA.issuer, "18")) is other
    assert (other.active, [each.subject for each in user.identities]) == (True, ["17"])
    assert enter(session, replace(ADA, subject="18")) is other


def test_who_has_no_account_of_before_gets_a_new_one(session: Session) -> None:
    user = enter(session, ADA)
    session.add(Identity(user_id=user.id, issuer=ADA.issuer, subject="18"))
    session.flush()
    session.expire(user)
    made = identities.tell_apart(session, identities.known_as(session, ADA.issuer, "18"))
    assert (made.name, made.password_hash) == ("ada-2", None)


def test_the_only_way_in_is_not_taken_away(session: Session) -> None:
    enter(session, ADA)
    with pytest.raises(NotAllowed, match="signs in by nothing else"):
        identities.tell_apart(session, identities.known_as(session, ADA.issuer, "17"))


def test_an_administrator_links_two_users_into_one(session: Session) -> None:
    """Sources, sites and groups move; where both are members, the stronger role counts."""
    user, other = enter(session, ADA), enter(session, replace(ADA, subject="18"))
    shared, theirs, lent, group = Site(name="shared"), Site(name="theirs"), Site(name="lent"), Group(name="g")
    session.add_all([shared, theirs, lent, group])
    session.flush()
    for site, member, role in (
        (shared, user, MemberRole.OWNER),
        (shared, other, MemberRole.VIEWER),
        (theirs, other, MemberRole.OWNER),
        (lent, user, MemberRole.VIEWER),
        (lent, other, MemberRole.OWNER),
    ):
        session.add(SiteMember(site_id=site.id, user_id=member.id, role=role))
    session.add(GroupMember(group_id=group.id, user_id=other.id))
    token = sign_ins.start(session, other.id, NOW, timedelta(hours=1))
    assert identities.link(session, "ada-2", "ada") == 2
    assert enter(session, replace(ADA, subject="18")) is user
    members = session.execute(select(SiteMember.site_id, SiteMember.user_id, SiteMember.role))
    assert {tuple(row) for row in members} == {
        (shared.id, user.id, MemberRole.OWNER),
        (theirs.id, user.id, MemberRole.OWNER),
        (lent.id, user.id, MemberRole.OWNER),
    }
    assert session.scalars(select(GroupMember.user_id)).all() == [user.id]
    assert not other.active
    assert sign_ins.find(session, token, NOW, timedelta(hours=1)) is None


def test_users_are_not_linked_to_themselves_or_to_nobody(session: Session) -> None:
    enter(session, ADA)
    with pytest.raises(InvalidValue):
        identities.link(session, "ada", "ada")
    with pytest.raises(NotFound):
        identities.link(session, "ada", "nobody")


def test_who_signs_in_from_where_is_listed(session: Session) -> None:
    enter(session, ADA)
    (row,) = identities.list_identities(session)
    assert (row["user"], row["issuer"], row["subject"]) == ("ada", ADA.issuer, "17")
