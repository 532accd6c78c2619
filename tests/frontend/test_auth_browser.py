"""The pages about signing in, in a real browser: accessible, by keyboard, without a script, and with OpenID."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from mm_frontend.app import create_app
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.accounts import Role
from mm_lib.services.accounts import create_user
from mm_lib.settings import DatabaseSettings, Settings
from tests.frontend import world
from tests.frontend.serving import served
from tests.frontend.test_accessibility import AXE, CHECK, RULES, SCREENS
from tests.frontend.test_server import fits
from tests.openid_provider import OpenidProvider
from tests.postgres import free_port


class Running(NamedTuple):
    """The front end, and the provider that it knows."""

    address: str
    provider: OpenidProvider


@pytest.fixture(scope="module")
def running(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("auth") / "registry.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    engine = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(engine)() as session, transaction(session):
        create_user(session, "ada", world.PASSWORD, role=Role.ADMIN, email="ada@example.org")
    provider = OpenidProvider()
    address = f"http://localhost:{free_port()}"
    values = world.SETTINGS.model_dump()
    values["frontend"] |= {"secret_key": "0123456789abcdefghijklmnopqrstuvwxyz", "public_url": address}
    values["login"] |= {"registration": True}
    values["mail"] |= {"server": "127.0.0.1", "port": 9, "sender": "mm@example.org"}
    values["ldap"] |= {"servers": ["ldaps://127.0.0.1:9"], "base": "dc=example,dc=org"}
    values["oidc"] = {"providers": {"example": provider.settings()}}
    app = create_app(Settings.model_validate(values), engine)
    with served(app, "localhost", int(address.rpartition(":")[2])):
        yield Running(address, provider)
    provider.stop()
    engine.dispose()


def sign_in(page: Page) -> None:
    """By keyboard alone."""
    page.goto("/login")
    page.get_by_label("Local account").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(world.PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")


def looked_at(page: Page) -> None:
    page.wait_for_load_state()  # a click waits for the answer's first bytes only
    page.evaluate(AXE)
    assert page.evaluate(CHECK, RULES) == {}, page.url
    assert fits(page), page.url


@pytest.mark.parametrize("scheme", sorted(SCREENS))
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Browser, running: Running, scheme: str
) -> None:
    screen = ViewportSize(**SCREENS[scheme])
    context = browser.new_context(base_url=running.address, color_scheme=scheme, viewport=screen, bypass_csp=True)  # type: ignore[arg-type]
    page = context.new_page()
    for path in ("/login", "/login/forgotten", "/login/mail-sent", "/register"):
        page.goto(path)
        looked_at(page)
    page.goto("/login")
    page.get_by_role("button", name="Sign in").click()
    looked_at(page)
    sign_in(page)
    looked_at(page)
    for path in ("/account/password", "/account/code", "/account/code/off", "/logout"):
        page.goto(path)
        looked_at(page)
    context.close()


def test_signing_in_needs_no_script_and_no_mouse(browser: Browser, running: Running) -> None:
    context = browser.new_context(base_url=running.address, java_script_enabled=False)
    page = context.new_page()
    sign_in(page)
    assert page.get_by_text("Administrator").is_visible()
    context.close()


def test_signing_in_and_out_at_a_provider_passes_our_content_security_policy(
    browser: Browser, running: Running
) -> None:
    """form-action allows no redirect to the provider after a form; the page that leads on does."""
    running.provider.user = {"sub": "17", "preferred_username": "alice"}
    context = browser.new_context(base_url=running.address)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.goto("/login?next=/account")
    page.get_by_role("link", name="Sign in with Example ID").click()
    page.wait_for_url("**/account")
    assert page.get_by_text("alice", exact=True).first.is_visible()
    page.goto("/logout")
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{running.provider.issuer}/logout?**")
    assert page.get_by_text("Signed out at the provider.").is_visible()
    assert problems == []
    context.close()
