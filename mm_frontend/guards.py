"""Who is asking, and whether they may: the sign-in of a request, the table of who may what, and limits.

Every request passes authorise() before its view and before its form is looked at. What a request is about is found
there, each id below its parents, and views get it from reached(): none of them decides who may do what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import ParamSpec

from flask import Flask, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_login import current_user
from limits.errors import ConfigurationError

from mm_frontend.db import session
from mm_lib.model.accounts import Role
from mm_lib.services import access, audit
from mm_lib.services.access import (
    ADMINISTER,
    AUDIT,
    CHANGE,
    EVERYBODY,
    MEMBER,
    OWN,
    SEE,
    SIGNED_IN,
    Reached,
    Standing,
)
from mm_lib.services.errors import NotAllowed, NotFound
from mm_lib.services.sign_ins import SignedIn
from mm_lib.settings import SettingsError

UNSEEN = "There is nothing at this address that you may see. It was deleted, or belongs to others."
NOBODY = "(not signed in)"  # who did it, for the audit log; no user can have this name

P = ParamSpec("P")
Who = frozenset[Standing]

# Pages that are for everybody, or that ask for a sign-in themselves because they are about oneself.
PARTS: dict[str, Who] = {
    "api": EVERYBODY,  # asks by its own table: mm_frontend/api/operation.py
    "api_old": EVERYBODY,
    "auth": EVERYBODY,
    "branding": EVERYBODY,
    "data": EVERYBODY,
    "checkin": EVERYBODY,  # each call brings its own proof
    "files": EVERYBODY,
    "health": EVERYBODY,
    "maps": EVERYBODY,
    "metrics": EVERYBODY,  # to clients of frontend.metrics_networks; to others there is no such page
    "mirror_health": EVERYBODY,
    "propagation": EVERYBODY,
    "public": EVERYBODY,
    "statistics": EVERYBODY,
}
# Everything else: endpoint -> who may. An endpoint that stands in neither table is closed to everybody.
ENDPOINTS: dict[str, Who] = {
    "static": EVERYBODY,
    "operators.badge": EVERYBODY,
    "operators.badge_json": EVERYBODY,
    "operators.mine": SIGNED_IN,
    "operators.all_sites": SIGNED_IN,  # says politely that it is for others
    "operators.new_site": SIGNED_IN,
    "operators.ask_to_join": SIGNED_IN,
    "operators.invitation": SIGNED_IN,
    "operators.deleted": SIGNED_IN,
    "operators.site": SEE,
    "operators.site_events": SEE,
    "operators.my_tokens": SIGNED_IN,
    "operators.new_my_token": SIGNED_IN,
    "operators.revoke_my_token": SIGNED_IN,
    "operators.site_tokens": CHANGE,
    "operators.new_site_token": CHANGE,
    "operators.revoke_site_token": CHANGE,
    "operators.edit_site": CHANGE,
    "operators.site_state": CHANGE,
    "operators.check_in": CHANGE,
    "operators.withdraw_password": CHANGE,
    "operators.add_member": CHANGE,
    "operators.remove_member": CHANGE,
    "operators.withdraw_invitation": CHANGE,
    "operators.answer_request": CHANGE,
    "operators.member_role": OWN,
    "operators.transfer": OWN,
    "operators.leave": MEMBER,
    "operators.drop_site": OWN,
    "operators.restore_site": OWN,
    "operators.restore_host": CHANGE,
    "operators.restore_part": CHANGE,  # what only owners or administrators make, only they bring back: by its service
    "operators.host": SEE,
    "operators.host_repositories": SEE,
    "operators.host_crawls": SEE,
    "operators.crawl_log": SEE,
    "operators.host_asked": SEE,
    "operators.host_explain": SEE,
    "operators.host_checks": SEE,
    "operators.new_host": CHANGE,
    "operators.edit_host": CHANGE,
    "operators.host_state": CHANGE,
    "operators.check_now": CHANGE,
    "operators.drop_host": CHANGE,
    "operators.new_netblock": CHANGE,
    "operators.edit_netblock": CHANGE,
    "operators.drop_netblock": CHANGE,
    "operators.new_asn": ADMINISTER,
    "operators.edit_asn": ADMINISTER,
    "operators.drop_asn": ADMINISTER,
    "operators.new_country": CHANGE,
    "operators.edit_country": CHANGE,
    "operators.drop_country": CHANGE,
    "operators.new_acl": CHANGE,
    "operators.edit_acl": CHANGE,
    "operators.drop_acl": CHANGE,
    "operators.new_category": CHANGE,
    "operators.edit_category": ADMINISTER,
    "operators.drop_category": CHANGE,
    "operators.new_url": CHANGE,
    "operators.edit_url": CHANGE,
    "operators.drop_url": CHANGE,
    "operators.new_maintenance": CHANGE,
    "operators.edit_maintenance": CHANGE,
    "operators.drop_maintenance": CHANGE,
    "operators.all_events": AUDIT,
    "admin.index": AUDIT,
    "admin.table": AUDIT,
    "admin.table_row": AUDIT,
    "admin.table_file": AUDIT,
    "admin.new_row": ADMINISTER,
    "admin.edit_row": ADMINISTER,
    "admin.drop_row": ADMINISTER,
    "admin.bulk": ADMINISTER,
    "admin.import_rows": ADMINISTER,
    "admin.approval_queue": AUDIT,
    "admin.approval": ADMINISTER,
    "admin.user_list": AUDIT,
    "admin.user": AUDIT,
    "admin.user_role": ADMINISTER,
    "admin.user_state": ADMINISTER,
    "admin.end_user_sign_ins": ADMINISTER,
    "admin.reset_user_code": ADMINISTER,
    "admin.confirm_user_mail": ADMINISTER,
    "admin.link_users": ADMINISTER,
    "admin.tell_apart": ADMINISTER,
    "admin.place_list": AUDIT,
    "admin.new_embargo": ADMINISTER,
    "admin.drop_embargo": ADMINISTER,
    "admin.new_continent": ADMINISTER,
    "admin.edit_continent": ADMINISTER,
    "admin.drop_continent": ADMINISTER,
    "admin.new_client_network": ADMINISTER,
    "admin.edit_client_network": ADMINISTER,
    "admin.drop_client_network": ADMINISTER,
    "admin.redirect_list": AUDIT,
    "admin.new_redirect": ADMINISTER,
    "admin.edit_redirect": ADMINISTER,
    "admin.drop_redirect": ADMINISTER,
    "admin.rule_list": AUDIT,
    "admin.category_rules": AUDIT,
    "admin.new_rule": ADMINISTER,
    "admin.edit_rule": ADMINISTER,
    "admin.drop_rule": ADMINISTER,
    "admin.configuration_page": AUDIT,
    "admin.monitor_page": AUDIT,
    "admin.monitor_checks": AUDIT,
    "admin.monitor_jobs": AUDIT,
    "admin.monitor_runs": AUDIT,
    "admin.monitor_messages": AUDIT,
    "admin.cancel_check": ADMINISTER,
    "admin.repeat_check": ADMINISTER,
    "admin.cancel_job": ADMINISTER,
    "admin.repeat_job": ADMINISTER,
    "admin.deliver_again": ADMINISTER,
    "admin.deliver_all_again": ADMINISTER,
    "admin.banner_list": AUDIT,
    "admin.new_banner": ADMINISTER,
    "admin.edit_banner": ADMINISTER,
    "admin.drop_banner": ADMINISTER,
}


@dataclass(frozen=True)
class Viewer:
    """A signed-in user in the form that Flask-Login keeps for a request."""

    signed_in: SignedIn
    is_authenticated = True
    is_active = True
    is_anonymous = False

    def get_id(self) -> str:
        """The user's id."""
        return str(self.signed_in.user_id)


def viewer() -> SignedIn | None:
    """Who is signed in; none: nobody."""
    return current_user.signed_in if current_user.is_authenticated else None


def the_viewer() -> SignedIn:
    """Who is signed in, in a view that login_required guards."""
    found = viewer()
    assert found is not None
    return found


def register(app: Flask) -> None:
    """Ask who may, before anything else of a request."""
    app.before_request_funcs.setdefault(None, []).insert(0, authorise)


def authorise() -> ResponseReturnValue | None:
    """Let a request through to its view, or send it to the sign-in page. Raises NotFound, NotAllowed."""
    who = ENDPOINTS.get(request.endpoint or "", PARTS.get(request.blueprint or ""))
    if request.endpoint is None or who == EVERYBODY:
        return None
    person = viewer()
    if who is None:
        raise NotAllowed("Nobody may open this page: it is in no table of who may what.")
    if person is None:
        return _to_sign_in()
    g.reached = _reach(person)
    g.standings = access.standings(session(), person.user_id, person.role, g.reached.site)
    if g.reached.site is not None and not SEE & standings():
        raise NotFound(UNSEEN)
    if not who & standings():
        raise NotAllowed("Your account may not do this. Members of a site see its pages; only some may change them.")
    return None


def _reach(person: SignedIn) -> Reached:
    """What is meant. Strangers are told the same of what is not there and of what others have. Raises NotFound."""
    try:
        return access.reach(session(), request.view_args or {})
    except NotFound:
        if person.role is Role.USER:
            raise NotFound(UNSEEN) from None
        raise


def sign_changes() -> None:
    """From now on the audit log says whose doing it is what the request changes."""
    person = viewer()
    name, user_id = (person.name, person.user_id) if person else (NOBODY, None)
    audit.sign(session(), audit.Actor(name, user_id, request.remote_addr or ""))


def reached() -> Reached:
    """What the request is about."""
    found = g.reached
    assert isinstance(found, Reached)
    return found


def standings() -> frozenset[Standing]:
    """What the viewer is towards what the request is about."""
    found: frozenset[Standing] = g.get("standings", frozenset())
    return found


def may(who: Who) -> bool:
    """Whether the viewer is among them, for what the request is about."""
    return bool(who & standings())


def is_role(role: Role) -> bool:
    """Whether the viewer has this role beyond the own sites."""
    person = viewer()
    return person is not None and person.role is role


def _to_sign_in() -> ResponseReturnValue:
    return redirect(url_for("auth.login", next=here() or None))


def login_required(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Send people who are not signed in to the sign-in page, and afterwards back to where they were."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if viewer() is None:
            return _to_sign_in()
        return view(*args, **kwargs)

    return guarded


def here() -> str:
    """The address of this page on this host, to come back to; empty when nobody can or wants to come back to it."""
    about_signing_in = request.blueprint == "auth" and request.endpoint != "auth.account"
    if request.method not in ("GET", "HEAD") or about_signing_in or request.endpoint == "public.start":
        return ""
    return request.full_path.removesuffix("?")


def client_network() -> str:
    """The client's address; of IPv6 the /64, for that is what one customer has."""
    text = request.remote_addr or ""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else text


# Where it counts is a setting; while that cannot be reached, each process counts for itself.
limiter = Limiter(client_network, strategy="moving-window", headers_enabled=True, in_memory_fallback_enabled=True)


def count_tries(app: Flask, storage: str) -> None:
    """Begin to count. Raises SettingsError when the storage cannot be used."""
    app.config["RATELIMIT_STORAGE_URI"] = storage
    try:
        limiter.init_app(app)
    except ConfigurationError as error:
        raise SettingsError(f"login.limits_storage {storage} cannot be used: {error}") from None
