"""mm-admin deletes sites and hosts, shows what can come back, brings it back, and ends it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses


def test_what_is_deleted_is_shown_comes_back_and_is_purged(sqlite_template: Path, tmp_path: Path) -> None:
    admin = Admin(f"sqlite:///{tmp_path / 'cli.sqlite'}", tmp_path)
    (tmp_path / "cli.sqlite").write_bytes(sqlite_template.read_bytes())
    admin("site", "add", "Example")
    admin("host", "add", "Example", "m.example.org", "--country", "DE")
    assert "`mm-admin host restore 1` takes it back" in admin("host", "delete", "m.example.org")
    assert json.loads(admin("host", "list", "--json")) == []
    [row] = json.loads(admin("deleted", "--json"))
    assert (row["kind"], row["name"], row["site"]) == ("host", "m.example.org", "Example")
    assert "m.example.org is back" in admin("host", "restore", "1")
    assert "`mm-admin site restore 1`" in admin("site", "delete", "Example")
    assert "Example is back" in admin("site", "restore", "1")
    admin("site", "delete", "Example")
    assert "0 sites and 0 hosts" in admin("purge")
    assert "1 sites and 1 hosts" in admin("purge", "--days", "0")
    assert json.loads(admin("deleted", "--json")) == []
