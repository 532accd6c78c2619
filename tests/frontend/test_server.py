"""The real server, and a real browser on the smallest screen."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from playwright.sync_api import ConsoleMessage, Page, Request, sync_playwright
from sqlalchemy import Engine

from mm_frontend.wsgi import main
from tests.frontend.serving import CHROMIUM, SWITCHES
from tests.frontend.world import PASSWORD, SETTINGS
from tests.postgres import free_port

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def address(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """mm-frontend, started as an administrator starts it."""
    secret = SETTINGS.frontend.secret_key
    assert secret is not None
    config, port = tmp_path / "mirrormanager.toml", free_port()
    url = engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    config.write_text(
        f'[database]\nurl = "{url}"\n[frontend]\nsecret_key = "{secret.get_secret_value()}"\nhttps = false\n'
    )
    arguments = ["--config", str(config), "--port", str(port), "--workers", "1"]
    server = subprocess.Popen([sys.executable, "-c", "from mm_frontend.wsgi import main; main()", *arguments], cwd=ROOT)
    try:
        _wait_for(f"http://127.0.0.1:{port}/healthz/ready", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")


@pytest.fixture
def phone(address: str) -> Iterator[tuple[Page, list[str]]]:
    """A page 320 pixels wide, and what it did that it should not: other hosts asked, errors, violations."""
    complaints: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith(address):
            complaints.append(f"asked {request.url}")

    def said(message: ConsoleMessage) -> None:
        complaints.append(f"console: {message.text}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(viewport={"width": 320, "height": 640}, base_url=address)
        page.on("request", asked)
        page.on("console", said)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints
        browser.close()


def fits(page: Page) -> bool:
    """Nothing has to be scrolled sideways to."""
    page.wait_for_load_state()  # a click waits for the answer's first bytes only: there may be no element yet
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


@pytest.mark.usefixtures("registry", "ada")
def test_an_administrator_finds_a_mirror_and_signs_in_on_a_phone(phone: tuple[Page, list[str]]) -> None:
    page, complaints = phone
    page.goto("/")
    assert fits(page)
    page.get_by_role("link", name="Fedora 27 for x86_64: 26 mirrors").click()
    page.get_by_label("Country").select_option("FR")
    page.get_by_role("button", name="Show").click()
    assert page.get_by_role("heading", level=1).inner_text().replace("\xa0", " ") == (
        "1 mirror: Fedora 27, x86_64, France"
    )
    assert fits(page)
    page.get_by_role("link", name="Sign in").click()
    assert fits(page)
    page.get_by_label("User name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/mirrors/Fedora/27/x86_64?country=FR")
    page.get_by_role("link", name="Account").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Ada L."
    assert fits(page)
    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    assert page.get_by_role("status").inner_text() == "You are signed out."
    assert complaints == []


@pytest.mark.usefixtures("registry")
def test_the_keyboard_reaches_the_content_first(phone: tuple[Page, list[str]]) -> None:
    page, _ = phone
    page.goto("/mirrors")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "filter-release"


def test_the_server_does_not_start_without_a_secret_key(tmp_path: Path) -> None:
    config = tmp_path / "mirrormanager.toml"
    config.write_text("[frontend]\nhttps = false\n")
    finished = CliRunner().invoke(main, ["--config", str(config)])
    assert finished.exit_code == 2
    assert "frontend.secret_key is missing" in finished.output


def test_importing_the_entry_point_asks_for_no_settings() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "import mm_frontend.wsgi; print(hasattr(mm_frontend.wsgi, 'nothing'))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"MM_CONFIG": "/does/not/exist", "PATH": "/usr/bin:/bin"},
    )
    assert finished.stdout == "False\n"


def test_a_wsgi_server_finds_the_application(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import mm_frontend.wsgi

    monkeypatch.setenv("MM_FRONTEND__SECRET_KEY", "0123456789abcdefghijklmnopqrstuvwxyz")
    monkeypatch.setenv("MM_DATABASE__URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("MM_FRONTEND__TRUSTED_PROXIES", "1")
    monkeypatch.setattr("mm_lib.log.configure", lambda _settings: None)
    try:
        assert type(mm_frontend.wsgi.application).__name__ == "ProxyFix"
        assert mm_frontend.wsgi.application is mm_frontend.wsgi.application
    finally:
        vars(mm_frontend.wsgi).pop("application", None)
