"""Every table of the model for people: described, listed, searched, filtered, sorted, exported, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session

from mm_lib.database import make_sessions
from mm_lib.model.tables import metadata
from mm_lib.services import table_links, table_reading
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.table_links import Link
from mm_lib.services.table_queries import Wanted
from mm_lib.services.tables import TABLES, find
from tests.lib import tables_world


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def session(
    request: pytest.FixtureRequest, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Session]:
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    with (
        tables_world.database(request.param, server, sqlite_template, tmp_path_factory.mktemp("tables")) as engine,
        make_sessions(engine)() as session,
    ):
        tables_world.build(session)
        yield session


def texts(session: Session, name: str, **wanted: object) -> list[str]:
    """What the rows of a list are called in its first column."""
    found = table_reading.page(session, find(name), Wanted(**wanted))  # type: ignore[arg-type]
    return [str(getattr(value, "text", value)) for value in (next(iter(row.values.values())) for row in found.rows)]


def test_every_table_of_the_model_is_described() -> None:
    missing = set(metadata.tables) - set(TABLES)
    assert missing == set(), "describe it in mm_lib/services/tables.py"


@pytest.mark.parametrize("name", sorted(metadata.tables))
def test_every_column_is_shown_or_kept_back(name: str) -> None:
    table = TABLES[name]
    assert set(table.columns) | set(table.kept_back.split()) == {a.key for a in inspect(table.model).column_attrs}


def test_what_opens_something_is_kept_back() -> None:
    """By its name: whoever adds a column with such a name must not show it."""
    suspicious = ("hash", "secret", "salt", "token", "digest_key", "sketch")
    shown = [
        f"{table.name}.{name}"
        for table in TABLES.values()
        for name in table.columns
        if any(word in name for word in suspicious)
    ]
    assert shown == []


def test_no_table_shows_a_secret_anywhere(session: Session) -> None:
    shown: list[str] = []
    for table in TABLES.values():
        shown += map(json.dumps, table_reading.export(session, table, Wanted()))
        rows = table_reading.page(session, table, Wanted()).rows
        shown += [str(table_reading.row(session, table, row.key)) for row in rows]
    assert [text for text in shown if "hush" in text] == []


def test_every_table_has_a_row_that_can_be_opened_by_its_key(session: Session) -> None:
    for table in TABLES.values():
        found = table_reading.page(session, table, Wanted()).rows
        assert found, table.name
        assert table_reading.row(session, table, found[0].key).key == found[0].key
        assert table_reading.title(session, table, found[0].key)


def test_every_list_can_be_sorted_by_every_column_that_it_offers(session: Session) -> None:
    for table in TABLES.values():
        for column in table.in_list:
            if column.name in table.sortable:
                assert table_reading.page(session, table, Wanted(sort=f"-{column.name}")).rows


def test_every_column_that_can_be_filtered_by_finds_its_own_values(session: Session) -> None:
    wrong = []
    for table in TABLES.values():
        row = table_reading.row(session, table, table_reading.page(session, table, Wanted()).rows[0].key)
        for column in table.filters:
            value = row.values[column.name]
            text = table_reading.as_text(column, value)
            if value is None:
                text = "(none)"
            elif isinstance(value, datetime):
                text = f"{value:%Y-%m-%d}"
            elif isinstance(value, Link):
                text = f"#{value.key}"
            found = table_reading.matching_keys(session, table, Wanted(filters={column.name: text}), 100)
            if row.key not in found:
                wrong.append((table.name, column.name, text))
    assert wrong == []


def test_a_page_has_so_many_rows_and_says_that_there_are_more(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reading, "PAGE", 15)
    first = table_reading.page(session, find("host"), Wanted())
    second = table_reading.page(session, find("host"), Wanted(page=2))
    assert (len(first.rows), first.more, len(second.rows), second.more) == (15, True, 5, False)
    assert first.total == (tables_world.HOSTS, True)


def test_sorting_by_a_link_sorts_by_the_name_it_leads_to(session: Session) -> None:
    found = texts(session, "host", sort="-site_id")
    assert found[0] == "m19.example.org"


def test_deleted_hosts_are_in_no_list_but_what_leads_to_them_says_so(session: Session) -> None:
    assert texts(session, "host", search="gone") == []
    assert texts(session, "host_category", search="gone") == ["gone.example.org (deleted)"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"bandwidth_mbps": ">117"}, 2),
        ({"bandwidth_mbps": "100..102"}, 3),
        ({"bandwidth_mbps": "=103"}, 1),
        ({"name": "m0"}, 10),
        ({"name": "=m01.example.org"}, 1),
        ({"state": "active", "private": "no", "site_id": "m05"}, 1),
        ({"last_crawled_at": "(none)", "name": "M00"}, 1),
        ({"created_at": "2020-01-01..2020-12-31"}, 0),
        ({"site_id": "#999999"}, 0),
        ({"site_id": "#99999999999999999999"}, 0),
        ({"name": "50%"}, 0),
        ({"carries": "linux"}, 1),
        ({"carries": "fedora"}, 2),
        ({"carries": "nothing", "name": "m0"}, 0),
    ],
)
def test_filters_say_exactly_what_is_wanted(session: Session, filters: dict[str, str], found: int) -> None:
    rows = table_reading.page(session, find("host"), Wanted(filters=filters)).rows
    assert len(rows) == found


@pytest.mark.parametrize(
    "filters",
    [
        {"bandwidth_mbps": "many"},
        {"state": "sleeping"},
        {"private": "maybe"},
        {"created_at": "yesterday"},
        {"name": "a\0b"},
        {"nothing": "x"},
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_name(session: Session, filters: dict[str, str]) -> None:
    with pytest.raises(InvalidValue) as refused:
        table_reading.page(session, find("host"), Wanted(filters=filters))
    assert refused.value.field in (*filters, "q")


def test_what_is_kept_back_can_neither_be_filtered_nor_sorted_by(session: Session) -> None:
    for name, column in (("user_account", "password_hash"), ("webhook", "url")):
        with pytest.raises(InvalidValue):
            table_reading.page(session, find(name), Wanted(filters={column: "hush"}))
        assert column not in find(name).sortable


def test_the_search_looks_through_links_with_every_word(session: Session) -> None:
    assert texts(session, "host_category_url", search="m00 linux") == ["http://m00.example.org/pub/fedora/linux"]
    assert texts(session, "host_category_url", search="m00 epel") == []


@pytest.mark.parametrize("key", ["x", "-1", "1,2", "99999999999", "1\0"])
def test_a_key_that_leads_nowhere_is_not_found(session: Session, key: str) -> None:
    with pytest.raises(NotFound):
        table_reading.row(session, find("host"), key)


def test_sites_are_found_by_their_members_and_users_by_their_sites(session: Session) -> None:
    assert texts(session, "site", filters={"member": "ada"}) == ["Site of m00.example.org"]
    assert texts(session, "user_account", filters={"member_of": "m00"}) == ["ada"]


def test_a_row_says_who_refers_to_it_and_what_goes_with_it(session: Session) -> None:
    key = table_reading.page(session, find("host"), Wanted(search="m00")).rows[0].key
    found = {each.table.name: each for each in table_reading.referrers(session, find("host"), key)}
    assert found["host_netblock"].number == (1, True)
    assert found["host_category"].goes_with_it
    assert not found["event"].goes_with_it


def test_bitmaps_show_how_many_are_in_them(session: Session) -> None:
    row = table_reading.page(session, find("host_category_state"), Wanted()).rows[0]
    assert table_reading.row(session, find("host_category_state"), row.key).values["up_to_date"] == 3


def test_addresses_are_read_as_such(session: Session) -> None:
    row = table_reading.page(session, find("host_netblock"), Wanted()).rows[0]
    assert table_reading.row(session, find("host_netblock"), row.key).values["last_address"] == "192.0.2.255"


def test_files_name_what_rows_lead_to_instead_of_numbering_it(session: Session) -> None:
    found = next(table_reading.export(session, find("host_netblock"), Wanted()))
    assert found["host.site"] == "Site of m00.example.org"
    assert found["host.name"] == "m00.example.org"
    assert "host_id" not in found
    assert list(found) == table_reading.header(find("host_netblock"))


def test_an_export_reads_piece_by_piece_and_loses_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "CHUNK", 7)
    for name, number in (("host", tables_world.HOSTS), ("crawl_schedule", 1)):
        assert len(list(table_reading.export(session, find(name), Wanted()))) == number


def test_an_export_holds_what_the_filters_say(session: Session) -> None:
    found = table_reading.export(session, find("host"), Wanted(filters={"name": "m1"}))
    assert [row["name"] for row in found] == [f"m1{n}.example.org" for n in range(10)]


def test_a_look_up_finds_by_words_by_number_and_by_the_whole_name(session: Session) -> None:
    found = table_links.candidates(session, "host_category", "m00 linux")
    assert [link.text for link in found] == ["m00.example.org · Fedora Linux"]
    assert table_links.named(session, "host_category", found[0].text.upper()) == int(found[0].key)
    assert table_links.named(session, "host_category", f"#{found[0].key}") == int(found[0].key)
    assert table_links.named(session, "host", "example") is None
    assert table_links.named(session, "host", "gone.example.org") is None


def test_a_form_offers_all_of_a_small_table_and_none_of_a_large_one(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [link.text for link in table_links.few(session, "category")] == ["Fedora EPEL", "Fedora Linux"]
    monkeypatch.setattr(table_links, "FEW", 10)
    assert table_links.few(session, "host") == []


def test_no_list_and_no_row_asks_the_database_more_than_a_dozen_times(session: Session) -> None:
    asked: list[str] = []
    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", lambda _c, _k, text, *_: asked.append(text))
    most = 0
    for table in TABLES.values():
        asked.clear()
        found = table_reading.page(session, table, Wanted(search="a"))
        found = found if found.rows else table_reading.page(session, table, Wanted())
        table_reading.row(session, table, found.rows[0].key)
        table_reading.referrers(session, table, found.rows[0].key)
        most = max(most, len(asked))
    asked.clear()
    table_reading.counts(session)
    assert most <= 24  # two lists and a row
    assert len(asked) == 1
