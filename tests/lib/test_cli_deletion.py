"""mm-admin deletes sites and hosts, shows what can come back, brings it back, and ends it."""

from __future__ import annotations

from pathlib import Path

from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses


def test_what_is_deleted_is_shown_comes_back_and_is_purged(database_url: str, tmp_path: Path) -> None:
    admin = Admin(tmp_path, database_url)
    admin.ok("site", "add", "Example")
    admin.ok("host", "add", "Example", "m.example.org", "--country", "DE")
    assert "`mm-admin host restore 1` takes it back" in admin.ok("host", "delete", "m.example.org")
    assert admin.rows("host", "list") == []
    [row] = admin.rows("deleted")
    assert (row["kind"], row["name"], row["site"]) == ("host", "m.example.org", "Example")
    assert "m.example.org is back" in admin.ok("host", "restore", "1")
    assert "`mm-admin site restore 1`" in admin.ok("site", "delete", "Example")
    assert "Example is back" in admin.ok("site", "restore", "1")
    admin.ok("site", "delete", "Example")
    assert "0 sites and 0 hosts" in admin.ok("purge")
    assert "1 sites and 1 hosts" in admin.ok("purge", "--days", "0")
    assert admin.rows("deleted") == []
    assert "There is no deleted site" in admin.refused("site", "restore", "1")
