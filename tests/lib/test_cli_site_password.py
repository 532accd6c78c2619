"""mm-admin sets, changes and withdraws the password that a site's mirrors check in with; it prints it once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mm_lib.database import make_engine, make_sessions
from mm_lib.services import site_passwords
from mm_lib.services.sites import find_site
from mm_lib.settings import DatabaseSettings
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses

BROUGHT = "brought along from elsewhere"


def opens(url: str, password: str, days: int = 0) -> bool:
    engine = make_engine(DatabaseSettings(url=url))
    with make_sessions(engine)() as session:
        then = datetime.now(UTC) + timedelta(days=days)
        found = site_passwords.matches(session, find_site(session, "Example"), password, then)
    engine.dispose()
    return found


def test_a_password_is_printed_changed_and_withdrawn_and_never_recorded(sqlite_template: Path, tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    admin = Admin(tmp_path, url)
    admin.ok("site", "add", "Example")
    first = admin.ok("site", "password", "Example").strip()
    second = admin.ok("site", "password", "Example", "--keep-days", "3").strip()
    assert [opens(url, first), opens(url, first, 4), opens(url, second, 4)] == [True, False, True]
    events = admin.ok("events")
    assert "add site_password" in events
    assert first not in events and second not in events
    assert admin.ok("site", "password", "Example", "--withdraw").strip() == "No password opens Example any more."
    assert not opens(url, second)
    assert "There is no site" in admin.refused("site", "password", "Nobody")


def test_a_password_that_mirrors_have_already_is_read_from_standard_input(
    sqlite_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "registry.sqlite"
    path.write_bytes(sqlite_template.read_bytes())
    url = f"sqlite:///{path}"
    admin = Admin(tmp_path, url)
    admin.ok("site", "add", "Example")
    assert BROUGHT not in admin.ok("site", "password", "Example", "--stdin", stdin=f"{BROUGHT}\n")
    assert opens(url, BROUGHT)
