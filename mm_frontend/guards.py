"""Who is asking, and whether they may: the sign-in of a request, its limits, and what asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import ParamSpec

from flask import Flask, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_login import current_user
from limits.errors import ConfigurationError

from mm_lib.services.sign_ins import SignedIn
from mm_lib.settings import SettingsError

P = ParamSpec("P")


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


def login_required(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Send people who are not signed in to the sign-in page, and afterwards back to where they were."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
        if viewer() is None:
            return redirect(url_for("auth.login", next=here() or None))
        return view(*args, **kwargs)

    return guarded


def here() -> str:
    """The address of this page on this host, to come back to; empty when it cannot be come back to."""
    if request.method not in ("GET", "HEAD") or (request.endpoint or "").startswith("auth.") and request.endpoint != "auth.account":
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
limiter = Limiter(
    client_network, strategy="moving-window", headers_enabled=True, in_memory_fallback_enabled=True, swallow_errors=True
)


def count_tries(app: Flask, storage: str) -> None:
    """Begin to count. Raises SettingsError when the storage cannot be used."""
    app.config["RATELIMIT_STORAGE_URI"] = storage
    try:
        limiter.init_app(app)
    except ConfigurationError as error:
        raise SettingsError(f"login.limits_storage {storage} cannot be used: {error}") from None
