"""Every route of the application, walked by everybody: one table says who may, and a route without a row fails."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from mm_frontend import guards
from mm_frontend.app import create_app
from mm_frontend.auth import local, openid, signing, views
from mm_frontend.operators import pages
from mm_lib.database import make_engine, make_sessions
from mm_lib.services.access import EVERYBODY
from mm_lib.settings import DatabaseSettings
from tests.frontend import operators_world, world
from tests.frontend.operators_world import PEOPLE, Registry

WHO = {
    "everybody": set(PEOPLE),
    "signed in": set(PEOPLE) - {"anonymous"},
    "members": {"viewer", "admin", "owner"},
    "see": {"viewer", "admin", "owner", "auditor", "super"},
    "change": {"admin", "owner", "super"},
    "own": {"owner", "super"},
    "audit": {"auditor", "super"},
    "administer": {"super"},
}
TABLE = """
everybody   /static/<path:filename>
everybody   / /mirrors /mirrors/<product> /mirrors/<product>/<version> /mirrors/<product>/<version>/<arch>
everybody   /mirror/<int:host_id> /crawler/<int:host_id>.log /countries /country/<code> /crawler /privacy
everybody   /robots.txt /.well-known/security.txt /security.txt /rsyncFilter /rsyncFilter/ /brand.css /brand/logo
everybody   /mirrors.json /status.json /urls.txt /servers.txt /schemas/<name>.json
everybody   /statistics /statistics/<day> /statistics/<day>/<dimension>
everybody   /maps /maps/interactive /map/mirrors_location.txt
everybody   /statistics/health /statistics/load
everybody   /propagation/ /propagation/<int:repository_id> /propgation
everybody   /feed.atom /site/<int:site_id>/feed.atom
everybody   /login /login/code /login/forgotten /login/mail-sent /login/new-password/<token>
everybody   /login/oidc/<name> /login/oidc/<name>/callback /login/oidc/<name>/backchannel-logout
everybody   /register /register/<token> /logout /account/address/<token>
signed in   /account /account/password /account/code /account/code/off /account/address
signed in   /account/sign-ins/<int(max=2147483647):sign_in_id>/end /account/sign-ins/end-others
everybody   /healthz/live /healthz/ready /metrics /xmlrpc /xmlrpc/
everybody   /host/<int:host_id>/badge.svg /host/<int:host_id>/badge.json
signed in   /site/mine /admin/all_sites /site/new /site/join /invitation/<token> /deleted
signed in   /account/tokens /account/tokens/new /account/tokens/<int:own_token_id>/revoke
change      /site/<int:site_id>/tokens /site/<int:site_id>/tokens/new /site/<int:site_id>/tokens/<int:token_id>/revoke
see         GET/site/<int:site_id> /site/<int:site_id>/events
change      POST/site/<int:site_id> /site/<int:site_id>/edit /site/<int:site_id>/state
change      /site/<int:site_id>/admin/new /site/<int:site_id>/admin/<int:member_id>/delete
change      /site/<int:site_id>/invitation/<int:invitation_id>/delete /host/<int:site_id>/new
change      /site/<int:site_id>/join/<int:request_id>/<decision>
change      /site/<int:site_id>/check-in /site/<int:site_id>/check-in/withdraw
own         /site/<int:site_id>/admin/<int:member_id>/role /site/<int:site_id>/transfer /site/<int:site_id>/drop
own         /deleted/site/<int:deleted_site_id>/restore
change      /deleted/host/<int:deleted_host_id>/restore /deleted/part/<int:deleted_part_id>/restore
members     /site/<int:site_id>/leave
see         GET/host/<int:host_id> /host/<int:host_id>/logs /host/<int:host_id>/logs/<name>
see         /host/<int:host_id>/repositories
see         /host/<int:host_id>/checks /host/<int:host_id>/asked /host/<int:host_id>/explain
change      POST/host/<int:host_id> /host/<int:host_id>/edit /host/<int:host_id>/state /host/<int:host_id>/drop
change      /host/<int:host_id>/check
change      /host/<int:host_id>/netblock/new /host/<int:host_id>/host_netblock/<int:netblock_id>
change      /host/<int:host_id>/host_netblock/<int:netblock_id>/delete
administer  /host/<int:host_id>/asn/new /host/<int:host_id>/host_asn/<int:asn_id>
administer  /host/<int:host_id>/host_asn/<int:asn_id>/delete
change      /host/<int:host_id>/country/new /host/<int:host_id>/host_country/<int:country_id>
change      /host/<int:host_id>/host_country/<int:country_id>/delete
change      /host/<int:host_id>/host_acl_ip/new /host/<int:host_id>/host_acl_ip/<int:acl_id>
change      /host/<int:host_id>/host_acl_ip/<int:acl_id>/delete
change      /host/<int:host_id>/category/new /host/<int:host_id>/category/<int:carried_id>/delete
administer  /host/<int:host_id>/category/<int:carried_id>
change      /host/<int:host_id>/category/<int:carried_id>/url/new
change      /host/<int:host_id>/category/<int:carried_id>/url/<int:url_id>
change      /host/<int:host_id>/category/<int:carried_id>/url/<int:url_id>/delete
change      /host/<int:host_id>/maintenance/new /host/<int:host_id>/maintenance/<int:maintenance_id>
change      /host/<int:host_id>/maintenance/<int:maintenance_id>/delete
audit       /admin/approvals /admin/banners /admin/users /admin/users/<int:user_id>
administer  /admin/users/<int:user_id>/role /admin/users/<int:user_id>/state /admin/users/<int:user_id>/sign-ins/end
administer  /admin/users/<int:user_id>/code/off /admin/users/<int:user_id>/mail/confirm /admin/users/<int:user_id>/link
audit       /admin/configuration
audit       /admin/monitor /admin/monitor/checks /admin/monitor/jobs /admin/monitor/runs /admin/monitor/messages
administer  /admin/monitor/checks/<int:job_id>/cancel /admin/monitor/checks/<int:job_id>/again
administer  /admin/monitor/jobs/<int:job_id>/cancel /admin/monitor/jobs/<int:job_id>/again
administer  /admin/monitor/messages/<int:delivery_id>/again /admin/monitor/messages/again
audit       /admin/places /admin/redirects /admin/rules /admin/rules/<int:category_id>
administer  /admin/redirects/new /admin/redirects/<int:override_id> /admin/redirects/<int:override_id>/delete
administer  /admin/rules/<int:category_id>/new /admin/rules/<int:category_id>/<int:position>
administer  /admin/rules/<int:category_id>/<int:position>/delete
administer  /admin/places/embargo/new /admin/places/embargo/<int:override_id>/delete
administer  /admin/places/continent/new /admin/places/continent/<int:override_id>
administer  /admin/places/continent/<int:override_id>/delete
administer  /admin/places/network/new /admin/places/network/<int:override_id>
administer  /admin/places/network/<int:override_id>/delete
administer  /admin/identities/<int:identity_id>/apart
administer  /admin/banners/new /admin/banners/<int:banner_id> /admin/banners/<int:banner_id>/delete
administer  /admin/approvals/<int:waiting_id>
administer  /admin/table/<table>/new /admin/table/<table>/edit/<path:key> /admin/table/<table>/remove/<path:key>
administer  /admin/table/<table>/bulk /admin/table/<table>/import
audit       /events /admin/ /admin/table/<table> /admin/table/<table>/row/<path:key> /admin/table/<table>/file
"""
PARAMETER = re.compile(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>")
BY_ITSELF = ("api", "api_old")  # has a table of its own, and tests/frontend/test_api... walk it
OF_A_SITE = {"site_id", "host_id", "deleted_site_id", "deleted_host_id", "deleted_part_id"}
MAY, SIGN_IN, FORBIDDEN, UNSEEN = "may", "must sign in", "403", "404"
COOKIE = "mm_sign_in"
WITH_TRANSACTIONS = (pages, views, local, openid, signing)
VALUES = {
    "product": "Fedora",
    "version": "44",
    "arch": "x86_64",
    "code": "DE",
    "day": "2026-02-28",
    "dimension": "archs",
    "filename": "style.css",
    "decision": "admin",
    "table": "host",
    "key": "1",
    "sign_in_id": "999999",
    "own_token_id": "1",
    **dict.fromkeys(
        (
            "waiting_id",
            "banner_id",
            "user_id",
            "identity_id",
            "override_id",
            "delivery_id",
            "job_id",
            "run_id",
            "category_id",
            "position",
            "repository_id",
        ),
        "1",
    ),
}


@contextmanager
def staying_signed_in(client: FlaskClient) -> Iterator[FlaskClient]:
    """Some pages take the cookie back, which everybody on a walk needs again."""
    kept = client.get_cookie(COOKIE)
    yield client
    if kept is not None:
        client.set_cookie(COOKIE, kept.value)


def rows() -> dict[str, str]:
    """Method and rule, or the rule alone -> who may."""
    found = {}
    for line in TABLE.strip().splitlines():
        who = next(name for name in WHO if line.startswith(name))
        found.update(dict.fromkeys(line.removeprefix(who).split(), who))
    return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("who") / "registry.sqlite"
    shutil.copy(sqlite_template, path)
    made = make_engine(DatabaseSettings(url=f"sqlite:///{path}"))
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def registry(engine: Engine) -> Registry:
    with make_sessions(engine)() as session:
        return operators_world.build(session)


@pytest.fixture(scope="module")
def app(engine: Engine) -> Iterator[Flask]:
    app = create_app(world.SETTINGS, engine)
    guards.limiter.enabled = False
    yield app
    guards.limiter.enabled = True


@pytest.fixture(scope="module")
def people(app: Flask, registry: Registry) -> dict[str, FlaskClient]:
    found = {name: operators_world.signed_in(app, name) for name in PEOPLE}
    app.config["WTF_CSRF_ENABLED"] = False  # who may is decided before; tests of forms try their tokens
    return found


def routes(app: Flask) -> list[tuple[str, str, str]]:
    """Method, rule and part of each."""
    return [
        (method, rule.rule, rule.endpoint.partition(".")[0])
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) & {"GET", "POST"})
    ]


def values(registry: Registry) -> dict[str, int | str]:
    """What the parts of a rule can be, so that it leads somewhere."""
    return {**VALUES, **registry.ids, "token": registry.token, "name": "20261120T120000Z-1-full"}


def address(rule: str, registry: Registry) -> str:
    """The rule with such values."""
    known = values(registry)
    return PARAMETER.sub(lambda match: str(known[match[1]]), rule)


def outcome(answer: TestResponse) -> str:
    """In one word what the guards said."""
    if answer.status_code == 302 and (answer.location or "").startswith("/login"):
        return SIGN_IN
    return {403: FORBIDDEN, 404: UNSEEN}.get(answer.status_code, MAY)


def expected(person: str, who: str, rule: str) -> str:
    """What a row of the table means for a person: what somebody may not even see is not there."""
    if person in WHO[who]:
        return MAY
    if person == "anonymous":
        return SIGN_IN
    about_a_site = OF_A_SITE & set(PARAMETER.findall(rule))
    return UNSEEN if about_a_site and person not in WHO["see"] else FORBIDDEN


def as_expected(answer: TestResponse, wanted: str, who: str) -> bool:
    """Pages that anybody may open answer in their own way to what makes no sense, such as a token of nobody."""
    if answer.status_code >= 500:
        return False
    if wanted != MAY:
        return outcome(answer) == wanted
    return who == "everybody" or outcome(answer) not in (SIGN_IN, FORBIDDEN)


def test_every_route_has_a_row_and_every_row_a_route(app: Flask) -> None:
    ruled = rows()
    known = {rule for rule in ruled if rule.startswith("/")} | {rule for rule in ruled if not rule.startswith("/")}
    missing = [
        (method, rule)
        for method, rule, part in routes(app)
        if part not in BY_ITSELF and rule not in known and f"{method}{rule}" not in known
    ]
    assert missing == []
    rules = {rule for _, rule, _ in routes(app)}
    assert [row for row in ruled if row.removeprefix("GET").removeprefix("POST") not in rules] == []


@pytest.mark.parametrize("person", PEOPLE)
def test_everybody_may_what_the_table_says(
    app: Flask, registry: Registry, people: dict[str, FlaskClient], person: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in WITH_TRANSACTIONS:
        monkeypatch.setattr(module, "transaction", operators_world.nothing_stays)
    ruled, wrong = rows(), []
    for method, rule, part in routes(app):
        who = ruled.get(rule) or ruled.get(f"{method}{rule}")
        if part in BY_ITSELF or who is None:  # the test above tells of routes without a row
            continue
        wanted = expected(person, who, rule)
        with staying_signed_in(people[person]) as client:
            answer = client.open(address(rule, registry), method=method)
        if not as_expected(answer, wanted, who):
            wrong.append((method, rule, wanted, answer.status_code))
        answer.close()
    assert wrong == []


def test_ids_of_another_site_are_not_found_below_ones_own(
    app: Flask, registry: Registry, people: dict[str, FlaskClient]
) -> None:
    """For every nested id of every route: a thing of another site, asked for below one's own host or site."""
    wrong = []
    for method, rule, _ in routes(app):
        names = re.findall(r"<int:(\w+)>", rule)
        for name in filter(registry.others.__contains__, names[1:]):
            mixed = PARAMETER.sub(
                lambda match, name=name: str({**VALUES, **registry.ids, name: registry.others[name]}[match[1]]),
                rule,
            )
            status = people["owner"].open(mixed, method=method).status_code
            if status != 404 and "asn" not in name and not rule.endswith("<int:carried_id>"):
                wrong.append((method, mixed, status))
            assert people["super"].open(mixed, method=method).status_code == 404
    assert wrong == []


def test_an_endpoint_in_no_table_is_closed_to_everybody(engine: Engine, registry: Registry) -> None:
    app = create_app(world.SETTINGS, engine)
    app.add_url_rule("/forgotten", "forgotten", lambda: "open")
    assert app.test_client().get("/forgotten").status_code == 403
    assert operators_world.signed_in(app, "super").get("/forgotten").status_code == 403


def test_the_table_of_the_guards_names_only_what_exists(app: Flask) -> None:
    assert set(guards.ENDPOINTS) <= {rule.endpoint for rule in app.url_map.iter_rules()}
    assert all(who == EVERYBODY for who in guards.PARTS.values())


@pytest.mark.parametrize("path", ["/site/999", "/host/999", f"/host/{2**40}", "/host/999/netblock/new"])
def test_what_is_not_there_is_not_found_and_strangers_must_sign_in_first(
    people: dict[str, FlaskClient], path: str
) -> None:
    assert people["owner"].get(path).status_code == 404
    assert people["anonymous"].get(path).location.startswith("/login?next=")
