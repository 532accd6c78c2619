"""Check-in by XML-RPC: every reply of frontend.md 4.3, word for word, and input that wants to do harm."""

from __future__ import annotations

import base64
import bz2
import json
import pickle
import shutil
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher, profiles
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.checkin import views
from mm_frontend.checkin import xmlrpc as wire
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.accounts import AuditEvent
from mm_lib.model.base import State
from mm_lib.model.hosts import Host
from mm_lib.model.outbox import Event
from mm_lib.rules import checkin as rules
from mm_lib.services import site_passwords
from mm_lib.settings import DatabaseSettings
from tests import checkins, factories
from tests.checkins import config, encoded
from tests.frontend import world

INVALID = "Invalid config file provided, please check your report_mirror.conf."
OK, NO = "checked in successful", "error checking in"
WRONG = f"Config file site name or password incorrect.\n{NO}"
UNREADABLE = "This call could not be understood."


@pytest.fixture(scope="module", autouse=True)
def _quick_site_hashes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_passwords, "_hasher", lambda: PasswordHasher.from_parameters(profiles.CHEAPEST))
        yield
    site_passwords._hash_of_nobody.cache_clear()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("checkin") / "registry.sqlite"
    shutil.copy(sqlite_template, path)
    made = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    with make_sessions(made)() as session, transaction(session):
        host = checkins.registry(session)
        extra = factories.category(session, "Extra", "")
        factories.directory(session, extra, "packages")
        factories.carries(session, host, extra)
        factories.host(session, "public.example.org").site_id = host.site_id
        factories.host(session, "elsewhere.example.net", private=True)
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def app(engine: Engine) -> Iterator[Flask]:
    app = create_app(world.SETTINGS, engine)
    guards.limiter.enabled = False
    yield app
    guards.limiter.enabled = True


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine)() as session:
        yield session


def said(client: FlaskClient, body: str | bytes, path: str = "/xmlrpc") -> Any:
    """What a call returns, or the text of its fault; always with status 200 and as XML."""
    answer = client.post(path, data=body, content_type="text/xml")
    assert (answer.status_code, answer.mimetype) == (200, "text/xml")
    try:
        return xmlrpc.client.loads(answer.get_data())[0][0]
    except xmlrpc.client.Fault as fault:
        return fault.faultString


def called(client: FlaskClient, *values: Any, method: str = "checkin") -> Any:
    return said(client, xmlrpc.client.dumps(values, method))


def reply(client: FlaskClient, payload: Any) -> Any:
    return called(client, encoded(payload))


def without(*path: str, **changes: Any) -> dict[str, Any]:
    """The usual payload without a section, or an option of one."""
    payload = config(fedora_linux=[""])
    inner = payload
    for name in path[:-1]:
        inner = inner[name]
    if path:
        del inner[path[-1]]
    return payload | changes


def other(section: str, **options: Any) -> dict[str, Any]:
    payload = config(fedora_linux=[""])
    return payload | {section: payload[section] | options}


REPLIES = [
    ([], f"config file is not a dict.\nPlease update your copy of report_mirror.\n{INVALID}{NO}"),
    ("text", f"config file is not a dict.\nPlease update your copy of report_mirror.\n{INVALID}{NO}"),
    (without("version"), f"config file has no version field.\n{INVALID}{NO}"),
    (without(version=1), f"config file version is not 0, is 1.\n{INVALID}{NO}"),
    (without(version="0"), f"config file version is not 0, is 0.\n{INVALID}{NO}"),
    (without("global"), f"config file missing section global.\n{INVALID}{NO}"),
    (without("site"), f"config file missing section site.\n{INVALID}{NO}"),
    (without("host"), f"config file missing section host.\n{INVALID}{NO}"),
    (other("global", enabled="0"), f"config file section [global] not enabled.\n{INVALID}{NO}"),
    (without("global", "enabled"), f"config file section [global] not enabled.\n{INVALID}{NO}"),
    (other("site", enabled="0"), f"config file missing section site.\n{INVALID}{NO}"),
    (without("site", "name"), f"config file [site] missing required option name.\n{INVALID}{NO}"),
    (without("site", "password"), f"config file [site] missing required option password.\n{INVALID}{NO}"),
    (without("host", "name"), f"section [host] missing required option name.\n{INVALID}{NO}"),
    (
        without("fedora linux", "dirtree"),
        f"section [fedora linux] missing required option dirtree.\n{INVALID}{NO}",
    ),
    (without(extra={}), f"section [extra] missing required option dirtree.\n{INVALID}{NO}"),
    (without(extra="x"), f"section [extra] missing required option dirtree.\n{INVALID}{NO}"),
    (other("site", name="Nobody"), WRONG),
    (other("site", password="wrong"), WRONG),
    (other("site", password=["two", "words"]), WRONG),
    (other("site", password="\ud800"), WRONG),
    (other("site", name="a\x00b"), WRONG),
    (other("host", name="nowhere.example.edu"), f"Config file host name for site not found.\n{NO}"),
    (other("host", name="elsewhere.example.net"), f"Config file host name for site not found.\n{NO}"),
    (other("host", name=7), f"Config file host name for site not found.\n{NO}"),
    (other("host", name="public.example.org"), f"Only private mirrors are allowed to use report_mirror.\n{NO}"),
]


@pytest.mark.parametrize(("payload", "text"), REPLIES, ids=[text[:60] for _, text in REPLIES])
def test_every_refusal_has_the_words_that_clients_know(app: Flask, payload: Any, text: str) -> None:
    assert reply(app.test_client(), payload) == text


def test_each_category_that_is_carried_gets_its_line(app: Flask) -> None:
    """Names count in any case, others are skipped, and two spaces stand where they always stood."""
    payload = config(fedora_linux=["", "releases", "updates"], Extra=["packages"], another=["x"])
    first, second = (reply(app.test_client(), payload) for _ in range(2))
    assert first.splitlines()[-1] == OK
    assert second == (
        "Category Fedora Linux directories updated: 3  added: 0  deleted 0\n"
        f"Category Extra directories updated: 1  added: 0  deleted 0\n{OK}"
    )
    third = reply(app.test_client(), config(fedora_linux=["", "/releases/44/"]))
    assert third == f"Category Fedora Linux directories updated: 1  added: 1  deleted 2\n{OK}"


def test_a_section_that_is_not_enabled_changes_nothing(app: Flask) -> None:
    """The original client sends it nevertheless, with an empty tree when the disk is not there."""
    reply(app.test_client(), config(fedora_linux=["", "updates"]))
    payload = config(fedora_linux=[])
    for enabled in ("0", "", 1, None, ["1"]):
        payload["fedora linux"]["enabled"] = enabled
        assert reply(app.test_client(), payload) == OK
    again = reply(app.test_client(), config(fedora_linux=["", "updates"]))
    assert again == f"Category Fedora Linux directories updated: 2  added: 0  deleted 0\n{OK}"


@pytest.mark.parametrize("word", ["true", "1", "t", "y", "yes"])
def test_words_for_active_switch_a_mirror_on_even_without_a_category(app: Flask, session: Session, word: str) -> None:
    for user_active, state in (("True", State.OWNER_DISABLED), (word, State.ACTIVE)):
        payload = config()
        payload["host"]["user_active"] = user_active
        assert reply(app.test_client(), payload) == OK
        assert session.scalars(select(Host.state).where(Host.name == checkins.HOST)).one() is state
        session.rollback()


def test_who_switched_a_mirror_is_recorded_and_a_mere_check_in_tells_nobody(app: Flask, session: Session) -> None:
    def told() -> tuple[int, int]:
        session.rollback()
        return len(session.scalars(select(AuditEvent)).all()), len(session.scalars(select(Event)).all())

    before = told()
    reply(app.test_client(), config(fedora_linux=["releases"]))
    assert told() == before
    for word in ("no", "yes"):
        payload = config()
        payload["host"]["user_active"] = word
        reply(app.test_client(), payload)
    assert told()[0] == before[0] + 2
    newest = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert newest is not None
    assert (newest.actor, newest.address) == (f"check-in of {checkins.SITE}", "127.0.0.1")


@pytest.mark.parametrize("path", ["/xmlrpc", "/xmlrpc/"])
def test_both_addresses_answer_without_a_redirect(app: Flask, path: str) -> None:
    body = xmlrpc.client.dumps((encoded(config()),), "checkin")
    assert said(app.test_client(), body, path) == OK
    assert app.test_client().get(path).status_code == 405


def test_an_argument_in_binary_is_taken_too(app: Flask) -> None:
    argument = xmlrpc.client.Binary(encoded(config()).encode())
    assert called(app.test_client(), argument) == OK


def test_introspection_answers(app: Flask) -> None:
    client = app.test_client()
    methods = ["checkin", "system.listMethods", "system.methodHelp", "system.methodSignature"]
    assert called(client, method="system.listMethods") == methods
    assert called(client, "checkin", method="system.methodSignature") == [["string", "string"]]
    assert "private mirror" in called(client, "checkin", method="system.methodHelp")
    assert called(client, method="nothing") == "There is no such method."
    assert called(client, method="checkin") == UNREADABLE


class Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_not_opened_and_its_client_is_told_to_update(app: Flask, tmp_path: Path) -> None:
    text = reply(app.test_client(), pickle.dumps({"version": 0, "harm": Harm(tmp_path / "opened")}))
    assert text.startswith("config file is not a dict.\nPlease update your copy of report_mirror.\n")
    assert not (tmp_path / "opened").exists()


ENTITIES = """<?xml version="1.0"?><!DOCTYPE methodCall [<!ENTITY a "{a}"><!ENTITY b "{b}"><!ENTITY c "{c}">]>
<methodCall><methodName>checkin</methodName><params><param><value>&c;</value></param></params></methodCall>"""
HOSTILE = {
    "nothing": b"",
    "no XML": b"hello",
    "cut off": xmlrpc.client.dumps(("x",), "checkin").encode()[:80],
    "an entity bomb": ENTITIES.format(a="x" * 1000, b="&a;" * 1000, c="&b;" * 1000).encode(),
    "a file of ours": ENTITIES.replace('"{c}"', 'SYSTEM "file:///etc/passwd"').encode(),
    "another document": b"<html><body/></html>",
    "a wrong number": b"<methodCall><methodName>checkin</methodName><params><param><value><int>1e9</int></value>"
    b"</param></params></methodCall>",
    "deep arrays": b"<methodCall><methodName>checkin</methodName><params><param>"
    + b"<value><array><data>" * 20_000
    + b"</data></array></value>" * 20_000
    + b"</param></params></methodCall>",
    "a number": xmlrpc.client.dumps((7,), "checkin").encode(),
    "two values": xmlrpc.client.dumps(("x", "y"), "checkin").encode(),
    "no base64": xmlrpc.client.dumps(("äöü!",), "checkin").encode(),
    "no bz2": xmlrpc.client.dumps(("aGVsbG8=",), "checkin").encode(),
    "cut base64": xmlrpc.client.dumps((encoded(config())[:-7],), "checkin").encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_understood_gets_the_same_fault(app: Flask, name: str) -> None:
    assert said(app.test_client(), HOSTILE[name]) == UNREADABLE


def test_a_bomb_of_bz2_is_not_unpacked(app: Flask) -> None:
    bomb = bz2.compress(b" " * (rules.MAX_TEXT + 1))
    assert len(bomb) < 1000
    assert called(app.test_client(), wire_base64(bomb)) == UNREADABLE


def wire_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"[" * 100_000, "Please update your copy"),
        (b'{"version": 0, "x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "Please update your copy"),
        (b"[" + b"1," * rules.MAX_VALUES + b"1]", "Please update your copy"),
        (b"[" + b"{}," * rules.MAX_PATHS + b"1" * 200 + b"{}" * 200 + b"]", "has more than 400000 directories"),
        (b'{"version": ' + b"9" * 10_000 + b"}", "Please update your copy"),
    ],
    ids=["deep lists", "deep objects", "many values", "many directories", "a huge number"],
)
def test_json_that_would_take_too_much_is_refused(app: Flask, payload: bytes, text: str) -> None:
    assert text in reply(app.test_client(), payload)


def test_a_body_that_is_too_long_is_not_read(app: Flask) -> None:
    assert said(app.test_client(), b" " * (rules.MAX_BODY + 1)) == "That is more than this server takes."


def test_names_in_a_reply_are_short_and_xml(app: Flask) -> None:
    text = reply(app.test_client(), without() | {"\x00\x1b" + "n" * 100_000: {}})
    assert f"section [??{'n' * 98}] missing" in text


def test_without_a_database_there_is_a_fault_that_says_nothing_of_it() -> None:
    app = create_app(world.SETTINGS, create_engine("sqlite://"))
    assert reply(app.test_client(), config()) == "The check-in is not possible right now. Try again later."


def test_a_fault_of_ours_says_nothing_of_it(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views.checkin, "open_site", lambda *_: 1 / 0)
    assert reply(app.test_client(), config()) == "The check-in failed on the server's side. Try again later."


def test_failures_are_limited_and_success_is_not(app: Flask) -> None:
    """Guessing a site's password ends after 20 tries; a network with many mirrors goes on."""
    guards.limiter.enabled = True
    try:
        guards.limiter.reset()
        texts = [reply(app.test_client(), config()) for _ in range(25)]
        assert set(texts) == {OK}
        for attempt, text in ((encoded(other("site", password="wrong")), WRONG), ("no base64", UNREADABLE)):
            guards.limiter.reset()
            wrong = [called(app.test_client(), attempt) for _ in range(22)]
            assert wrong == [text] * 20 + ["Too many calls from this network. Try again later."] * 2
    finally:
        guards.limiter.reset()
        guards.limiter.enabled = False


# -- anything at all

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("n" * 5000)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.just("dirtree"), inner),
    max_leaves=8,
)
SECTIONS = st.sampled_from(["version", "global", "site", "host", "stats", "fedora linux", "extra", "x" * 3000])
MUTATED = st.builds(
    lambda changes, dropped: {
        name: it for name, it in (config(fedora_linux=[""]) | changes).items() if name not in dropped
    },
    st.dictionaries(
        SECTIONS, JSON | st.dictionaries(st.sampled_from(["enabled", "name", "dirtree", "password"]), JSON)
    ),
    st.sets(SECTIONS, max_size=1),
)
SMALL = 1 << 16  # the limit while anything is tried, so that what is beyond it is made quickly
DEEP = st.builds(
    lambda text, times: text * times, st.sampled_from([b"[", b'{"a":', b'{"version":0,"x":[']), st.integers(1, 5000)
)
BOMBS = st.builds(lambda text, extra: text * (SMALL + extra), st.sampled_from([b" ", b"0", b"[]"]), st.integers(-2, 9))
PAYLOADS = st.binary(max_size=60) | DEEP | BOMBS | (JSON | MUTATED).map(lambda value: json.dumps(value).encode())


@st.composite
def arguments(draw: st.DrawFn) -> str:
    """An encoded payload, often damaged afterwards."""
    text = wire_base64(bz2.compress(draw(PAYLOADS)))
    cut = draw(st.integers(0, 8))
    return draw(st.sampled_from([text, text[:-cut], text[cut:], draw(st.text(max_size=30)), f"{text}{text}"]))


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argument=arguments())
def test_anything_at_all_is_accepted_or_cleanly_refused(app: Flask, argument: str) -> None:
    """Never an error of ours, never a word that is not one of those for clients."""
    with app.test_request_context("/xmlrpc"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "MAX_TEXT", SMALL)
        text = views._check_in(argument).get_data(as_text=True)
    if "faultCode" in text:
        assert UNREADABLE in text
    else:
        assert str(xmlrpc.client.loads(text)[0][0]).endswith((OK, NO))


@settings(max_examples=150)
@given(
    body=st.binary(max_size=80)
    | st.text(max_size=80).map(str.encode)
    | st.builds(
        lambda head, tail: head + tail,
        st.sampled_from(
            [b"<?xml version='1.0'?><methodCall>", b"<methodCall><methodName>checkin</methodName><params>"]
        ),
        st.sampled_from(
            [b"<value>", b"<nil/>", b"<i4>x</i4>", b"</params></methodCall>", b"\xff\xfe", b"&lt;", b"<fault>"]
        ),
    )
)
def test_any_body_is_a_call_or_none(body: bytes) -> None:
    try:
        call = wire.parse(body)
    except wire.NotACall:
        return
    assert isinstance(call.method, str)
