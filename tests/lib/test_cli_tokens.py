"""mm-admin token: made for a user or a site, listed, revoked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mm_lib.cli.main import main


class Admin:
    """Runs mm-admin on one database."""

    def __init__(self, path: Path) -> None:
        self.config = path.with_suffix(".toml")
        self.config.write_text(f"[database]\nurl = 'sqlite:///{path}'\n")

    def __call__(self, *arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, ["--config", str(self.config), *arguments], input=stdin)


@pytest.fixture
def admin(sqlite_template: Path, tmp_path: Path) -> Admin:
    path = tmp_path / "registry.sqlite"
    shutil.copy(sqlite_template, path)
    found = Admin(path)
    assert found("site", "add", "Example").exit_code == 0
    assert found("user", "add", "ada", "--password-stdin", stdin="correct horse battery staple\n").exit_code == 0
    return found


def test_a_token_is_printed_once_listed_and_revoked(admin: Admin) -> None:
    made = admin("token", "add", "nightly", "--site", "Example", "--scope", "checkin")
    assert made.exit_code == 0 and made.output.startswith("mms_")
    listed = json.loads(admin("token", "list", "--json").output)
    assert [(row["name"], row["owner"], row["scopes"]) for row in listed] == [("nightly", "Example", ["checkin"])]
    assert made.output.strip() not in admin("token", "list").output
    assert "nightly" in admin("token", "revoke", str(listed[0]["id"])).output
    assert json.loads(admin("token", "list", "--json").output) == []


def test_a_user_gets_no_scope_that_is_for_administrators(admin: Admin) -> None:
    refused = admin("token", "add", "x", "--user", "ada", "--scope", "admin:write")
    assert refused.exit_code != 0 and "cannot give" in refused.output
    assert admin("token", "add", "x", "--user", "ada", "--scope", "registry:read").output.startswith("mmu_")


def test_a_token_belongs_to_either_a_user_or_a_site(admin: Admin) -> None:
    for owners in ([], ["--user", "ada", "--site", "Example"]):
        assert admin("token", "add", "x", *owners, "--scope", "checkin").exit_code == 2
