"""Accounts, groups, sites and who speaks for them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mm_lib.importers.mirrormanager2.source import Source, flag, moment, text
from mm_lib.importers.mirrormanager2.writer import Keys, Values, Writer
from mm_lib.importers.report import Outcome, Report
from mm_lib.model.accounts import Group, GroupMember, User
from mm_lib.model.base import State
from mm_lib.model.sites import MemberRole, Site, SiteMember, SiteUpstream
from mm_lib.rules import urls
from mm_lib.services import site_passwords
from mm_lib.services.accounts import checked_email, checked_name
from mm_lib.services.errors import InvalidValue

BY = "mm-admin import mirrormanager2"
_ACTIVE: Values = {"state": State.ACTIVE, "state_reason": "", "state_by": BY}


def switched_off(by: State, reason: str) -> Values:
    """A state with its reason."""
    return {"state": by, "state_reason": reason, "state_by": BY}


def state(admin_active: object, user_active: object, reason: str = "") -> Values:
    """The two switches of the source as one state. Where the crawler left a reason, it was the one who switched it."""
    if not flag(admin_active, True):
        return switched_off(State.ADMIN_DISABLED, reason or "switched off by an administrator of MirrorManager2")
    if flag(user_active, True):
        return dict(_ACTIVE)
    if reason:
        return switched_off(State.AUTO_DISABLED, reason)
    return switched_off(State.OWNER_DISABLED, "switched off by its owner in MirrorManager2")


# -- accounts


def take_users(source: Source, writer: Writer) -> dict[str, int]:
    """Everybody with an account or a site: name in the source -> our user."""
    accounts = _accounts(source, writer)
    speakers = {str(row.username): f"site_admin {row.id}" for row in source.rows("site_admin", "id", "username")}
    names = {}
    for name, where in (speakers | {str(row.user_name): f"mm_user {row.id}" for row in accounts.values()}).items():
        if ours := _user_name(name, where, writer.report):
            names[name] = ours
    known = writer.ids(User, "name")
    rows = {}
    for name, ours in names.items():
        account = accounts.get(name)
        email = _email(account, writer.report) if account else ""
        rows[ours] = {"name": ours, "email": email, "display_name": text(account.display_name) if account else ""}
    new = [row for ours, row in rows.items() if (ours,) not in known]
    writer.insert(User, new)
    writer.report.count(Outcome.TAKEN, "user", len(new))
    writer.report.count(Outcome.UNCHANGED, "user", len(rows) - len(new))  # whoever is with us already looks after that
    found = writer.ids(User, "name")
    users = {name: found[(ours,)] for name, ours in names.items()}
    _groups(source, writer, {row.id: users[name] for name, row in accounts.items() if name in users})
    return users


def _accounts(source: Source, writer: Writer) -> dict[str, Any]:
    columns = ("id", "user_name", "email_address", "display_name", "password")
    found = {str(row.user_name): row for row in source.rows("mm_user", *columns)}
    for name, row in found.items():
        if row.password:
            reason = "is hashed with a secret of MirrorManager2; a new one is set by “forgotten password”"
            writer.report.refused("mm_user.password", f"mm_user {row.id}", name, reason)
    return found


def _user_name(name: str, where: str, report: Report) -> str:
    try:
        ours = checked_name(name)
    except InvalidValue as error:
        report.refused("user", where, name, error.message)
        return ""
    if ours != name:
        report.repaired("user", where, name, f"is {ours} here")
    return ours


def _email(account: Any, report: Report) -> str:
    address = str(account.email_address or "")
    try:
        return checked_email(address)
    except InvalidValue as error:
        report.refused("mm_user.email_address", f"mm_user {account.id}", address, error.message)
        return ""


def _groups(source: Source, writer: Writer, users: dict[int, int]) -> None:
    rows = {}
    for row in source.rows("mm_group", "id", "group_name", "display_name"):
        if name := text(row.group_name)[:255]:
            rows[row.id] = {"name": name, "display_name": text(row.display_name)}
        else:
            writer.report.refused("mm_group", f"mm_group {row.id}", "", "has no name")
    writer.put("mm_group", Group, ["name"], {row["name"]: row for row in rows.values()}.values())
    found = writer.ids(Group, "name")
    members = {}
    for row in source.rows("mm_user_group", "user_id", "group_id", order_by=("user_id", "group_id")):
        if row.group_id in rows and row.user_id in users:
            key = (found[(rows[row.group_id]["name"],)], users[row.user_id])
            members[key] = {"group_id": key[0], "user_id": key[1]}
        else:
            writer.report.refused("mm_user_group", f"mm_user_group {row.user_id}", "", "its user or group is not there")
    writer.put("mm_user_group", GroupMember, ["group_id", "user_id"], members.values())


# -- sites


def take_sites(source: Source, writer: Writer, users: dict[str, int]) -> dict[int, int]:
    """All sites with their members: number in the source -> ours."""
    columns = (
        "id", "name", "org_url", "private", "admin_active", "user_active", "created_at", "created_by",
        "all_sites_can_pull_from_me", "downstream_comments", "password",
    )  # fmt: skip
    rows, passwords, used = {}, {}, set[str]()
    for row in source.rows("site", *columns):
        name = _site_name(row.id, row.name, used, writer.report)
        rows[row.id] = {
            "name": name,
            "org_url": _org_url(row.id, row.org_url, name, writer.report),
            "private": flag(row.private),
            "all_sites_can_pull": flag(row.all_sites_can_pull_from_me),
            "downstream_comments": str(row.downstream_comments or "").replace("\0", "").strip(),
            **state(row.admin_active, row.user_active),
            "created_by": text(row.created_by),
            "created_at": moment(row.created_at) or datetime.now(UTC),
        }
        if row.password:
            passwords[row.id] = str(row.password)
    writer.put("site", Site, ["name"], rows.values(), keep=["created_by", "created_at"])
    found = writer.ids(Site, "name")
    sites = {id_: found[(row["name"],)] for id_, row in rows.items()}
    _members(source, writer, sites, users)
    _upstreams(source, writer, sites)
    _passwords(writer, {sites[id_]: (id_, password) for id_, password in passwords.items()})
    return sites


def _site_name(id_: int, given: object, used: set[str], report: Report) -> str:
    """Names that differ in capitals or blanks only would be taken for one another, and old ones may be there twice."""
    name = text(given)[:255] or f"Site {id_}"
    if name.lower() in used:
        name = f"{name[:230]} ({id_})"
        report.repaired("site", f"site {id_}", name, "another site has its name; its number was added")
    elif name != given:
        report.repaired("site", f"site {id_}", name, f"its name was {given!r}")
    used.add(name.lower())
    return name


def _org_url(id_: int, given: object, name: str, report: Report) -> str:
    address = text(given)
    if not address:
        return ""
    guessed = address if "://" in address else f"http://{address}"
    try:
        ours = urls.normalise(guessed, ("https", "http"))
    except ValueError as error:
        report.refused("site.org_url", f"site {id_}", name, str(error))
        return ""
    if guessed != address:
        report.repaired("site.org_url", f"site {id_}", name, f"{address} has no scheme; taken as {ours}")
    return ours


def _members(source: Source, writer: Writer, sites: dict[int, int], users: dict[str, int]) -> None:
    """Whoever spoke for a site there could do everything with it: owners, here."""
    met = Keys(writer.report, "site_admin")
    rows = []
    for row in source.rows("site_admin", "id", "username", "site_id"):
        where, name = f"site_admin {row.id}", str(row.username)
        site, user = sites.get(row.site_id), users.get(name)
        if site is None or user is None:
            writer.report.refused(
                "site_admin", where, name, "the user could not be taken" if site else "its site is not there"
            )
        elif met.free((site, user), where, name):
            rows.append({"site_id": site, "user_id": user, "role": MemberRole.OWNER})
    writer.put("site_admin", SiteMember, ["site_id", "user_id"], rows, keep=["role"])


def _upstreams(source: Source, writer: Writer, sites: dict[int, int]) -> None:
    met = Keys(writer.report, "site_to_site")
    rows = []
    for row in source.rows("site_to_site", "id", "upstream_site_id", "downstream_site_id", "username"):
        where, pair = f"site_to_site {row.id}", (sites.get(row.upstream_site_id), sites.get(row.downstream_site_id))
        if None in pair or pair[0] == pair[1]:
            writer.report.refused("site_to_site", where, "", "one of its sites is not there, or they are the same")
        elif met.free(pair, where, ""):
            rows.append({"upstream_id": pair[0], "downstream_id": pair[1]})
            if row.username:
                reason = "members of the site below see private URLs by their own accounts; the shared one was left out"
                writer.report.refused("site_to_site.username", where, row.username, reason)
    writer.put("site_to_site", SiteUpstream, ["upstream_id", "downstream_id"], rows)


def _passwords(writer: Writer, passwords: dict[int, tuple[int, str]]) -> None:
    """They stand there in clear; here as a hash, and report_mirror goes on to work.

    Where there is another one here already, both work for a while: it may be the newer one.
    """
    session, now, report = writer.session, datetime.now(UTC), writer.report
    for id_, (number, password) in passwords.items():
        site = session.get_one(Site, id_)
        if site_passwords.current(session, site, now) and site_passwords.matches(session, site, password, now):
            report.count(Outcome.UNCHANGED, "site.password")
            continue
        try:
            site_passwords.change(session, site, now, password=password)
        except InvalidValue as error:
            report.refused("site.password", f"site {number}", site.name, f"{error.message}; give the site a new one")
        else:
            report.count(Outcome.TAKEN, "site.password")
