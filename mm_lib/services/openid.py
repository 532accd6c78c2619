"""OpenID Connect without the web: what a provider must say of itself, and who its claims say somebody is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm_lib.services.errors import ServiceError
from mm_lib.services.identities import MAX_TEXT, Person
from mm_lib.settings import OidcProvider

DISCOVERY = "/.well-known/openid-configuration"
# Signed by a key that only the provider has. HS256 is not among them: its key is the secret that we know as well.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderUnusable(ServiceError):
    """What the provider says of itself cannot be used; the message is for administrators."""


def discovery_address(provider: OidcProvider) -> str:
    """Where the provider says what it is."""
    return provider.issuer.rstrip("/") + DISCOVERY


def checked_metadata(provider: OidcProvider, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The discovery document, with only those signatures that we accept. Raises ProviderUnusable."""
    if metadata.get("issuer") != provider.issuer:
        raise ProviderUnusable(
            f"The provider calls itself {metadata.get('issuer')!r}; set issuer to exactly that, or correct it."
        )
    if missing := [name for name in NEEDED if not metadata.get(name)]:
        raise ProviderUnusable(f"The discovery document of {provider.issuer} lacks {', '.join(missing)}.")
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    accepted = [name for name in offered if name in ALGORITHMS]
    if not accepted:
        raise ProviderUnusable(f"{provider.issuer} signs with {', '.join(offered)}, none of which is safe here.")
    return {**metadata, "id_token_signing_alg_values_supported": accepted}


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of this name, or what dots lead to: realm_access.roles. None when there is none."""
    if path in claims:
        return claims[path]
    first, dot, rest = path.partition(".")
    inner = claims.get(first)
    return claim(inner, rest) if dot and isinstance(inner, Mapping) else None


def person(provider: OidcProvider, claims: Mapping[str, Any]) -> Person:
    """Who the provider says somebody is. The subject alone decides; all else is for people to read."""
    subject = str(claims["sub"])
    # An address that the provider has not checked may be somebody else's.
    email = "" if claims.get("email_verified") in (False, "false") else _text(claims, provider.email_claim)
    return Person(
        issuer=provider.issuer,
        subject=subject,
        name=_text(claims, provider.name_claim) or subject,
        display_name=_text(claims, provider.display_name_claim),
        email=email,
        groups=_groups(claim(claims, provider.groups_claim)),
    )


def _text(claims: Mapping[str, Any], path: str) -> str:
    found = claim(claims, path)
    return found[:MAX_TEXT] if isinstance(found, str) else ""


def _groups(found: Any) -> frozenset[str]:
    if isinstance(found, str):
        return frozenset([found])
    return frozenset(each for each in found if isinstance(each, str)) if isinstance(found, list) else frozenset()
