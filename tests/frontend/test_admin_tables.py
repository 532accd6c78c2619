"""The tables as administrators and auditors use them, by forms and links alone: no test here runs a script."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from argon2 import PasswordHasher, profiles
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_lib.database import make_sessions, transaction
from mm_lib.model.accounts import AuditEvent, Role
from mm_lib.model.base import State
from mm_lib.model.content import Product
from mm_lib.model.hosts import Host, HostCategory, HostCategoryUrl
from mm_lib.services import accounts, table_import
from mm_lib.services.accounts import create_user
from mm_lib.services.tables import TABLES
from tests.frontend import operators_world, world
from tests.lib import tables_world

MOST_QUERIES = 29


@pytest.fixture(scope="module")
def engine(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with tables_world.database("sqlite", None, sqlite_template, tmp_path_factory.mktemp("admin")) as made:
        quick = PasswordHasher.from_parameters(profiles.CHEAPEST)
        with make_sessions(made)() as session, patch.object(accounts, "_hasher", lambda: quick):
            tables_world.build(session)
            with transaction(session):
                for name, role in (("super", Role.ADMIN), ("auditor", Role.AUDITOR), ("owner", Role.USER)):
                    create_user(session, name, world.PASSWORD, role=role)
        yield made


@pytest.fixture(scope="module")
def app(engine: Engine) -> Iterator[Flask]:
    guards.limiter.enabled = False
    yield create_app(world.SETTINGS, engine)
    guards.limiter.enabled = True


@pytest.fixture(scope="module")
def admin(app: Flask) -> FlaskClient:
    return operators_world.signed_in(app, "super")


@pytest.fixture(scope="module")
def auditor(app: Flask) -> FlaskClient:
    return operators_world.signed_in(app, "auditor")


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine)() as session:
        yield session


def fields(page: TestResponse) -> dict[str, Any]:
    """What the page's form would send: hidden values, texts, ticked boxes, chosen options."""
    found: dict[str, Any] = {}
    form = page.text[page.text.index('<form class="card') :]
    form = form[: form.index("</form>")]
    for tag in re.findall(r"<input[^>]*>", form):
        given = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if given.get("type") in ("checkbox", "radio") and " checked" not in tag:
            continue
        if "name" in given and given.get("type") != "file":
            found[given["name"]] = unescape(given.get("value", ""))
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.S):
        chosen = re.search(r'<option[^>]*selected[^>]*value="([^"]*)"', options)
        found[name] = chosen[1] if chosen else ""
    for name, text in re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>(.*?)</textarea>', form, re.S):
        found[name] = unescape(text).strip()
    return found


def fill(client: FlaskClient, path: str, **values: Any) -> TestResponse:
    """Open a form, fill it in, send it; None leaves a box empty."""
    filled = {**fields(client.get(path)), **values}
    return client.post(path, data={name: value for name, value in filled.items() if value is not None})


def id_of(session: Session, model: Any, name: str, column: str = "name") -> int:
    return session.scalars(select(model.id).where(getattr(model, column) == name)).one()


def test_the_first_page_leads_to_every_table(auditor: FlaskClient) -> None:
    page = auditor.get("/admin/").text
    assert [name for name in TABLES if f'href="/admin/table/{name}"' not in page] == []


@pytest.mark.parametrize(("person", "sees"), [("super", True), ("auditor", True), ("owner", False)])
def test_the_navigation_has_administration_for_those_who_may(app: Flask, person: str, sees: bool) -> None:
    assert ('href="/admin/"' in operators_world.signed_in(app, person).get("/").text) is sees


@pytest.mark.parametrize("name", sorted(TABLES))
def test_an_auditor_opens_list_row_and_files_of_every_table_and_is_offered_no_change(
    auditor: FlaskClient, engine: Engine, name: str
) -> None:
    with world.counting_queries(engine) as asked:
        shown = auditor.get(f"/admin/table/{name}")
    assert len(asked) <= MOST_QUERIES
    row = re.search(rf'href="(/admin/table/{name}/row/[^"]+)"', shown.text)
    assert row is not None
    with world.counting_queries(engine) as asked:
        one = auditor.get(unescape(row[1]))
    assert one.status_code == 200
    assert len(asked) <= MOST_QUERIES
    assert len(json.loads(auditor.get(f"/admin/table/{name}/file?format=json").text)) >= 1
    for page in (shown.text, one.text):
        assert not re.search(rf"/admin/table/{name}/(new|edit|remove|bulk|import)", page)


def test_lists_keep_what_was_asked_for_in_every_link(admin: FlaskClient) -> None:
    page = admin.get("/admin/table/host?q=m1&state=active&sort=-name").text
    links = [unescape(link) for link in re.findall(r'href="(/admin/table/host[^"]*sort=[^"]*)"', page)]
    assert links
    assert all("q=m1" in link and "state=active" in link for link in links)
    assert re.search(r'aria-sort="descending"[^>]*><a href="[^"]*sort=name"', page)
    assert page.index("m19.example.org") < page.index("m10.example.org")


def test_a_filter_that_cannot_be_is_explained(admin: FlaskClient) -> None:
    answer = admin.get("/admin/table/host?bandwidth_mbps=lots")
    assert answer.status_code == 422
    assert "Mbit/s: must be a number" in world.text(answer)


def test_links_of_a_row_lead_to_what_refers_to_it(admin: FlaskClient, session: Session) -> None:
    key = id_of(session, Host, "m00.example.org")
    page = admin.get(f"/admin/table/host/row/{key}").text
    link = re.search(r'href="(/admin/table/host_netblock\?[^"]+)"', page)
    assert link is not None
    assert "192.0.2.0/24" in admin.get(unescape(link[1])).text


@pytest.mark.parametrize("path", ["/admin/table/nonsense", "/admin/table/host/row/999999", "/admin/table/job/new",
                                  "/admin/table/job/edit/1", "/admin/table/job/remove/1", "/admin/table/job/import",
                                  "/admin/table/host/bulk?action=explode&key=1"])  # fmt: skip
def test_what_is_not_there_is_not_found(admin: FlaskClient, path: str) -> None:
    assert admin.get(path).status_code == 404


def test_a_file_holds_what_is_filtered_and_is_sent_as_a_file(admin: FlaskClient) -> None:
    answer = admin.get("/admin/table/host/file?format=csv&name=m1")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="host.csv"'
    assert [row["name"] for row in csv.DictReader(io.StringIO(answer.text))] == [
        f"m1{n}.example.org" for n in range(10)
    ]


# -- forms


def test_a_row_is_made_changed_and_removed_by_forms_and_the_log_says_by_whom_and_from_where(
    admin: FlaskClient, session: Session
) -> None:
    made = fill(admin, "/admin/table/product/new", name="Debian")
    row = made.location
    assert admin.get(row).status_code == 200
    changed = fill(admin, row.replace("/row/", "/edit/"), name="Debian GNU", public=None)
    assert changed.location == row
    assert session.scalars(select(Product.public).where(Product.name == "Debian GNU")).one() is False
    assert fill(admin, row.replace("/row/", "/remove/")).location == "/admin/table/product"
    assert admin.get(row).status_code == 404
    events = session.scalars(select(AuditEvent).where(AuditEvent.object_type == "product", AuditEvent.actor == "super"))
    assert [(event.action, event.address) for event in events] == [
        (f"{what} product", "127.0.0.1") for what in ("add", "change", "remove")
    ]


def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(admin: FlaskClient) -> None:
    answer = fill(admin, "/admin/table/arch/new", name=" ")
    assert answer.status_code == 422
    assert "Must have a value" in world.text(answer) or "must have a value" in world.text(answer)
    answer = fill(admin, "/admin/table/country_continent/new", country="UK", continent="EU")
    assert "did you mean GB" in world.text(answer)
    assert 'value="EU"' in answer.text


def test_a_look_up_takes_the_whole_name(admin: FlaskClient, session: Session) -> None:
    answer = fill(
        admin,
        "/admin/table/host_category_url/new",
        host_category_id="m01.example.org · Fedora EPEL",
        url="https://m01.example.org/epel",
    )
    assert answer.status_code == 302
    assert id_of(session, HostCategoryUrl, "https://m01.example.org/epel", "url")


def test_a_part_of_a_name_is_answered_with_the_question_which_one(admin: FlaskClient, session: Session) -> None:
    path = "/admin/table/host_acl_address/new"
    asked = fill(admin, path, host_id="m0", address="192.0.2.20")
    assert asked.status_code == 422
    assert "Which one?" in world.text(asked)
    key = str(id_of(session, Host, "m04.example.org"))
    assert f'name="host_id-chosen" value="{key}"' in asked.text
    filled = {**fields(asked), "host_id-chosen": key}
    assert filled["address"] == "192.0.2.20"
    assert admin.post(path, data=filled).status_code == 302


def test_find_looks_without_saving(admin: FlaskClient, session: Session) -> None:
    found = fill(admin, "/admin/table/host_acl_address/new", host_id="m07", address="192.0.2.77", find="host_id")
    assert found.status_code == 200
    assert "m07.example.org" in found.text
    assert "192.0.2.77" not in admin.get("/admin/table/host_acl_address?q=192.0.2.77").text.partition("<tbody")[2]


def test_small_tables_are_offered_whole(admin: FlaskClient) -> None:
    assert '<option value="Fedora EPEL">' in admin.get("/admin/table/host_category/new").text


def test_a_form_that_others_overtook_is_not_saved(admin: FlaskClient, session: Session) -> None:
    key = id_of(session, Host, "m06.example.org")
    path = f"/admin/table/host/edit/{key}"
    filled = fields(admin.get(path))
    assert fill(admin, path, comment="first").status_code == 302
    answer = admin.post(path, data={**filled, "comment": "second"})
    assert answer.status_code == 422
    assert "Somebody changed it" in world.text(answer)
    assert session.scalars(select(Host.comment).where(Host.id == key)).one() == "first"


def test_saving_without_a_change_changes_nothing(admin: FlaskClient, session: Session) -> None:
    path = f"/admin/table/host/edit/{id_of(session, Host, 'm08.example.org')}"
    assert fill(admin, path).status_code == 302
    query = select(AuditEvent.id).where(AuditEvent.object_name == "m08.example.org", AuditEvent.actor == "super")
    assert session.scalars(query).all() == []


def test_a_product_with_versions_says_that_they_go_first(admin: FlaskClient, session: Session) -> None:
    answer = admin.get(f"/admin/table/product/remove/{id_of(session, Product, 'Fedora')}")
    assert answer.status_code == 302
    assert "Remove what belongs to it first (Versions: 1, Categories: 2)" in world.text(admin.get(answer.location))


@pytest.mark.parametrize("path", ["/admin/table/product/new", "/admin/table/host/import",
                                  "/admin/table/host/bulk?action=enable&key=1"])  # fmt: skip
def test_nothing_is_changed_without_the_forms_token(admin: FlaskClient, path: str) -> None:
    assert admin.post(path, data={"name": "x"}).status_code == 400


# -- many rows


def test_hosts_are_switched_off_together_after_a_page_that_says_so(admin: FlaskClient, session: Session) -> None:
    page = admin.get("/admin/table/host?q=m1").text
    assert 'name="action" value="disable"' in page
    path = "/admin/table/host/bulk?q=m1&all=1&action=disable"
    assert "10 hosts will change" in world.text(admin.get(path))
    refused = fill(admin, path)
    assert refused.status_code == 422
    assert "say why" in world.text(refused)
    answer = admin.post(path, data={**fields(refused), "reason": "the cable was cut"})
    assert answer.location == "/admin/table/host?q=m1"
    states = session.scalars(select(Host.state).where(Host.name.like("m1%"))).all()
    assert set(states) == {State.ADMIN_DISABLED}
    events = select(AuditEvent.id).where(AuditEvent.action == "change host", AuditEvent.object_name.like("m1%"))
    assert len(session.scalars(events).all()) == 10


def test_a_category_is_chosen_then_shown_then_assigned(admin: FlaskClient, session: Session) -> None:
    keys = [id_of(session, Host, f"m0{n}.example.org") for n in (1, 2, 3)]
    path = "/admin/table/host/bulk?action=category&" + "&".join(f"key={key}" for key in keys)
    chosen = re.search(r'<option value="(\d+)">Fedora EPEL', admin.get(path).text)
    assert chosen is not None
    path = f"{path}&category={chosen[1]}"
    assert "2 hosts will change, 1 will stay as it is" in world.text(admin.get(path))
    assert fill(admin, path).status_code == 302
    carrying = select(HostCategory.host_id).where(HostCategory.category_id == int(chosen[1]))
    assert set(keys) <= set(session.scalars(carrying))


def test_what_changed_meanwhile_is_shown_again_and_not_done(admin: FlaskClient, session: Session) -> None:
    key = id_of(session, Host, "m09.example.org")
    path = f"/admin/table/host/bulk?action=disable&key={key}"
    filled = fields(admin.get(path))
    with transaction(session):
        session.get_one(Host, key).state = State.AUTO_DISABLED
    answer = admin.post(path, data={**filled, "reason": "x"})
    assert answer.status_code == 422
    assert "switched off by the crawler → switched off by an administrator" in world.text(answer)
    session.expire_all()
    assert session.get_one(Host, key).state is State.AUTO_DISABLED


def test_no_rows_chosen_is_said(admin: FlaskClient) -> None:
    answer = admin.get("/admin/table/host/bulk?action=enable")
    assert "are none: choose some" in world.text(admin.get(answer.location))


# -- files


def send(client: FlaskClient, content: bytes, table: str = "host") -> TestResponse:
    path = f"/admin/table/{table}/import"
    data = {**fields(client.get(path)), "file": (io.BytesIO(content), "rows.csv")}
    return client.post(path, data=data, content_type="multipart/form-data")


FILE = b"site,name,country\nSite of m02.example.org,m02.example.org,FR\nSite of m03.example.org,m03.example.org,DE\n"


def test_a_file_is_shown_before_it_is_taken_in(admin: FlaskClient, session: Session) -> None:
    shown = send(admin, FILE)
    assert "0 new, 1 changed, 1 unchanged, 0 refused" in world.text(shown)
    assert re.search(r"<del>DE</del>\s*<ins>FR</ins>", shown.text)
    assert session.scalars(select(Host.country).where(Host.name == "m02.example.org")).one() == "DE"
    session.rollback()
    answer = admin.post("/admin/table/host/import", data=fields(shown), content_type="multipart/form-data")
    assert answer.location == "/admin/table/host"
    assert "Made 0 and changed 1 hosts" in world.text(admin.get(answer.location))
    assert session.scalars(select(Host.country).where(Host.name == "m02.example.org")).one() == "FR"


def test_what_changed_since_the_dry_run_is_shown_and_not_overwritten(admin: FlaskClient, session: Session) -> None:
    shown = send(admin, FILE.replace(b",FR", b",NL"))
    with transaction(session):
        session.scalars(select(Host).where(Host.name == "m03.example.org")).one().country = "AT"
    answer = admin.post("/admin/table/host/import", data=fields(shown), content_type="multipart/form-data")
    assert answer.status_code == 422
    assert "nothing was done" in world.text(answer)
    assert re.search(r"<del>AT</del>\s*<ins>DE</ins>", answer.text)
    assert session.scalars(select(Host.country).where(Host.name == "m02.example.org")).one() != "NL"


def test_a_refused_row_says_its_line_and_why_and_there_is_no_button(admin: FlaskClient) -> None:
    shown = send(admin, FILE.replace(b",FR", b",XX"))
    assert "Country 'XX' is not a country code" in world.text(shown)
    assert "Take it in" not in shown.text


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no rows"), (b"\xff", "UTF-8"), (b"x" * (table_import.MOST_BYTES + 1), "larger than")],
)
def test_a_file_that_cannot_be_read_is_refused_at_its_field(admin: FlaskClient, content: bytes, words: str) -> None:
    answer = send(admin, content)
    assert answer.status_code == 422
    assert words in world.text(answer)


def test_the_largest_file_fits_through_both_pages(admin: FlaskClient) -> None:
    rows = b"site,name,comment\nSite of m05.example.org,m05.example.org," + b"x" * 2000 + b"\n"
    padding = b"\n" * (table_import.MOST_BYTES - len(rows))
    shown = send(admin, rows + padding)
    answer = admin.post("/admin/table/host/import", data=fields(shown), content_type="multipart/form-data")
    assert answer.status_code == 302


def test_what_is_shown_of_rows_cannot_become_markup(admin: FlaskClient) -> None:
    shown = send(admin, b"site,name,comment\nSite of m05.example.org,m05.example.org,<script>x</script>\n")
    assert "<script>" not in shown.text
    assert "&lt;script&gt;" in shown.text
