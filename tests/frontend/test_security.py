"""What browsers are told, which cookies they get, and what the application refuses to start with."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, create_engine

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.guards import client_network
from mm_frontend.wsgi import build
from mm_lib.services.access import EVERYBODY
from mm_lib.settings import Settings, SettingsError
from tests.frontend.world import settings, sign_in


@pytest.mark.parametrize("path", ["/", "/mirrors", "/login", "/no/such/page", "/robots.txt"])
def test_every_page_carries_the_strict_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/site/{}/feed.atom", "/propagation/{}", "/mirror/{}", "/api/v1/repositories/{}/mirrors"]
)
@pytest.mark.parametrize("number", [f"{2**31}", f"{2**63 - 1}", f"{2**63}", "9" * 5000])
def test_numbers_that_no_row_can_have_lead_nowhere(client: FlaskClient, path: str, number: str) -> None:
    assert client.get(path.format(number)).status_code == 404


@pytest.mark.parametrize("path", ["/", "/mirrors", "/login", "/account"])
def test_pages_have_no_inline_style_or_script(client: FlaskClient, path: str) -> None:
    page = client.get(path, follow_redirects=True).text
    assert "<script" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert " onclick=" not in page


def test_visitors_of_public_pages_get_no_cookie(client: FlaskClient) -> None:
    assert "Set-Cookie" not in client.get("/").headers
    assert "Set-Cookie" not in client.get("/mirrors").headers


def test_static_files_are_kept_and_change_their_address_with_their_content(client: FlaskClient) -> None:
    with client.get("/static/style.css") as answer:
        assert "max-age=31536000" in answer.headers["Cache-Control"]
    assert "/static/style.css?v=" in client.get("/").text


@pytest.mark.usefixtures("ada")
def test_https_makes_cookies_secure_and_is_remembered(engine: Engine) -> None:
    client = create_app(settings(https=True), engine).test_client()
    client.environ_base["HTTP_REFERER"] = "https://localhost/login"
    answer = sign_in(client)
    cookies = answer.headers.getlist("Set-Cookie")
    signed_in = next(cookie for cookie in cookies if cookie.startswith("__Host-mm_sign_in="))
    for attribute in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=28800"):
        assert attribute in signed_in
    assert "Domain" not in signed_in
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31556926")


@pytest.mark.usefixtures("ada")
def test_without_https_cookies_are_still_kept_from_scripts(client: FlaskClient) -> None:
    cookies = sign_in(client).headers.getlist("Set-Cookie")
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie and "Secure" not in cookie for cookie in cookies)


@pytest.mark.parametrize("secret", [None, "", "change me", "a" * 64])
def test_a_bad_secret_key_stops_the_start(secret: str | None) -> None:
    wrong = Settings.model_validate({"frontend": {"secret_key": secret}})
    with pytest.raises(SettingsError, match=r"frontend\.secret_key"):
        create_app(wrong, create_engine("sqlite://"))


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client_is"),
    [
        (0, "198.51.100.7", "127.0.0.1"),
        (1, "203.0.113.66, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.66, 198.51.100.7", "203.0.113.66"),
    ],
)
def test_only_counted_proxies_are_believed(
    trusted: int, forwarded: str, client_is: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(guards.ENDPOINTS, "whoami", EVERYBODY)
    application = build(settings(trusted_proxies=trusted))
    seen: list[str] = []
    app: Flask = getattr(application, "app", application)
    app.add_url_rule("/whoami", "whoami", lambda: seen.append(client_network()) or "")
    app.wsgi_app, wrapped = (application, app.wsgi_app) if trusted else (app.wsgi_app, None)
    if wrapped:
        application.app = wrapped
    app.test_client().get("/whoami", headers={"X-Forwarded-For": forwarded})
    assert seen == [client_is]


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"), ("unix:", "unix:")],
)
def test_tries_are_counted_per_address_or_ipv6_customer(app: Flask, address: str, network: str) -> None:
    with app.test_request_context(environ_base={"REMOTE_ADDR": address}):
        assert client_network() == network
