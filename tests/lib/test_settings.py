"""Settings: every source, and every way to get them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mm_lib.settings import Settings, SettingsError, load, require_secret

SECRET = "k3yWithEnoughDifferentCharacters0123456789"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_any_source_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).redirector.minimum_hosts == 5


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", "[redirector]\nport = 4000\nworkers = 3\n")
    settings = load(path, {"MM_REDIRECTOR__PORT": "4001"})
    assert (settings.redirector.port, settings.redirector.workers) == (4001, 3)


def test_a_secret_is_read_from_the_file_that_a_variable_names(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", SECRET + "\n")
    settings = load(write(tmp_path / "c.toml", ""), {"MM_FRONTEND__SECRET_KEY_FILE": str(secret)})
    assert require_secret(settings) == SECRET


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MM_FRONTEND__SECRET_KEY_FILE: /nowhere"):
        load(write(tmp_path / "c.toml", ""), {"MM_FRONTEND__SECRET_KEY_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[redirector]\nprot = 1\n", "redirector.prot: unknown key"),
        ("[redirecter]\n", "redirecter: unknown key"),
        ("[redirector]\nport = 0\n", "redirector.port"),
        ("[redirector]\nport = 'x'\n", "redirector.port"),
        ("redirector = 3\n", "redirector"),
        ("[statistics]\nkeep_weeks = 30\n", "keep_days, keep_weeks, keep_months, keep_years must not get shorter"),
        ("[statistics]\nkeep_years = 9999999\n", "statistics.keep_years"),  # before all dates that there are
        ("[statistics]\nopen_days = inf\n", "statistics.open_days"),
        ("[crawler]\npropagation_alarm_hours = inf\n", "crawler.propagation_alarm_hours"),
        ("[redirector\n", "cannot be read"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load(write(tmp_path / "c.toml", text), {})


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="MM_REDIRECTOR__PROT"):
        load(write(tmp_path / "c.toml", ""), {"MM_REDIRECTOR__PROT": "1"})


def test_a_missing_configuration_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="init"):
        load(tmp_path / "none.toml", {})


def test_relative_paths_are_relative_to_the_configuration_file(tmp_path: Path) -> None:
    text = "[cache]\nfile = 'a/b'\n[database]\nurl = 'sqlite:///x.sqlite'\n"
    settings = load(write(tmp_path / "c.toml", text), {})
    assert settings.cache.file == tmp_path / "a/b"
    assert settings.database.url == f"sqlite:///{tmp_path}/x.sqlite"


@pytest.mark.parametrize("secret", ["", "changeme", "a" * 64])
def test_a_missing_or_weak_secret_key_is_refused(tmp_path: Path, secret: str) -> None:
    with pytest.raises(SettingsError, match=r"frontend\.secret_key"):
        require_secret(load(write(tmp_path / "c.toml", f"[frontend]\nsecret_key = '{secret}'\n"), {}))


def test_a_secret_is_not_shown_when_settings_are_printed() -> None:
    assert SECRET not in repr(Settings.model_validate({"frontend": {"secret_key": SECRET}}))


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().redirector.port = 1


PROVIDER = """[oidc.providers.example]
label = "Example"
issuer = "https://id.example.org"
client_id = "mirrors"
"""
PAGES = "[frontend]\npublic_url = 'https://mirrors.example.org'\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[login]\nregistration = true\n", "needs login.local, mail.server and frontend.public_url"),
        ("[login]\nlimits_storage = 'mysql://x'\n", "login.limits_storage"),
        ("[ldap]\nservers = ['ldap.example.org']\nbase = 'dc=x'\n", "ldap.servers.0.*must be ldap://HOST"),
        ("[ldap]\nservers = ['ldaps://h']\n", "ldap.base"),
        ("[ldap]\nservers = ['ldaps://h']\nuser_dn = '{name}@example.org'\n", "ldap.user_dn is no DN"),
        ("[ldap]\nuser_filter = '(uid=ada)'\n", "ldap.user_filter.*must contain {name}"),
        (PROVIDER, "oidc.providers needs frontend.public_url"),
        (PAGES + PROVIDER.replace("https", "http"), "must begin with https://"),
        (PAGES + PROVIDER.replace("client_id", "clientid"), r"oidc.providers.example.clientid: unknown key"),
        (PAGES + PROVIDER + "client_secret = 'a'\nclient_secret_file = 'b'\n", "keep one of them"),
        (PAGES + PROVIDER.replace("providers.example", "providers.Ex_ample"), "oidc.providers"),
    ],
)
def test_what_is_wrong_with_sign_in_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load(write(tmp_path / "c.toml", text), {})


def test_the_secret_of_a_provider_may_be_in_a_file_beside(tmp_path: Path) -> None:
    write(tmp_path / "secret", "the secret\n")
    settings = load(write(tmp_path / "c.toml", PAGES + PROVIDER + "client_secret_file = 'secret'\n"), {})
    assert settings.oidc.providers["example"].secret() == "the secret"
    (tmp_path / "secret").unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.oidc.providers["example"].secret()


def test_providers_may_be_given_by_the_environment(tmp_path: Path) -> None:
    given = '{"x": {"label": "X", "issuer": "https://x.example", "client_id": "m", "client_secret": "s"}}'
    settings = load(write(tmp_path / "c.toml", PAGES), {"MM_OIDC__PROVIDERS": given})
    assert settings.oidc.providers["x"].secret() == "s"
    with pytest.raises(SettingsError, match="must be a table"):
        load(write(tmp_path / "d.toml", PAGES), {"MM_OIDC__PROVIDERS": "x"})
