"""The settings for people: where each comes from, no secret among them, and what is unsafe."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, SecretStr

from mm_lib.services import configuration
from mm_lib.services.configuration import effective, without_password
from mm_lib.settings import Settings, load, sections

SECRET = "s3cr3t-that-nobody-may-read-anywhere"
PROVIDER = {"label": "Id", "issuer": "https://id.example.org", "client_id": "mm", "client_secret": SECRET}


def rows(settings: Settings) -> dict[str, configuration.Setting]:
    return {row.key: row for section in effective(settings) for row in section.settings}


def secrets_of(kind: type[BaseModel]) -> list[str]:
    """Fields that are secret by their type."""
    return [name for name, info in kind.model_fields.items() if _is_secret(info.annotation)]


def _is_secret(annotation: Any) -> bool:
    parts = get_args(annotation)
    return annotation is SecretStr or (bool(parts) and any(_is_secret(part) for part in parts))


def with_all_secrets() -> dict[str, Any]:
    values: dict[str, Any] = {
        name: dict.fromkeys(secrets_of(kind), SECRET) for name, kind in sections() if secrets_of(kind)
    }
    values["frontend"]["public_url"] = "https://mirrors.example.org"
    values["oidc"] = {"providers": {"id": PROVIDER}}
    values["database"] = {"url": f"postgresql://mm:{SECRET}@db.example.org/mm?sslmode=require"}
    values["login"] = {"limits_storage": f"redis://:{SECRET}@cache.example.org:6379"}
    return values


def test_no_secret_setting_is_shown_whatever_it_is() -> None:
    """Every field of a secret type in every section, and passwords inside addresses."""
    settings = Settings.model_validate(with_all_secrets())
    found = rows(settings)
    wanted = {f"{name}.{key}" for name, kind in sections() for key in secrets_of(kind)} | {
        "oidc.providers.id.client_secret"
    }
    assert len(wanted) >= 5
    assert {key for key, row in found.items() if row.value == configuration.HIDDEN} == wanted
    assert SECRET not in repr(effective(settings))


def test_a_secret_that_is_not_set_says_so() -> None:
    assert rows(Settings())["mail.password"].value == "none"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://mm:pw@db/mm", "postgresql://mm:(hidden)@db/mm"),
        ("postgresql://mm@db/mm", "postgresql://mm@db/mm"),
        ("postgresql:///mm?user=mm&password=pw", "postgresql:///mm?user=mm&password=(hidden)"),
        ("redis://:pw@host:6379/0", "redis://:(hidden)@host:6379/0"),
        ("https://example.org/?a=b", "https://example.org/?a=b"),
        ("sqlite:////var/lib/mm.sqlite", "sqlite:////var/lib/mm.sqlite"),
        ("http://[broken", "(hidden)"),
        ("no address: a@b", "no address: a@b"),
    ],
)
def test_addresses_are_shown_without_their_password(address: str, shown: str) -> None:
    assert without_password(address) == shown


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    path, secret = tmp_path / "mirrormanager.toml", tmp_path / "key"
    path.write_text("[frontend]\nsite_name = 'Ours'\nworkers = 3\n", encoding="utf-8")
    secret.write_text("0123456789abcdefghijklmnopqrstuvwxyz", encoding="utf-8")
    environ = {"MM_FRONTEND__WORKERS": "4", "MM_FRONTEND__SECRET_KEY_FILE": str(secret)}
    found = rows(load(path, environ))
    assert {key: row.source for key, row in found.items() if row.changed} == {
        "frontend.site_name": f"file {path}",
        "frontend.workers": "environment MM_FRONTEND__WORKERS",
        "frontend.secret_key": f"file of MM_FRONTEND__SECRET_KEY_FILE: {secret}",
    }
    assert (found["frontend.workers"].value, found["frontend.workers"].default) == ("4", "2")
    assert found["frontend.port"].source == "default"


def unsafe(values: dict[str, Any]) -> set[str]:
    return {each.key for each in configuration.warnings(Settings.model_validate(values))}


SAFE: dict[str, Any] = {
    "frontend": {"public_url": "https://mirrors.example.org", "trusted_proxies": 1},
    "login": {"limits_storage": "redis://cache", "admin_code": True},
    "database": {"url": "postgresql://mm@db/mm"},
}


def test_safe_settings_have_no_warning() -> None:
    assert unsafe(SAFE) == set()


@pytest.mark.parametrize(
    ("key", "value", "more"),
    [
        ("frontend.https", False, {}),
        ("frontend.trusted_proxies", 0, {}),
        ("login.limits_storage", "memory://", {}),
        ("login.admin_code", False, {}),
        ("ldap.start_tls", False, {"servers": ["ldap://ldap.example.org"], "base": "dc=example"}),
        ("mail.security", "none", {"server": "mail.example.org", "sender": "a@example.org"}),
        ("amqp.url", "amqp://mm:pw@broker.example.org", {}),
        ("outbox.private_webhooks", True, {}),
        ("crawler.private_mirrors", True, {}),
        ("redirector.allow_ip_parameter", True, {}),
        ("redirector.explain", "public", {}),
        ("redirector.cache_public_key", None, {"cache_urls": ["http://m.example.org/cache"]}),
        ("log.level", "DEBUG", {}),
        ("database.url", "sqlite:///mm.sqlite", {}),
    ],
)
def test_an_unsafe_value_is_warned_of(key: str, value: object, more: dict[str, Any]) -> None:
    section, name = key.split(".")
    assert unsafe({**SAFE, section: {**SAFE.get(section, {}), **more, name: value}}) == {key}


def test_a_file_with_secrets_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "mirrormanager.toml"
    path.write_text("[mail]\npassword = 'pw'\n", encoding="utf-8")
    path.chmod(0o644)
    assert str(path) in {each.key for each in configuration.warnings(load(path, {}))}
    path.chmod(0o640)
    assert str(path) not in {each.key for each in configuration.warnings(load(path, {}))}
