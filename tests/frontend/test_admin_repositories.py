"""Redirects and rules of repositories: where they lead and what they would change is shown before it is saved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_lib.database import transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.content import RepositoryRedirect, RepositoryRule
from mm_lib.services import content, rules
from tests import factories
from tests.frontend import admin_world, world
from tests.frontend.admin_world import Stage

CATEGORY = "Fedora Archive"
RULES = """
[["Fedora Archive"]]
pattern = 'releases/(?P<version>\\d+)/(?P<arch>\\w+)/os'
prefix = "archive-{version}"
comment = "as in 1997"
[["Fedora Archive"]]
pattern = '.*/debug'
skip = true
"""


@pytest.fixture(scope="module")
def stage(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An archive with three directories that hold a repository, and two repositories of which one is registered."""
    with admin_world.stage(sqlite_template, tmp_path_factory.mktemp("repositories")) as made:
        with made.sessions() as session, transaction(session):
            archive = factories.category(session, CATEGORY, "pub/archive")
            for below in ("releases/1/x86_64/os", "releases/2/x86_64/os", "releases/2/x86_64/debug"):
                place = factories.directory(session, archive, below)
                factories.file_detail(session, factories.directory(session, archive, f"{below}/repodata"), 1)
                if below.endswith("2/x86_64/os"):
                    factories.repository(session, place, "archive-2")
            factories.repository(session, factories.directory(session, archive, "other"), "other", enabled=False)
        yield made


@pytest.fixture
def session(stage: Stage) -> Iterator[Session]:
    """With the rules and without redirects, whatever tests before did."""
    with stage.sessions() as session:
        with transaction(session):
            for row in session.scalars(select(RepositoryRedirect)):
                session.delete(row)
            rules.load_rules(session, RULES)
        yield session


def look(stage: Stage, path: str, **form: Any) -> tuple[str, dict[str, str]]:
    """The text of the page that shows the effect, and its hidden fields."""
    answer = stage.send(path, **form)
    hidden = re.findall(r'name="(seen|base)" type="hidden" value="(\w*)"', answer.text)
    return world.text(answer), dict(hidden)


def save(stage: Stage, path: str, **form: Any) -> TestResponse:
    _, hidden = look(stage, path, **form)
    return stage.send(path, **{**form, **hidden}, save="1")


# -- redirects

NEW = "/admin/redirects/new"


def pairs(session: Session) -> list[tuple[str, str]]:
    session.rollback()
    session.expire_all()
    return [(row.from_prefix, row.to_prefix) for row in session.scalars(select(RepositoryRedirect))]


def test_a_redirect_shows_where_it_leads_and_is_saved_with_an_event(stage: Stage, session: Session) -> None:
    form = {"from": "latest", "to": "archive-2"}
    page, _ = look(stage, NEW, **form)
    told = "repo=latest&arch=x86_64 no such repository pub/archive/releases/2/x86_64/os (Fedora Archive) changes"
    assert told in page and pairs(session) == []
    assert save(stage, NEW, **form).location == "/admin/redirects"
    assert pairs(session) == [("latest", "archive-2")]
    event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None and (event.actor, event.action) == ("super", "repository redirect")
    assert "latest archive-2 1 repository" in stage.page("/admin/redirects")


def test_a_redirect_says_what_it_hides_and_that_nothing_is_there_yet(stage: Stage, session: Session) -> None:
    page, _ = look(stage, NEW, **{"from": "archive-2", "to": "future"})
    assert "archive-2 has repositories of its own (x86_64); nobody gets them any more." in page
    assert "There is no repository future yet: they get an error until there is one." in page


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (("c", "a"), "a is itself redirected to b; name that one"),
        (("b", "a"), "a is redirected to b: they would lead to each other"),
        (("b", "c"), "a leads here; redirect that to c first"),
        (("x", "x"), "cannot be redirected to itself"),
    ],
)
def test_chains_and_loops_are_refused(stage: Stage, session: Session, form: tuple[str, str], told: str) -> None:
    with transaction(session):
        content.add_redirect(session, "a", "b")
    answer = stage.send(NEW, **{"from": form[0], "to": form[1]})
    assert (answer.status_code, told in world.text(answer)) == (422, True)


def test_a_chain_that_is_there_is_marked(stage: Stage, session: Session) -> None:
    with transaction(session):
        session.add_all(RepositoryRedirect(from_prefix=a, to_prefix=b) for a, b in (("a", "b"), ("b", "archive-2")))
    assert "a b another redirect, which is not followed" in stage.page("/admin/redirects")


def test_a_redirect_is_changed_and_removed(stage: Stage, session: Session) -> None:
    with transaction(session):
        row = content.add_redirect(session, "moved", "archive-2")
    path = f"/admin/redirects/{row.id}"
    page, _ = look(stage, path, to="other")
    assert "pub/archive/releases/2/x86_64/os (Fedora Archive) pub/archive/other (Fedora Archive), switched off" in page
    assert save(stage, path, to="other").status_code == 302
    assert pairs(session) == [("moved", "other")]
    assert "pub/archive/other (Fedora Archive), switched off no such repository" in stage.page(f"{path}/delete")
    stage.send(f"{path}/delete")
    assert pairs(session) == []


# -- rules


def category(session: Session) -> int:
    return content.find_category(session, CATEGORY).id


def patterns(session: Session) -> list[str]:
    session.rollback()
    session.expire_all()
    query = select(RepositoryRule.pattern).where(RepositoryRule.category_id == category(session))
    return list(session.scalars(query.order_by(RepositoryRule.position)))


RULE = {"pattern": r"releases/(?P<version>\d+)/(?P<arch>\w+)/os", "prefix": "old-{version}", "version": "{version}"}


def test_a_changed_rule_shows_which_directories_become_what(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}/1"
    base = look_at(stage, path)
    page, hidden = look(stage, path, **RULE, arch="{arch}", display="y", position="1", base=base)
    assert "2 of 4 directories with a repository are treated in another way." in page
    now, then = (f"repo={name}-1&arch=x86_64 (version 1)" for name in ("archive", "old"))
    assert f"releases/1/x86_64/os {now} {then} changes" in page
    assert patterns(session)[0] == RULE["pattern"]
    form = {**RULE, "arch": "{arch}", "display": "y", "position": "1", "base": base, "seen": hidden["seen"]}
    assert stage.send(path, **form, save="1").status_code == 302
    session.rollback()
    session.expire_all()
    assert session.scalars(select(RepositoryRule.prefix).where(RepositoryRule.position == 1)).one() == "old-{version}"
    event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None and (event.actor, event.action) == ("super", "load rules")


def look_at(stage: Stage, path: str) -> str:
    found = re.search(r'name="base"[^>]*value="(\w+)"', stage.browser("super").get(path).text)
    assert found
    return found[1]


def test_a_new_rule_is_put_where_it_is_wanted(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}/new"
    form = {"pattern": "releases/1/.*", "skip": "y", "position": "1", "base": look_at(stage, path)}
    page, _ = look(stage, path, **form)
    assert "repo=archive-1&arch=x86_64 (version 1) no repository: a rule says that it is none changes" in page
    assert save(stage, path, **form).status_code == 302
    assert patterns(session) == ["releases/1/.*", RULE["pattern"], ".*/debug"]


def test_a_rule_that_decides_nothing_is_pointed_out(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}/new"
    page, _ = look(stage, path, pattern="releases/1/debug", skip="y", base=look_at(stage, path))
    assert "Rule 3: decides nothing: rule 2 comes first" in page


def test_a_rule_that_cannot_be_used_is_explained_at_its_field(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}/new"
    answer = stage.send(path, pattern="(unclosed", version="1", arch="x", base=look_at(stage, path))
    assert answer.status_code == 422 and 'id="pattern-error"' in answer.text
    answer = stage.send(path, pattern="x", prefix="{nothing}", version="1", arch="x", base=look_at(stage, path))
    assert answer.status_code == 422 and 'id="prefix-error"' in answer.text


def test_rules_that_somebody_else_changed_meanwhile_are_not_overwritten(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}/new"
    form = {"pattern": "mine", "skip": "y", "base": look_at(stage, path)}
    _, hidden = look(stage, path, **form)
    with transaction(session):
        rules.load_rules(session, RULES.replace("1997", "1998"))
    answer = stage.send(path, **{**form, **hidden}, save="1")
    assert "somebody else changed the rules of this category meanwhile" in world.text(answer)
    assert "mine" not in patterns(session)


def test_a_rule_is_removed_after_a_look_at_what_it_did(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}/1/delete"
    assert "2 of 4 directories with a repository are treated in another way." in stage.page(path)
    assert stage.send(path, base=look_at(stage, path)).status_code == 302
    assert patterns(session) == [".*/debug"]
    assert stage.browser("super").get(f"/admin/rules/{category(session)}/9").status_code == 404


def test_auditors_read_rules_and_try_paths(stage: Stage, session: Session) -> None:
    path = f"/admin/rules/{category(session)}"
    page = stage.page(f"{path}?path=pub/archive/releases/7/aarch64/os", "auditor")
    assert "Rule 1 makes it repo=archive-7&arch=aarch64 , version 7. There is no arch aarch64 here" in page
    assert "as in 1997" in page and "Remove" not in page
    assert "Fedora Archive 2 rules" in stage.page("/admin/rules", "auditor")
