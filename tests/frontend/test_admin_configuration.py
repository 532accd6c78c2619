"""The configuration page: what is set and where, without secrets, and what is unsafe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mm_lib.settings import load
from tests.frontend import admin_world
from tests.frontend.admin_world import Stage

KEY = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("configuration")
    path = folder / "mirrormanager.toml"
    path.write_text(f"[frontend]\nsecret_key = '{KEY}'\nhttps = false\nsite_name = 'Ours'\n", encoding="utf-8")
    environ = {"MM_MAIL__SERVER": "mail.example.org", "MM_MAIL__SENDER": "a@b.example", "MM_MAIL__PASSWORD": "hunter2"}
    with admin_world.stage(sqlite_template, folder, load(path, environ)) as made:
        yield made


def test_values_come_with_their_source_and_secrets_stay_hidden(stage: Stage) -> None:
    page = stage.page("/admin/configuration")
    assert "frontend.site_name shown on every page Ours file " in page and "(default: MirrorManager)" in page
    assert "(hidden) environment MM_MAIL__PASSWORD" in page
    assert KEY not in page and "hunter2" not in page


def test_only_what_is_set_can_be_shown(stage: Stage) -> None:
    page = stage.page("/admin/configuration?show=set")
    assert "mail.server" in page and "mail.port" not in page


def test_unsafe_values_stand_first(stage: Stage) -> None:
    page = stage.page("/admin/configuration", "auditor")
    assert page.index("frontend.https : Cookies are sent over http, too") < page.index("database.url")
