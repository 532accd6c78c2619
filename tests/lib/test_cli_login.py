"""mm-admin login and what mm-admin user does for people from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mm_lib.cli.main import main
from tests.openid_provider import OpenidProvider
from tests.slapd import PEOPLE, READER, Slapd


@pytest.fixture
def config(tmp_path: Path, sqlite_template: Path) -> Path:
    database = tmp_path / "test.sqlite"
    database.write_bytes(sqlite_template.read_bytes())
    path = tmp_path / "mirrormanager.toml"
    path.write_text(
        f'[database]\nurl = "sqlite:///{database}"\n[frontend]\npublic_url = "https://mirrors.example.org"\n'
    )
    return path


def run(config: Path, *words: str, typed: str = "") -> Result:
    return CliRunner().invoke(main, ["--config", str(config), *words], input=typed)


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    server = Slapd()
    yield server
    server.stop()


@pytest.fixture
def directory(config: Path, slapd: Slapd) -> Path:
    lines = [
        "[ldap]",
        f'servers = ["{slapd.plain}"]',
        f'ca_file = "{slapd.certificate}"',
        f'bind_dn = "{READER[0]}"',
        f'bind_password = "{READER[1]}"',
        f'base = "{PEOPLE}"',
        'admin_groups = ["Mirror Admins"]',
    ]
    config.write_text(config.read_text() + "\n".join(lines) + "\n")
    return config


def test_a_directory_that_works_is_said_to(directory: Path, slapd: Slapd) -> None:
    result = run(directory, "login", "check-ldap", "--user", "alice")
    assert result.exit_code == 0, result.output
    assert f"{slapd.plain}: connected as {READER[0]}" in result.output
    assert "mail: alice@example.org" in result.output
    assert "role: admin" in result.output


def test_a_persons_password_can_be_tried(directory: Path) -> None:
    words = ("login", "check-ldap", "--user", "alice", "--password-stdin")
    assert run(directory, *words, typed="alice-secret\n").exit_code == 0
    result = run(directory, *words, typed="wrong\n")
    assert (result.exit_code, "alice: Invalid credentials" in result.output) == (1, True)


def test_what_is_wrong_with_a_directory_is_said(directory: Path, slapd: Slapd) -> None:
    directory.write_text(directory.read_text().replace("ca_file", "# ca_file"))
    result = run(directory, "login", "check-ldap")
    assert result.exit_code == 1
    assert f"{slapd.plain}: " in result.output and "certificate verify failed" in result.output


def test_without_a_directory_there_is_nothing_to_check(config: Path) -> None:
    assert "ldap.servers names no server" in run(config, "login", "check-ldap").output


@pytest.fixture(scope="module")
def provider() -> Iterator[OpenidProvider]:
    made = OpenidProvider()
    yield made
    made.stop()


@pytest.fixture
def with_provider(config: Path, provider: OpenidProvider) -> Path:
    keys = "\n".join(f'{name} = "{value}"' for name, value in provider.settings().items())
    config.write_text(f"{config.read_text()}[oidc.providers.example]\n{keys}\n")
    return config


def test_a_provider_that_works_is_said_to_with_what_it_has_to_know(
    with_provider: Path, provider: OpenidProvider
) -> None:
    result = run(with_provider, "login", "check-oidc")
    assert result.exit_code == 0, result.output
    assert f"example: {provider.issuer} answers, with 1 key" in result.output
    assert "https://mirrors.example.org/login/oidc/example/callback" in result.output
    assert "https://mirrors.example.org/login/oidc/example/backchannel-logout" in result.output


def test_what_is_wrong_with_a_provider_is_said(with_provider: Path, provider: OpenidProvider) -> None:
    with_provider.write_text(with_provider.read_text().replace("/realm", "/realm/"))
    result = run(with_provider, "login", "check-oidc", "example")
    assert result.exit_code == 1
    assert f"The provider calls itself '{provider.issuer}'" in result.output


def test_a_provider_that_is_not_set_up_is_named(with_provider: Path) -> None:
    result = run(with_provider, "login", "check-oidc", "keycloak")
    assert (result.exit_code, "there are: example" in result.output) == (2, True)


def test_users_are_changed_and_linked(config: Path) -> None:
    for name in ("ada", "ada-2"):
        run(config, "user", "add", name, "--password-stdin", typed="correct horse battery\n")
    assert run(config, "user", "set", "ada", "--role", "auditor", "--email", "ada@example.org").exit_code == 0
    assert "ada signs in from 0 sources now; ada-2 is disabled." in run(config, "user", "link", "ada-2", "ada").output
    assert "Nobody signs in as 17" in run(config, "user", "tell-apart", "https://id.example.org", "17").output
    assert '"auditor"' in run(config, "user", "list", "--json").output
    assert run(config, "user", "identities", "--json").output.strip() == "[]"
    assert "are off already" in run(config, "user", "codes-off", "ada").output
