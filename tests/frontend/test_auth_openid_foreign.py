"""Sign-in by OpenID Connect at a provider that others wrote (oidc-provider-mock)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import requests
from sqlalchemy import Engine

from tests.frontend.test_auth_openid import HERE, begin, browser
from tests.frontend.world import links, text, token
from tests.postgres import free_port


@pytest.fixture(scope="module")
def foreign() -> Iterator[str]:
    """oidc-provider-mock, in a process of its own; its issuer."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    command += ["--user-claims", '{"sub": "bob", "email": "bob@example.org", "groups": ["admins"]}']
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    issuer = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                requests.get(f"{issuer}/.well-known/openid-configuration", timeout=5)
                break
            except requests.ConnectionError:
                assert process.poll() is None
                time.sleep(0.05)  # nothing tells when a foreign process listens
        yield issuer
    finally:
        process.terminate()
        process.wait(20)


def test_signing_in_and_out_works_with_a_provider_that_others_wrote(engine: Engine, foreign: str) -> None:
    named = {"label": "Mock", "issuer": foreign, "client_id": "any", "client_secret": "any", "admin_groups": ["admins"]}
    client = browser(engine, {"mock": {**named, "name_claim": "sub"}})
    address = begin(client, "/login/oidc/mock")
    back = requests.post(address, data={"sub": "bob"}, allow_redirects=False, timeout=10).headers["Location"]
    assert client.get(back.removeprefix(HERE)).location == "/account"
    page = text(client.get("/account"))
    assert "bob@example.org" in page and "Role Administrator" in page
    answer = client.post("/logout", data={"csrf_token": token(client, "/logout")})
    beyond = next(link for link in links(answer) if link.startswith(foreign))
    assert requests.get(beyond, timeout=10).status_code == 200
