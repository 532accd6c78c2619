"""mm-admin login: try what the settings say about signing in, and say what is wrong."""

from __future__ import annotations

import sys
from typing import Any

import click

from mm_lib.cli.common import Failure, Group, Program, example
from mm_lib.services import identities
from mm_lib.services.errors import ServiceError
from mm_lib.settings import OidcProvider


@click.group(cls=Group)
def login() -> None:
    """How people sign in."""


@login.command("check-ldap")
@click.option("--user", help="Look this person up, too, and say what they would be here.")
@click.option("--password-stdin", is_flag=True, help="Sign the person in with the first line of standard input.")
@click.pass_obj
@example("mm-admin login check-ldap --user ada")
def check_ldap(program: Program, user: str | None, password_stdin: bool) -> None:
    """Connect to every LDAP server, check its certificate, bind, and find a person."""
    settings = program.settings.ldap
    if not settings.servers:
        raise Failure("ldap.servers names no server, so nobody signs in by LDAP.", 2)
    try:
        from mm_lib.services.ldap_directory import Directory, DirectoryUnreachable, normal
    except ModuleNotFoundError:
        raise Failure("A package is missing: pip install 'mirrormanager[ldap]'", 2) from None
    directory = Directory(settings)
    failed = False
    for server in settings.servers:
        try:
            directory.try_server(server)
            click.echo(f"{server}: connected{' as ' + settings.bind_dn if settings.bind_dn else ''}")
        except DirectoryUnreachable as error:
            failed = True
            click.echo("; ".join(error.reasons), err=True)
    if user:
        try:
            password = sys.stdin.readline().rstrip("\r\n") if password_stdin else ""
            person = directory.authenticate(user, password) if password_stdin else directory.find(user)
            _show(person, identities.role_of(person.groups, settings, normal).value)
        except ServiceError as error:
            reasons = getattr(error, "reasons", ()) or (getattr(error, "reason", str(error)),)
            raise Failure(f"{user}: {'; '.join(reasons)}", 1) from None
    if failed:
        raise Failure("Not every server can be used.", 1)


def _show(person: identities.Person, role: str) -> None:
    for label, value in (
        ("name", person.name),
        ("display name", person.display_name),
        ("mail", person.email),
        ("subject", f"{person.subject} of {person.issuer}"),
        ("groups", ", ".join(sorted(person.groups)) or "none"),
        ("role", role),
    ):
        click.echo(f"{label}: {value or 'none'}")


@login.command("check-oidc")
@click.argument("provider", required=False)
@click.pass_obj
@example("mm-admin login check-oidc keycloak")
def check_oidc(program: Program, provider: str | None) -> None:
    """Fetch and check the discovery document and the keys of one OpenID provider, or of all."""
    known = program.settings.oidc.providers
    if not known or (provider and provider not in known):
        names = ", ".join(known) or "none"
        raise Failure(f"There is no such provider in [oidc.providers]; there are: {names}.", 2)
    failed = False
    for name in [provider] if provider else known:
        try:
            _check_provider(program, name, known[name])
        except ServiceError as error:
            failed = True
            click.echo(f"{name}: {error}", err=True)
    if failed:
        raise Failure("Not every provider can be used.", 1)


def _check_provider(program: Program, name: str, provider: OidcProvider) -> None:
    from mm_lib.services import openid

    metadata = openid.checked_metadata(provider, _fetch(provider, openid.discovery_address(provider)))
    keys = _fetch(provider, metadata["jwks_uri"]).get("keys") or []
    provider.secret()  # its file can be read
    here = program.settings.frontend.public_url
    click.echo(f"{name}: {provider.issuer} answers, with {len(keys)} {'key' if len(keys) == 1 else 'keys'}")
    click.echo(f"  redirect address:     {here}/login/oidc/{name}/callback")
    click.echo(f"  after signing out:    {here}/")
    if metadata.get("backchannel_logout_supported"):
        click.echo(f"  back-channel logout:  {here}/login/oidc/{name}/backchannel-logout")
    offered = metadata.get("acr_values_supported") or provider.admin_acr
    for acr in provider.admin_acr:
        if acr not in offered:
            click.echo(f"  note: it offers no acr {acr!r}, only: {', '.join(offered)}")
    for scope in provider.scopes:
        if scope not in metadata.get("scopes_supported", provider.scopes):
            click.echo(f"  note: it offers no scope {scope!r}")


def _fetch(provider: OidcProvider, address: str) -> dict[str, Any]:
    """A JSON document. Raises ProviderUnusable."""
    import urllib3

    from mm_lib.services.openid import ProviderUnusable

    try:
        ca_file = str(provider.ca_file) if provider.ca_file else None
        with urllib3.PoolManager(ca_certs=ca_file, timeout=provider.timeout, retries=False) as http:
            answer = http.request("GET", address)
            if answer.status != 200:
                raise ProviderUnusable(f"{address} answers {answer.status}.")
            document = answer.json()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise ProviderUnusable(f"{address} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise ProviderUnusable(f"{address} is no JSON object.")
    return document
