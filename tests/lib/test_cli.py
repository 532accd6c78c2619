"""mm-admin as a person uses it: what it makes, what it says, and how it ends when something is wrong."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from mm_lib.cache import codec, file
from mm_lib.cli.main import main
from mm_lib.settings import load, require_secret, sections

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


class Admin:
    """Runs mm-admin on one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.config = folder / "mm.toml"
        self.config.write_text(f"[database]\nurl = '{url}'\n")

    def __call__(self, *arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(main, ["--config", str(self.config), *arguments], input=stdin)

    def ok(self, *arguments: str, stdin: str = "") -> str:
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.output

    def refused(self, *arguments: str, code: int = 1) -> str:
        result = self(*arguments)
        assert result.exit_code == code, result.output
        assert result.output.startswith(("Error: ", "Usage: "))
        return result.output

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return list(json.loads(self.ok(*arguments, "--json")))


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Admin:
    return Admin(tmp_path, database_url)


@pytest.fixture
def filled(admin: Admin) -> Admin:
    """A product, a category, a site and a host."""
    admin.ok("product", "add", "Fedora")
    admin.ok("category", "add", "Fedora Linux", "--product", "Fedora", "--topdir", "/pub/fedora/linux/")
    admin.ok("site", "add", "Example University", "--url", "https://example.edu/")
    admin.ok("host", "add", "Example University", "m.example.edu", "--country", "us", "--asn", "64500")
    return admin


def test_init_writes_a_configuration_that_loads_with_a_strong_secret(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    result = CliRunner().invoke(main, ["--config", str(path), "init"])
    assert result.exit_code == 0
    assert len(require_secret(load(path, {}))) >= 32


def test_init_keeps_the_secret_from_others(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["--config", str(tmp_path / "new.toml"), "init"])
    assert stat.S_IMODE((tmp_path / "new.toml").stat().st_mode) == 0o600


def test_init_shows_every_key_with_a_comment(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["--config", str(tmp_path / "new.toml"), "init"])
    lines = (tmp_path / "new.toml").read_text().splitlines()
    for name, section in sections():
        start = lines.index(f"[{name}]")
        for key, info in section.model_fields.items():
            assert info.description, f"{name}.{key} has no description"
            assert any(line.startswith((f"{key} = ", f"# {key} = ")) for line in lines[start:]), f"{name}.{key}"


def test_every_default_in_the_sample_is_the_real_one(tmp_path: Path) -> None:
    """Uncommenting every line of a new file changes nothing."""
    path = tmp_path / "new.toml"
    CliRunner().invoke(main, ["--config", str(path), "init"])
    before = load(path, {})
    lines = [line.removeprefix("# ") for line in path.read_text().splitlines() if " = " in line or line.startswith("[")]
    path.write_text("\n".join(lines))
    assert load(path, {}).model_dump() == before.model_dump()


def test_init_refuses_to_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("# mine\n")
    result = CliRunner().invoke(main, ["--config", str(path), "init"])
    assert result.exit_code == 2
    assert "left as it is" in result.output
    assert path.read_text() == "# mine\n"


def test_init_refuses_a_database_that_is_not_supported_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    refused = CliRunner().invoke(main, ["--config", str(path), "init", "--database-url", "mysql://mm@localhost/mm"])
    assert refused.exit_code == 2
    assert "database.url: mysql is not supported; use postgresql or sqlite" in refused.output
    assert not path.exists()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing/new.toml"
    refused = CliRunner().invoke(main, ["--config", str(path), "init"])
    assert (refused.exit_code, refused.output) == (1, f"Error: {path}: No such file or directory\n")


def test_a_database_file_that_cannot_be_opened_says_where_to_look(tmp_path: Path) -> None:
    assert "the folder in database.url" in Admin(tmp_path, f"sqlite:///{tmp_path}/no/x.sqlite").refused("db", "upgrade")


def test_a_database_without_schema_is_answered_with_what_to_do(tmp_path: Path) -> None:
    admin = Admin(tmp_path, f"sqlite:///{tmp_path}/empty.sqlite")
    assert "mm-admin db upgrade" in admin.refused("site", "list")
    assert "mm-admin db upgrade" in admin.refused("db", "check")
    admin.ok("db", "upgrade")
    assert "up to date" in admin.ok("db", "check")


def test_upgrading_twice_is_harmless(admin: Admin) -> None:
    assert "already" in admin.ok("db", "upgrade")


def test_a_database_that_cannot_be_reached_is_one_message(tmp_path: Path) -> None:
    admin = Admin(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    assert "cannot be used" in admin.refused("site", "list")


def test_a_wrong_database_url_is_named(tmp_path: Path) -> None:
    assert "database.url" in Admin(tmp_path, "mysql://x/y").refused("site", "list", code=2)


def test_a_wrong_setting_ends_with_exit_code_two(tmp_path: Path, database_url: str) -> None:
    admin = Admin(tmp_path, database_url)
    admin.config.write_text("[redirector]\nprot = 3\n")
    assert "redirector.prot: unknown key" in admin.refused("site", "list", code=2)


def test_what_is_made_is_listed(filled: Admin) -> None:
    filled.ok("version", "add", "Fedora", "development", "--display-name", "rawhide")
    filled.ok("arch", "add", "x86_64", "aarch64")
    filled.ok("redirect", "add", "fedora-rawhide", "rawhide")
    filled.ok(
        "url", "add", "m.example.edu", "Fedora Linux", "HTTPS://M.example.edu/fedora/", "rsync://m.example.edu/fedora"
    )
    filled.ok("netblock", "add", "m.example.edu", "192.0.2.7/24", "--name", "campus")
    filled.ok("user", "add", "alice", "--role", "admin", "--password-stdin", stdin=PASSWORD + "\n")
    filled.ok("site", "add-member", "Example University", "alice", "--role", "owner")
    filled.ok("host", "add-asn", "m.example.edu", "64501")
    filled.ok("host", "add-country", "m.example.edu", "ca", "--kind", "extra")
    assert [row["versions"] for row in filled.rows("product", "list")] == [1]
    assert filled.rows("version", "list")[0]["display_name"] == "rawhide"
    assert [row["name"] for row in filled.rows("arch", "list")] == ["aarch64", "x86_64"]
    assert filled.rows("category", "list")[0]["topdir"] == "pub/fedora/linux"
    assert filled.rows("redirect", "list")[0]["to_prefix"] == "rawhide"
    assert filled.rows("site", "list")[0]["org_url"] == "https://example.edu"
    assert filled.rows("host", "list")[0]["country"] == "US"
    urls = {row["url"] for row in filled.rows("url", "list")}
    assert urls == {"https://m.example.edu/fedora", "rsync://m.example.edu/fedora"}
    assert filled.rows("netblock", "list")[0]["netblock"] == "192.0.2.0/24"
    assert filled.rows("user", "list")[0]["role"] == "admin"
    assert filled.rows("repository", "list") == []


def test_lists_are_tables_for_people(filled: Admin) -> None:
    heading, row = filled.ok("host", "list").splitlines()[:2]
    assert heading.split()[:4] == ["id", "site", "name", "country"]
    assert row.split()[1:5] == ["Example", "University", "m.example.edu", "US"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("product", "add", "Fedora"), "is a product 'Fedora' already"),
        (("product", "add", "  "), "name: must have"),
        (("version", "add", "Nosuch", "1"), "no product 'Nosuch'"),
        (("category", "add", "X", "--product", "Fedora", "--topdir", "../etc"), "topdir"),
        (
            ("category", "add", "X", "--product", "Fedora", "--source", "/x", "--exclude", "("),
            "not a regular expression",
        ),
        (("site", "add", "Example University"), "already"),
        (("site", "add", "X", "--url", "javascript:alert(1)"), "must begin with"),
        (("host", "add", "Nosuch", "h"), "no site 'Nosuch'"),
        (("host", "add", "Example University", "m.example.edu"), "already"),
        (("host", "add", "Example University", "h", "--country", "UK"), "did you mean GB"),
        (("host", "add", "Example University", "h", "--bandwidth", "0"), "bandwidth"),
        (("host", "add", "Example University", "h", "--asn", "4294967296"), "asn"),
        (("host", "add", "Example University", "h", "--coordinates", "91", "0"), "coordinates"),
        (("host", "add-asn", "m.example.edu", "64500"), "already"),
        (("url", "add", "nosuch", "Fedora Linux", "http://x"), "no host 'nosuch'"),
        (("url", "add", "m.example.edu", "Nosuch", "http://x"), "no category 'Nosuch'"),
        (("url", "add", "m.example.edu", "Fedora Linux", "gopher://x"), "must begin with"),
        (("netblock", "add", "m.example.edu", "300.1.1.1/24"), "neither a network"),
        (("host", "disable", "m.example.edu", "--reason", " "), "reason"),
        (("site", "add-member", "Example University", "nobody"), "no user 'nobody'"),
    ],
)
def test_a_refusal_says_what_is_wrong(filled: Admin, command: tuple[str, ...], message: str) -> None:
    assert message in filled.refused(*command)


def test_a_url_that_is_taken_says_who_has_it_and_nothing_is_kept(filled: Admin) -> None:
    filled.ok("url", "add", "m.example.edu", "Fedora Linux", "http://m.example.edu/f")
    filled.ok("host", "add", "Example University", "second")
    answer = filled.refused("url", "add", "second", "Fedora Linux", "http://second/f", "http://m.example.edu/f/")
    assert "belongs to m.example.edu (Fedora Linux)" in answer
    assert [row["host"] for row in filled.rows("url", "list")] == ["m.example.edu"]


def test_a_host_name_that_two_sites_have_needs_the_site(filled: Admin) -> None:
    filled.ok("site", "add", "Other")
    filled.ok("host", "add", "Other", "m.example.edu")
    assert "--site" in filled.refused("netblock", "add", "m.example.edu", "192.0.2.0/24")
    filled.ok("netblock", "add", "m.example.edu", "192.0.2.0/24", "--site", "Other")


def test_a_host_is_switched_off_with_a_reason_and_on_again(filled: Admin) -> None:
    filled.ok("host", "disable", "m.example.edu", "--reason", "old ISO images")
    row = filled.rows("host", "list")[0]
    assert (row["state"], row["state_reason"]) == ("admin-disabled", "old ISO images")
    filled.ok("host", "enable", "m.example.edu")
    assert filled.rows("host", "list")[0]["state"] == "active"


def test_a_password_is_asked_for_twice(admin: Admin) -> None:
    admin.ok("user", "add", "bob", stdin=f"{PASSWORD}\n{PASSWORD}\n")
    assert admin("user", "add", "eve", stdin=f"{PASSWORD}\nother\n").exit_code != 0
    assert [row["name"] for row in admin.rows("user", "list")] == ["bob"]


def test_without_a_terminal_the_password_has_to_come_on_standard_input(admin: Admin) -> None:
    assert "--password-stdin" in admin("user", "add", "bob").output
    assert admin("user", "add", "bob").exit_code == 2
    admin.ok("user", "add", "bob", "--password-stdin", stdin=f"{PASSWORD}\n")


def test_a_password_is_never_printed(admin: Admin) -> None:
    assert PASSWORD not in admin.ok("user", "add", "bob", stdin=f"{PASSWORD}\n{PASSWORD}\n")


def test_cache_build_publishes_prints_and_keeps_the_previous_file(filled: Admin) -> None:
    filled.ok("url", "add", "m.example.edu", "Fedora Linux", "http://m.example.edu/f", "--always-up-to-date")
    path = filled.folder / "mirrorlist.cache"
    assert "1 hosts" in filled.ok("cache", "build")
    first = path.read_bytes()
    filled.ok("cache", "build")
    assert file.previous(path).read_bytes() == first
    assert codec.decode(path.read_bytes()).generation > codec.decode(first).generation


def test_cache_show_reads_a_file_and_refuses_a_broken_one(filled: Admin) -> None:
    filled.ok("url", "add", "m.example.edu", "Fedora Linux", "http://m.example.edu/f", "--always-up-to-date")
    filled.ok("cache", "build")
    assert {row["what"]: row["number"] for row in json.loads(filled.ok("cache", "show", "--json"))}["hosts"] == 1
    (filled.folder / "broken").write_bytes(b"nothing")
    assert "not a mirrorlist cache" in filled.refused("cache", "show", str(filled.folder / "broken"))
    assert "No such file" in filled.refused("cache", "show", str(filled.folder / "none"))


def test_a_cache_file_that_cannot_be_written_is_a_message(filled: Admin) -> None:
    filled.config.write_text(filled.config.read_text() + "[cache]\nfile = 'nowhere/x.cache'\n")
    assert "nowhere" in filled.refused("cache", "build")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", commands(main), ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...]) -> None:
    text = CliRunner().invoke(main, [*path, "--help"]).output
    assert "Example:" in text
    assert f"mm-admin {' '.join(path)}" in text.replace("--config /etc/mirrormanager/mirrormanager.toml ", "")
