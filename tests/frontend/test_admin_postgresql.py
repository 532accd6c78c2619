"""The pages for administrators on PostgreSQL: each opens, and each kind of change is made once."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from mm_lib.database import transaction
from mm_lib.model.accounts import Identity, User
from mm_lib.model.banners import Banner
from mm_lib.model.base import State
from mm_lib.model.content import RepositoryRedirect, RepositoryRule
from mm_lib.model.geography import EmbargoedCountry, NetblockCountry
from mm_lib.model.sites import Site
from mm_lib.model.state import Job, JobState
from tests.conftest import TEMPLATE
from tests.frontend import admin_world
from tests.frontend.admin_world import Stage
from tests.frontend.test_admin_accessibility import PAGES, fill
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def stage(postgres: Postgres) -> Iterator[Stage]:
    with admin_world.stage_on(postgres.url(postgres.create(TEMPLATE))) as made:
        with made.sessions() as session, transaction(session):
            made.registry.ids |= fill(session, made.registry.ids)
        yield made


def save(stage: Stage, path: str, **form: str) -> None:
    """Look at the effect, then save what was shown."""
    answer = stage.send(path, **form)
    hidden = dict(re.findall(r'name="(seen|base)" type="hidden" value="(\w*)"', answer.text))
    assert stage.send(path, **{**form, **hidden}, save="1").status_code == 302


def test_every_page_opens(stage: Stage) -> None:
    more = ["/admin/users?text=UNIVERSITY&role=user", "/admin/rules", "/admin/monitor/runs?kind=mirrors"]
    wrong = {
        path: status
        for path in (*PAGES, *more)
        if (status := stage.browser("super").get(path.format(**stage.registry.ids)).status_code) != 200
    }
    assert wrong == {}


def test_numbers_that_no_column_holds_are_not_found(stage: Stage) -> None:
    for path in (
        "approvals/{}",
        "users/{}",
        "banners/{}",
        "redirects/{}",
        "rules/{}",
        "rules/1/{}",
        "identities/{}/apart",
    ):
        assert stage.browser("super").get(f"/admin/{path.format(2**40)}").status_code == 404


def test_each_kind_of_change_is_made(stage: Stage) -> None:
    ids = stage.registry.ids
    assert stage.send(f"/admin/approvals/{ids['waiting']}", decision="approve", reason="").status_code == 302
    save(stage, "/admin/places/embargo/new", country="CU")
    save(stage, "/admin/places/network/new", netblock="192.0.2.0/24", country="FR")
    save(stage, "/admin/redirects/new", **{"from": "latest", "to": "rawhide"})
    base = re.search(
        r'name="base"[^>]*value="(\w+)"', stage.browser("super").get(f"/admin/rules/{ids['category']}/new").text
    )
    assert base
    save(stage, f"/admin/rules/{ids['category']}/new", pattern="x/.*", skip="y", base=base[1])
    assert stage.send("/admin/banners/new", text="Hello", level="notice", audience="all").status_code == 302
    with stage.sessions() as session:
        assert session.get_one(Site, ids["waiting"]).state is State.ACTIVE
        assert "CU" in session.scalars(select(EmbargoedCountry.country)).all()
        assert "192.0.2.0/24" in session.scalars(select(NetblockCountry.netblock)).all()
        assert "latest" in session.scalars(select(RepositoryRedirect.from_prefix)).all()
        assert "x/.*" in session.scalars(select(RepositoryRule.pattern)).all()
        assert "Hello" in session.scalars(select(Banner.text)).all()


def test_people_are_linked_and_told_apart(stage: Stage) -> None:
    user = stage.registry.ids["user"]
    with stage.sessions() as session:
        owner = session.scalars(select(User.id).where(User.name == "owner")).one()
        identity = session.scalars(select(Identity.id).where(Identity.user_id == user)).one()
    path = f"/admin/users/{owner}/link?other=grace"
    assert stage.send(path, closed="grace", kept="owner").location == f"/admin/users/{owner}"
    assert stage.send(f"/admin/identities/{identity}/apart").location == f"/admin/users/{user}"


def test_a_check_that_failed_is_repeated_and_cancelled(stage: Stage) -> None:
    with stage.sessions() as session:
        job = session.scalars(select(Job)).one()
        for action, state in (("again", JobState.WAITING), ("cancel", JobState.FAILED)):
            token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', stage.browser("super").get("/logout").text)
            assert token
            stage.browser("super").post(f"/admin/monitor/checks/{job.id}/{action}", data={"csrf_token": token[1]})
            session.refresh(job)
            assert job.state is state
            session.rollback()
