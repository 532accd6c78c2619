"""Rows of tables made, changed, removed, taken in from files and switched many at a time, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mm_lib.database import make_sessions
from mm_lib.model.accounts import AuditEvent, User
from mm_lib.model.base import State
from mm_lib.model.content import Category, Product
from mm_lib.model.hosts import Host, HostCategory
from mm_lib.services import audit, table_bulk, table_changes, table_files, table_import, table_links, table_reading
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotAllowed, NotFound, ServiceError
from mm_lib.services.table_bulk import Given, Task
from mm_lib.services.table_filling import By
from mm_lib.services.table_import import Verdict
from mm_lib.services.table_queries import Wanted
from mm_lib.services.table_values import value_of
from mm_lib.services.tables import TABLES, find
from tests.lib import tables_world

NOW = datetime.now(UTC)
BY = By("ada", NOW, lambda _name: ["192.0.2.1"])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def filled(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    with (
        tables_world.database(request.param, server, sqlite_template, tmp_path_factory.mktemp("changes")) as engine,
        make_sessions(engine)() as session,
    ):
        tables_world.build(session)
        audit.sign(session, audit.Actor("ada", address="192.0.2.99"))
        yield session


@pytest.fixture
def session(filled: Session) -> Iterator[Session]:
    """What a test changes is taken back."""
    yield filled
    filled.rollback()


def id_of(session: Session, name: str, text: str) -> int:
    """The row that a table has by this name."""
    found = table_links.named(session, name, text)
    assert found is not None, text
    return found


def events(session: Session, after: int = 0) -> list[tuple[str, str]]:
    query = select(AuditEvent.action, AuditEvent.object_name).where(AuditEvent.id > after, AuditEvent.actor == "ada")
    return [tuple(row) for row in session.execute(query.order_by(AuditEvent.id))]


def last_event(session: Session) -> int:
    return session.scalar(select(func.max(AuditEvent.id))) or 0


# What is filled in to make a row of each table, with links by name, and what is changed of it then.
MADE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "product": ({"name": " Debian ", "public": True, "sort_order": 2}, {"name": "Debian GNU"}),
    "version": ({"product_id": "Fedora", "name": "45"}, {"codename": "New"}),
    "arch": ({"name": "riscv64"}, {"primary": False}),
    "category": (
        {
            "name": "Extra",
            "product_id": "Fedora",
            "topdir": "/pub/extra/",
            "source": {"type": "directory", "path": "/x"},
        },
        {"topdir": "pub/other", "max_vanished_share": 0.5},
    ),
    "repository": (
        {"prefix": "epel-9", "version_id": "Fedora · 44", "arch_id": "x86_64", "category_id": "Fedora EPEL"},
        {"enabled": False},
    ),
    "repository_redirect": ({"from_prefix": "devel", "to_prefix": "epel-9"}, {"to_prefix": "fedora-44"}),
    "directory_host": ({"directory_id": "pub/fedora/linux/releases/40", "host_id": "m01.example.org"}, {}),
    "country_continent": ({"country": "cy", "continent": "as"}, {"continent": "EU"}),
    "embargoed_country": ({"country": "ir"}, {}),
    "netblock_country": ({"netblock": "203.0.113.7/24", "country": "de"}, {"netblock": "2001:db8::/32"}),
    "location": ({"name": "cloud-us"}, {"name": "cloud-us-east"}),
    "host_location": ({"location_id": "cloud-eu", "host_id": "m01.example.org"}, {}),
    "site": ({"name": "New University", "org_url": "https://www.example.net"}, {"private": True}),
    "site_member": ({"site_id": "Site of m00.example.org", "user_id": "bert", "role": "viewer"}, {"role": "admin"}),
    "site_upstream": (
        {"upstream_id": "Site of m02.example.org", "downstream_id": "Site of m03.example.org"},
        {},
    ),
    "host": (
        {
            "site_id": "Site of m01.example.org",
            "name": "new.example.org",
            "country": "fr",
            "latitude": 1.5,
            "longitude": 2.5,
        },
        {"bandwidth_mbps": 10_000, "longitude": 3.5},
    ),
    "host_category": ({"host_id": "m02.example.org", "category_id": "Fedora EPEL"}, {"always_up_to_date": True}),
    "host_category_url": (
        {"host_category_id": "m00.example.org · Fedora Linux", "url": "HTTPS://m00.example.org/pub/"},
        {"private": True},
    ),
    "host_netblock": ({"host_id": "m01.example.org", "netblock": "203.0.113.0/24", "name": "x"}, {"name": "campus"}),
    "host_asn": ({"host_id": "m01.example.org", "asn": 64501, "kind": "peer"}, {"name": "peer"}),
    "host_country": ({"host_id": "m01.example.org", "country": "fr", "kind": "allowed"}, {}),
    "host_acl_address": ({"host_id": "m01.example.org", "address": "192.0.2.8"}, {}),
    "maintenance": (
        {"host_id": "m01.example.org", "starts_at": NOW, "ends_at": NOW + timedelta(days=1)},
        {"ends_at": NOW + timedelta(days=2)},
    ),
    "user_account": ({"name": "Cleo", "email": "cleo@example.org"}, {"role": "auditor"}),
    "user_group": ({"name": "packagers"}, {"display_name": "Packagers"}),
    "group_member": ({"group_id": "mirrors", "user_id": "bert"}, {}),
}


def values_of(session: Session, name: str, said: dict[str, Any]) -> dict[str, Any]:
    table = find(name)
    return {
        column: id_of(session, table.columns[column].target, value)
        if table.columns[column].target
        else value
        if isinstance(value, datetime)
        else value_of(table, table.columns[column], value)
        for column, value in said.items()
    }


def test_every_table_that_can_be_filled_is_tried() -> None:
    assert set(MADE) == {table.name for table in TABLES.values() if table_changes.may_add(table)}


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_row_is_made_changed_and_removed_with_an_event_for_each(session: Session, name: str) -> None:
    table, (made, changed) = find(name), MADE[name]
    before = last_event(session)
    key = table_changes.add(session, table, values_of(session, name, made), BY)
    assert table_reading.row(session, table, key).key == key
    if changed:
        table_changes.edit(session, table, key, values_of(session, name, changed), BY)
    if table_changes.writer(table).remove:
        table_changes.remove(session, table, key, BY)
        with pytest.raises(NotFound):
            table_changes.load(session, table, key)
    told = [action.partition(" ")[0] for action, _ in events(session, before) if action.endswith(f" {name}")]
    if name == "repository_redirect":  # recorded so that mm-admin undo takes it back
        assert [action for action, _ in events(session, before)] == ["repository redirect"] * 3
        return
    expected = ["add"] + ["change"] * bool(changed)
    if table.model in audit.RECORDED:
        assert told[: len(expected)] == expected


@pytest.mark.parametrize(
    ("name", "said", "refusal", "words"),
    [
        ("product", {"name": "Fedora"}, AlreadyExists, "Fedora"),
        ("product", {"name": " "}, InvalidValue, "must have a value"),
        ("product", {"name": "x", "id": 5}, InvalidValue, "cannot be set"),
        ("category", {"name": "x", "product_id": "Fedora", "topdir": "a/../b"}, InvalidValue, "topdir"),
        ("category", {"name": "x", "product_id": "Fedora", "source": {"type": "magic"}}, InvalidValue, "source"),
        ("country_continent", {"country": "XX", "continent": "EU"}, InvalidValue, "country"),
        ("country_continent", {"country": "CY", "continent": "XX"}, InvalidValue, "continent"),
        ("netblock_country", {"netblock": "mirror.example.org", "country": "DE"}, InvalidValue, "netblock"),
        ("repository_redirect", {"from_prefix": "a", "to_prefix": "a"}, InvalidValue, "itself"),
        ("repository_redirect", {"from_prefix": "a", "to_prefix": "rawhide"}, InvalidValue, "to_prefix: .* redirected"),
        ("host", {"site_id": "Site of m01.example.org", "name": "y", "latitude": 1.0}, InvalidValue, "both"),
        ("host", {"site_id": "Site of m01.example.org", "name": "m01.example.org"}, AlreadyExists, "m01"),
        ("site_upstream", {"upstream_id": "Site of m01.example.org", "downstream_id": "Site of m01.example.org"},
         InvalidValue, "itself"),
        ("host_category", {"host_id": "m00.example.org", "category_id": "Fedora Linux"}, AlreadyExists, "already"),
        ("host_category_url", {"host_category_id": "m00.example.org · Fedora Linux", "url": "gopher://x/"},
         InvalidValue, "url"),
        ("group_member", {"group_id": "mirrors", "user_id": "ada"}, AlreadyExists, "already"),
        ("repository", {"prefix": "x", "version_id": "Fedora · 44", "arch_id": "x86_64", "category_id": "Fedora EPEL",
                        "directory_id": "pub/fedora/linux/releases/40"}, InvalidValue, "directory"),
        ("crawl_run", {"kind": "mirrors"}, NotAllowed, "not made here"),
    ],
)  # fmt: skip
def test_the_rules_of_the_use_cases_hold_here_too(
    session: Session, name: str, said: dict[str, Any], refusal: type[ServiceError], words: str
) -> None:
    values = said if name in ("crawl_run",) or "id" in said else values_of(session, name, said)
    with pytest.raises(refusal, match=words):
        table_changes.add(session, find(name), values, BY)


def test_a_product_is_kept_while_it_has_versions_or_categories(session: Session) -> None:
    with pytest.raises(NotAllowed, match=r"versions: 1, categories: 2"):
        table_changes.remove(session, find("product"), str(id_of(session, "product", "Fedora")), BY)


def test_a_topdir_stays_once_directories_hang_below_it(session: Session) -> None:
    key = str(id_of(session, "category", "Fedora Linux"))
    with pytest.raises(InvalidValue, match="directories"):
        table_changes.edit(session, find("category"), key, {"topdir": "pub/elsewhere"}, BY)


def test_a_removed_host_is_only_deleted_softly(session: Session) -> None:
    key = id_of(session, "host", "m05.example.org")
    table_changes.remove(session, find("host"), str(key), BY)
    assert table_reading.row(session, find("host"), str(key)).values["deleted_by"] == "ada"


def test_nobody_changes_the_own_role(session: Session) -> None:
    key = str(id_of(session, "user_account", "ada"))
    with pytest.raises(InvalidValue, match="your own"):
        table_changes.edit(
            session, find("user_account"), key, values_of(session, "user_account", {"role": "admin"}), BY
        )


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("host", "bandwidth_mbps", "many"),
        ("host", "bandwidth_mbps", "12.7"),
        ("host", "bandwidth_mbps", 2**40),
        ("host", "bandwidth_mbps", True),
        ("host", "latitude", "nan"),
        ("host", "latitude", "1e999"),
        ("host", "private", "perhaps"),
        ("host", "name", 5),
        ("host", "name", "a\0b"),
        ("host", "name", "x" * 256),
        ("host_asn", "kind", "friend"),
        ("maintenance", "starts_at", "tomorrow"),
        ("category", "source", "{"),
        ("category", "source", "[" * 100_000),
        ("host", "bandwidth_mbps", ""),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_column(name: str, column: str, said: Any) -> None:
    with pytest.raises(InvalidValue) as refused:
        value_of(find(name), find(name).columns[column], said)
    assert refused.value.field == column


# -- files


def exported(session: Session, name: str, form: str = "csv", **wanted: Any) -> bytes:
    rows = table_reading.export(session, find(name), Wanted(**wanted))
    parts = table_files.as_csv(find(name), rows) if form == "csv" else table_files.as_json(rows)
    return "".join(parts).encode()


@pytest.mark.parametrize("form", ["csv", "json"])
def test_what_is_exported_comes_in_again_and_changes_nothing(session: Session, form: str) -> None:
    for table in TABLES.values():
        if table_import.may_import(table):
            content = exported(session, table.name, form)
            outcome = table_import.dry_run(session, table, content, BY)
            assert [line for line in outcome.lines if line.verdict is not Verdict.UNCHANGED] == [], table.name


HOSTS = b"""site,name,country,bandwidth_mbps,comment
Site of m01.example.org,m01.example.org,FR,2000,'=fast
Site of m02.example.org,m02.example.org,DE,102,
Site of m03.example.org,new.example.org,NL,5,two
Site of m04.example.org,m04.example.org,XX,1,
Site of nobody,x,DE,1,
Site of m01.example.org,m01.example.org,FR,2000,again
"""


def test_a_dry_run_shows_what_is_new_changed_unchanged_and_refused_and_why(session: Session) -> None:
    outcome = table_import.dry_run(session, find("host"), HOSTS, BY)
    assert [line.verdict.value for line in outcome.lines] == [
        "changed", "unchanged", "new", "refused", "refused", "refused",
    ]  # fmt: skip
    changed, _, new, wrong_country, nowhere, twice = outcome.lines
    assert changed.differences == (("Country", "DE", "FR"), ("Mbit/s", "101", "2000"), ("Comment", "none", "=fast"))
    assert ("Mbit/s", "", "5") in new.differences
    assert (wrong_country.number, wrong_country.reason.partition(" ")[0]) == (5, "Country")
    assert nowhere.reason == "There is no site Site of nobody."
    assert twice.reason == "is in the file twice, also as 2"
    assert not outcome.applicable


def test_nothing_stays_of_a_dry_run(session: Session) -> None:
    before = last_event(session)
    table_import.dry_run(session, find("host"), HOSTS, BY)
    session.commit()
    assert session.scalar(select(Host.country).where(Host.name == "m01.example.org")) == "DE"
    assert session.scalar(select(Host.id).where(Host.name == "new.example.org")) is None
    assert last_event(session) == before


GOOD = b"".join(HOSTS.splitlines(keepends=True)[:4])


def test_what_was_shown_is_applied_with_an_event_for_each_row(session: Session) -> None:
    before = last_event(session)
    shown = table_import.dry_run(session, find("host"), GOOD, BY)
    table_import.apply(session, find("host"), GOOD, BY, shown.fingerprint)
    assert session.scalar(select(Host.comment).where(Host.name == "m01.example.org")) == "=fast"
    told = [event for event in events(session, before) if event[0].endswith(" host")]
    assert told[0] == ("change host", "m01.example.org")
    assert ("add host", "new.example.org") in told


def test_nothing_is_applied_when_something_changed_since_the_dry_run(session: Session) -> None:
    shown = table_import.dry_run(session, find("host"), GOOD, BY)
    session.scalars(select(Host).where(Host.name == "m01.example.org")).one().bandwidth_mbps = 7
    session.flush()
    with pytest.raises(table_import.Stale):
        table_import.apply(session, find("host"), GOOD, BY, shown.fingerprint)


def test_another_file_than_the_shown_one_is_not_applied(session: Session) -> None:
    shown = table_import.dry_run(session, find("host"), GOOD, BY)
    with pytest.raises(table_import.Stale):
        table_import.apply(session, find("host"), GOOD.replace(b"2000", b"2001"), BY, shown.fingerprint)


def test_a_file_with_a_refused_row_is_not_applied_at_all(session: Session) -> None:
    shown = table_import.dry_run(session, find("host"), HOSTS, BY)
    with pytest.raises(table_import.Stale):
        table_import.apply(session, find("host"), HOSTS, BY, shown.fingerprint)


def test_columns_that_cannot_be_set_are_left_out_and_named(session: Session) -> None:
    content = exported(session, "host", filters={"name": "m01"})
    assert {"State", "Created", "Last crawled"} <= set(
        table_import.dry_run(session, find("host"), content, BY).left_out
    )


def test_what_cannot_be_changed_later_is_refused(session: Session) -> None:
    content = exported(session, "host_category_url").replace(b"Fedora EPEL", b"Fedora Linux")
    content = content.replace(b"Site of m00.example.org,m00.example.org", b"Site of m01.example.org,m01.example.org", 1)
    reasons = [line.reason for line in table_import.dry_run(session, find("host_category_url"), content, BY).lines]
    assert any("Host and category" in reason or "There is no" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no rows"),
        (b"site,name\n", "no rows"),
        (b"name\nx\n", "no 'site'"),
        (b"site,name,nonsense\na,b,c\n", "no 'nonsense'"),
        (b"site,name,name\na,b,c\n", "two columns"),
        (b"site,name\na\n", "line 2 has 1 cells"),
        (b'site,name\n"a,b\n', "no CSV"),
        (b"\xff\xfe", "UTF-8"),
        (b"[1]", "list of objects"),
        (b"{}", "list of objects"),
        (b"[" * 100_000, "no JSON"),
        (b"x" * (table_import.MOST_BYTES + 1), "larger than"),
        (b"site,name\n" + b"a,b\n" * (table_import.MOST_ROWS + 1), "more than"),
        (b"site,name\n" + b"x" * 140_000 + b",b\n", "no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(session: Session, content: bytes, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        table_import.dry_run(session, find("host"), content, BY)


@pytest.mark.parametrize("sign", [b";", b"\t"])
def test_spreadsheets_may_put_other_signs_between_cells_and_a_mark_at_the_beginning(
    session: Session, sign: bytes
) -> None:
    outcome = table_import.dry_run(session, find("host"), b"\xef\xbb\xbf" + GOOD.replace(b",", sign), BY)
    assert [line.verdict.value for line in outcome.lines] == ["changed", "unchanged", "new"]


def test_entries_of_json_may_leave_out_what_stays_as_it_is(session: Session) -> None:
    entries = [{"site": "Site of m01.example.org", "name": "m01.example.org", "bandwidth_mbps": 9}]
    entries.append({"site": "Site of m02.example.org", "name": "m02.example.org", "bandwidth_mbps": 102})
    outcome = table_import.dry_run(session, find("host"), json.dumps(entries).encode(), BY)
    assert [line.verdict.value for line in outcome.lines] == ["changed", "unchanged"]


@given(st.text())
def test_no_cell_begins_like_a_formula_and_every_text_comes_back(text: str) -> None:
    cell = table_files.to_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert table_files.from_cell(cell) == text


# -- many rows


def task(session: Session, name: str, action: str, keys: list[str], **given_: Any) -> Task:
    return Task(find(name), table_bulk.find(find(name), action), keys, Given(**given_), BY)


def keys_of(session: Session, name: str, search: str) -> list[str]:
    return table_reading.matching_keys(session, find(name), Wanted(search=search), table_bulk.MOST_ROWS)


def test_many_hosts_are_switched_off_with_a_reason_and_an_event_each(session: Session) -> None:
    before = last_event(session)
    wanted = task(session, "host", "disable", keys_of(session, "host", "m1"), reason="move of the data centre")
    shown = table_bulk.preview(session, wanted)
    assert shown[0][1:] == ("m10.example.org", "active → switched off by an administrator", True)
    assert table_bulk.carry_out(session, wanted, table_bulk.fingerprint(shown)) == 10
    states = session.execute(select(Host.state, Host.state_reason).where(Host.name.like("m1%"))).all()
    assert set(states) == {(State.ADMIN_DISABLED, "move of the data centre")}
    assert len([event for event in events(session, before) if event[0] == "change host"]) == 10


def test_rows_that_are_so_already_are_left_alone(session: Session) -> None:
    shown = table_bulk.preview(session, task(session, "host", "enable", keys_of(session, "host", "m1")))
    assert {effect.text for effect in shown} == {"is active already"}
    assert not any(effect.does for effect in shown)


def test_a_category_is_assigned_to_the_hosts_that_lack_it(session: Session) -> None:
    category = id_of(session, "category", "Fedora EPEL")
    wanted = task(session, "host", "category", keys_of(session, "host", "m0"), category_id=category)
    shown = table_bulk.preview(session, wanted)
    assert [effect.name for effect in shown if not effect.does] == ["m01.example.org"]
    assert table_bulk.carry_out(session, wanted, table_bulk.fingerprint(shown)) == 9
    assert session.scalar(select(func.count()).where(HostCategory.category_id == category)) == 11


def test_nothing_is_done_when_something_changed_since_it_was_shown(session: Session) -> None:
    wanted = task(session, "host", "disable", keys_of(session, "host", "m1"), reason="x")
    seen = table_bulk.fingerprint(table_bulk.preview(session, wanted))
    session.scalars(select(Host).where(Host.name == "m11.example.org")).one().state = State.OWNER_DISABLED
    with pytest.raises(table_bulk.Stale):
        table_bulk.carry_out(session, wanted, seen)


@pytest.mark.parametrize(("action", "words"), [("disable", "reason"), ("category", "category")])
def test_what_an_action_needs_is_asked_for(session: Session, action: str, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        table_bulk.carry_out(session, task(session, "host", action, keys_of(session, "host", "m1")), "")


def test_administrators_do_not_lock_themselves_out(session: Session) -> None:
    wanted = task(session, "user_account", "disable", keys_of(session, "user_account", "a"))
    shown = table_bulk.preview(session, wanted)
    assert {effect.name: effect.does for effect in shown}["ada"] is False
    table_bulk.carry_out(session, wanted, table_bulk.fingerprint(shown))
    assert session.scalar(select(User.active).where(User.name == "ada"))
    assert not session.scalar(select(User.active).where(User.name == "bert"))


@pytest.mark.parametrize("name", [table.name for table in TABLES.values() if table_bulk.actions(table)])
def test_every_action_says_what_it_does_to_every_row(session: Session, name: str) -> None:
    keys = keys_of(session, name, "")
    for action in table_bulk.actions(find(name)):
        wanted = task(session, name, action, keys, reason="test", category_id=id_of(session, "category", "Fedora EPEL"))
        shown = table_bulk.preview(session, wanted)
        assert len(shown) == len(keys)
        table_bulk.carry_out(session, wanted, table_bulk.fingerprint(shown))
        assert not any(effect.does for effect in table_bulk.preview(session, wanted))


def test_too_many_and_no_rows_are_refused(session: Session) -> None:
    for keys in ([], [str(n) for n in range(1, table_bulk.MOST_ROWS + 2)]):
        with pytest.raises(InvalidValue, match="rows"):
            table_bulk.preview(session, task(session, "host", "enable", keys))
    with pytest.raises(NotFound):
        table_bulk.find(find("host"), "explode")


def test_the_public_flag_of_a_category_and_a_product_can_be_set_for_many(session: Session) -> None:
    for name, model in (("category", Category), ("product", Product)):
        wanted = task(session, name, "hide", keys_of(session, name, ""))
        table_bulk.carry_out(session, wanted, table_bulk.fingerprint(table_bulk.preview(session, wanted)))
        assert set(session.scalars(select(model.public))) == {False}
