"""The ways to sign in that are set up. What needs an extra (python-ldap, Authlib) is loaded only where it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, current_app
from flask_babel import gettext

from mm_frontend.settings import everything
from mm_lib.settings import LdapSettings, Settings, SettingsError

if TYPE_CHECKING:
    from mm_frontend.auth.providers import Provider
    from mm_lib.services.ldap_directory import Directory

LOCAL, LDAP, OIDC = "local", "ldap", "oidc."

_DIRECTORY = "mm_directory"
_PROVIDERS = "mm_providers"


def register(app: Flask, configured: Settings) -> None:
    """Make what the settings ask for. Raises SettingsError when a package for it is missing."""
    app.extensions[_PROVIDERS] = {}
    try:
        if configured.ldap.servers:
            from mm_lib.services.ldap_directory import Directory

            app.extensions[_DIRECTORY] = Directory(configured.ldap)
        if configured.oidc.providers:
            from mm_frontend.auth import providers

            app.extensions[_PROVIDERS] = providers.make(app, configured)
    except ModuleNotFoundError as error:
        extra = "ldap" if error.name in ("ldap", "_ldap") else "oidc"
        raise SettingsError(
            f"The settings in [{extra}] need a package that is missing: pip install 'mirrormanager[{extra}]'"
        ) from None


def password_sources() -> list[tuple[str, str]]:
    """Where a name and a password may belong, with what people call it."""
    configured = everything()
    found = [(LDAP, configured.ldap.label)] if configured.ldap.servers else []
    return [*found, (LOCAL, gettext("Local account"))] if configured.login.local else found


def provider_labels() -> dict[str, str]:
    """The OpenID providers."""
    return {name: each.label for name, each in everything().oidc.providers.items()}


def label(source: str) -> str:
    """What people call the way by which a sign-in was made."""
    if source == LDAP:
        return everything().ldap.label
    found: str = provider_labels().get(source.removeprefix(OIDC), gettext("Local account"))
    return found


def directory() -> Directory:
    """The LDAP directory."""
    found: Directory = current_app.extensions[_DIRECTORY]
    return found


def ldap_rules() -> LdapSettings:
    """What the directory's groups mean here."""
    return everything().ldap


def normal_group(group: str) -> str:
    """A group of the directory as it is compared."""
    from mm_lib.services.ldap_directory import normal

    return normal(group)


def provider(name: str) -> Provider | None:
    """The OpenID provider of that name; None when there is none."""
    found: Provider | None = current_app.extensions[_PROVIDERS].get(name)
    return found


def sign_out_address(source: str, id_token: str) -> str:
    """Where signing out goes on; empty: it has ended."""
    known = provider(source.removeprefix(OIDC)) if source.startswith(OIDC) else None
    return known.sign_out_address(id_token) if known else ""
