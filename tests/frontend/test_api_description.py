"""Schemathesis asks the API what its own description allows, and other things, as each role: nothing breaks, and no
status, kind or shape of an answer is undocumented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mm_frontend.api import operation
from mm_frontend.operators.details import RESOLVER
from tests.frontend import api_world, operators_world
from tests.frontend.api_world import API, ApiWorld

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Examples of each operation as each role: of what the description allows (the first is the plainest), and of other
# things. Those who may do more are worth more: others are refused before anything is looked at.
ROLES = {"anonymous": (1, 0), "viewer": (1, 0), "auditor": (1, 1), "owner": (2, 1), "super": (2, 1)}


@pytest.fixture(scope="module")
def api(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world.opened(sqlite_template, tmp_path_factory.mktemp("described")) as world:
        world.app.config[RESOLVER] = lambda _name: ["192.0.2.1"]  # nobody is asked for names that were made up
        yield world


@pytest.fixture(scope="module")
def description(api: ApiWorld) -> Any:
    return schemathesis.openapi.from_wsgi(f"{API}/openapi.json", api.app)


@pytest.mark.parametrize("role", ROLES)
def test_the_api_answers_as_it_is_described(
    api: ApiWorld, description: Any, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "transaction", operators_world.nothing_stays)
    headers = {"Authorization": f"Bearer {api.texts[role]}"} if role in api.texts else {}
    allowed, other = ROLES[role]
    for found in description.get_all_operations():
        described = found.ok()
        _try(described, GenerationMode.POSITIVE, allowed, headers, api.ids)
        if other and (described.body or described.query):  # else there is nothing that could be wrong
            _try(described, GenerationMode.NEGATIVE, other, headers, api.ids)


def _try(described: Any, mode: GenerationMode, number: int, headers: dict[str, str], ids: dict[str, int]) -> None:
    known = {item.name: ids.get(item.name, "countries") for item in described.path_parameters}
    cases = described.as_strategy(generation_mode=mode, path_parameters=known)

    @seed(7)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()
