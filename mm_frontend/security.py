"""What browsers are told to refuse, and which cookies they keep."""

from __future__ import annotations

from flask import Flask, Response, g, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask_talisman import Talisman
from flask_wtf.csrf import CSRFProtect
from werkzeug.routing import IntegerConverter, ValidationError

from mm_lib.settings import FrontendSettings

MAX_BODY = 1 << 20  # bytes; the largest form has a few kilobytes
LARGEST_NUMBER = 2**63 - 1
STATIC_SECONDS = 365 * 24 * 3600  # addresses of static files change with their content

# Nothing but our own style sheet and pictures: no script at all, so nothing that gets into a page can run.
CONTENT_SECURITY_POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self' data:",  # Bootstrap's style sheet draws its marks that way
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
# Pages with charts draw them by scripts of our own, in files; they set g.scripts before their view.
_SCRIPTED = CONTENT_SECURITY_POLICY | {"script-src": "'self'"}
_SCRIPTED_POLICY = "; ".join(f"{name} {value}" for name, value in _SCRIPTED.items())

PERMISSIONS_POLICY = dict.fromkeys(
    ("browsing-topics", "camera", "display-capture", "geolocation", "microphone", "payment", "usb"), "()"
)


csrf = CSRFProtect()


class Cookies(SecureCookieSessionInterface):
    """Flask's, but answers that are the same for everybody do not say that they depend on the cookie.

    Whoever signs people in looks at the cookie at every request, and a cache would keep one copy for each reader.
    """

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie if it changed."""
        if session.modified or not (g.get("for_everybody", False) or request.endpoint == "static"):
            super().save_session(app, session, response)


class Number(IntegerConverter):
    """A number in an address. One that no database can be asked for leads nowhere."""

    def to_python(self, value: str) -> int:
        """The number."""
        # Python refuses to read thousands of digits, with an error that is none of routing.
        if len(value) > len(str(LARGEST_NUMBER)) or (number := int(super().to_python(value))) > LARGEST_NUMBER:
            raise ValidationError
        return number


def harden(app: Flask, settings: FrontendSettings) -> None:
    """Set headers, cookies and limits for every page, and ask for a CSRF token with every change."""
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        SEND_FILE_MAX_AGE_DEFAULT=STATIC_SECONDS,
        PREFERRED_URL_SCHEME="https" if settings.https else "http",
        SESSION_COOKIE_NAME=cookie_name("form", settings),
        SESSION_COOKIE_SECURE=settings.https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
        WTF_CSRF_TIME_LIMIT=None,  # a token lives as long as its cookie: a form may stay open over lunch
    )
    app.session_interface = Cookies()
    app.url_map.converters["int"] = Number
    csrf.init_app(app)
    app.after_request(_allow_scripts)  # the last one is called first: after what Talisman does
    Talisman(
        app,
        force_https=False,  # the proxy redirects; here it could only loop
        strict_transport_security=settings.https,
        strict_transport_security_include_subdomains=False,  # not ours to decide
        content_security_policy=CONTENT_SECURITY_POLICY,
        permissions_policy=PERMISSIONS_POLICY,
        frame_options="DENY",
        referrer_policy="same-origin",
        session_cookie_secure=settings.https,
    )
    app.after_request(_isolate)


def cookie_name(purpose: str, settings: FrontendSettings) -> str:
    """Over https browsers keep a __Host- cookie from being set by another host or without Secure."""
    return f"{'__Host-' if settings.https else ''}mm_{purpose}"


def _allow_scripts(response: Response) -> Response:
    if g.get("scripts", False):
        response.headers["Content-Security-Policy"] = _SCRIPTED_POLICY
    return response


def _isolate(response: Response) -> Response:
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")  # badges are for others' pages
    if request.endpoint != "static":
        # Pages show who is signed in: no cache may give them to somebody else. Public ones say otherwise themselves.
        response.headers.setdefault("Cache-Control", "private, no-cache")
    return response
