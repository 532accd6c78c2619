"""Sign in at an OpenID provider: there, back, and what happens when somebody signs out there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Response, flash, jsonify, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from werkzeug.exceptions import NotFound

from mm_frontend.auth import signing, sources
from mm_frontend.auth.blueprint import FAILURES_PER_ADDRESS, PROVIDER_PER_ADDRESS, blueprint, failed, said_by_services
from mm_frontend.auth.forms import safe_next
from mm_frontend.auth.views import sign_in_page
from mm_frontend.db import session
from mm_frontend.guards import limiter
from mm_frontend.security import csrf
from mm_lib.database import transaction
from mm_lib.model.accounts import Role
from mm_lib.services import identities, openid, sign_ins
from mm_lib.services.errors import NotAllowed, ServiceError
from mm_lib.services.sign_ins import Source, stronger

if TYPE_CHECKING:
    from mm_frontend.auth.providers import Provider

log = logging.getLogger(__name__)


def _known(name: str) -> Provider:
    found = sources.provider(name)
    if found is None:
        raise NotFound
    return found


@blueprint.get("/login/oidc/<name>")
@limiter.limit(PROVIDER_PER_ADDRESS)
def begin_at_provider(name: str) -> ResponseReturnValue:
    """Send somebody to the provider."""
    provider = _known(name)
    target = safe_next(request.args.get("next", ""))
    try:
        return redirect(provider.begin(target, []))
    except ServiceError as down:
        return sign_in_page(target, said_by_services(str(down)), 503)


@blueprint.get("/login/oidc/<name>/callback")
@limiter.limit(FAILURES_PER_ADDRESS, deduct_when=failed)
def back_from_provider(name: str) -> ResponseReturnValue:
    """Somebody comes back from the provider, with or without having signed in."""
    provider = _known(name)
    try:
        begun = provider.begun(request.args.get("state", ""))
        if error := request.args.get("error"):
            signing.refused(f"somebody at {name}", f"the provider says {error[:100]!r}")
            flash(gettext("%(provider)s did not sign you in.", provider=provider.settings.label))
            return redirect(url_for("auth.login", next=begun["target"] or None))
        return _enter(provider, begun)
    except NotAllowed as refusal:
        signing.refused(f"somebody at {name}", getattr(refusal, "reason", str(refusal)))
        return sign_in_page("", said_by_services(str(refusal)), 403)
    except ServiceError as down:
        return sign_in_page("", said_by_services(str(down)), 503)


def _enter(provider: Provider, begun: dict[str, str]) -> Response:
    settings = provider.settings
    claims, id_token = provider.finish(request.args)
    person = openid.person(settings, claims)
    role = identities.role_of(person.groups, settings)
    with transaction(session()) as database:
        identity = identities.enter(database, person, datetime.now(UTC))
    strong = not settings.admin_acr or claims.get("acr") in settings.admin_acr
    if not strong and not begun["stronger"] and stronger(role, identity.user.role) is not Role.USER:
        # Only now it is known that this is somebody who needs more than a password.
        return _redirect(provider.begin(begun["target"], settings.admin_acr))
    source = Source(
        f"{sources.OIDC}{provider.name}",
        identity.id,
        role,
        strong=strong,
        provider_session=str(claims.get("sid") or ""),
        id_token=id_token,
    )
    return signing.complete(identity.user, source, begun["target"])


def _redirect(address: str) -> Response:
    return Response("", 302, {"Location": address})


@blueprint.post("/login/oidc/<name>/backchannel-logout")
@csrf.exempt  # type: ignore[untyped-decorator]
@limiter.limit(PROVIDER_PER_ADDRESS, deduct_when=lambda response: response.status_code >= 400)
def signed_out_at_provider(name: str) -> ResponseReturnValue:
    """The provider says that somebody signed out there (OpenID Connect Back-Channel Logout). It is no browser."""
    provider = _known(name)
    try:
        subject, sid = provider.signed_out(request.form.get("logout_token", ""))
    except ServiceError as refusal:
        log.warning("logout by %s refused: %s", name, getattr(refusal, "reason", refusal))
        answer = jsonify(error="invalid_request", error_description=str(getattr(refusal, "reason", refusal)))
        answer.status_code = 400
    else:
        with transaction(session()) as database:
            issuer = provider.settings.issuer
            count = sign_ins.end_at_provider(database, issuer, subject=subject, provider_session=sid)
        log.info("%s ended %d sign-ins", name, count)
        answer = Response("", 200)
    answer.headers["Cache-Control"] = "no-store"
    return answer
