"""No request breaks a redirector that is ready: every endpoint, method, header, form, and odd environment."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any
from xml.etree import ElementTree

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mm_redirector.access_log import Entry, json_line, line
from mm_redirector.app import Application
from mm_redirector.index import build
from mm_redirector.query import _KNOWN
from mm_redirector.settings import BALANCED, CLASSIC
from tests.redirector.world import IN_SWEDEN, OS, REPODATA, Answer, Atlas, environment, request, world

EVERYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))
POLICIES = [
    BALANCED._replace(trusted_proxies=1, allow_ip_parameter=True, explain="public", explain_per_minute=1 << 30),
    BALANCED._replace(explain="networks", explain_networks=EVERYBODY, explain_per_minute=1 << 30, stable=True),
    CLASSIC._replace(trusted_proxies=3, max_cache_age=1e12),
]
ATLAS = Atlas(places={IN_SWEDEN: (59.3, 18.1)})
INDEX = build(world(), BALANCED)


def log(entry: Entry) -> None:
    """Both forms of the access log."""
    assert len(line(entry).split()) == 10
    json.loads(json_line(entry))


APPLICATIONS = [
    Application(lambda: INDEX, ATLAS, policy, log=log, log_all=True, exposition=lambda: b"") for policy in POLICIES
]
FINE = {200, 302, 400, 403, 404, 405, 414, 429}

WORDS = (
    f"repo arch path country cc avoid_country location version ip netblock protocol redirect time format ipv4 ipv6 "
    f"stable seed kind json = = = & & & , % %00 %0a %0d%0a %ff %f0%9f%90%a7 fedora-44 x86_64 rawhide {OS} global SE "
    f"https http list metalink meta4 apt mirrorlist redirect 1 0 -1 < > -- ]]> ' \" / // .. ; + ( ) "
    f"{REPODATA}/repomd.xml 10.1.2.9 ::1 2002:0a01:0209::1 \xe9 \u20ac \ud800 \x00 \r \n"
).split(" ")
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=24).map("".join))
ENDPOINTS = [
    "/mirrorlist", "/metalink", "/redirect/", f"/redirect/{REPODATA}/repomd.xml", f"/redirect/{OS}/", "/explain",
    "/healthz/live", "/healthz/ready", "/metrics", "/", "", "/a/mirrorlist", "//x/redirect/a",
]  # fmt: skip
PATHS = st.one_of(st.sampled_from(ENDPOINTS), st.builds("".join, st.tuples(st.sampled_from(ENDPOINTS), TEXTS)), TEXTS)
METHODS = st.one_of(st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "BREW"]), st.text(max_size=8))
ACCEPTS = st.one_of(
    st.sampled_from(["text/html", "application/metalink4+xml", "application/metalink4+xml;q=0.1.1", "*/*;q=,;"]), TEXTS
)
HEADERS = {
    "HTTP_ACCEPT": ACCEPTS,
    "HTTP_X_FORWARDED_FOR": st.one_of(
        TEXTS, st.sampled_from(["1.2.3.4, [::1]:8, ::%eth0", "[", "]", ":", "%", "::ffff:1"])
    ),
    "HTTP_X_FORWARDED_PROTO": TEXTS,
    "HTTP_HOST": TEXTS,
    "HTTP_USER_AGENT": TEXTS,
    "REMOTE_ADDR": st.one_of(st.sampled_from([IN_SWEDEN, "", "unix:", "::1", "fe80::1%eth0"]), TEXTS),
    "SCRIPT_NAME": st.one_of(st.just(""), TEXTS),
    "QUERY_STRING": TEXTS,
    "wsgi.url_scheme": st.sampled_from(["http", "https", "gopher", ""]),
}
ENVIRONS = st.fixed_dictionaries({"REQUEST_METHOD": METHODS, "PATH_INFO": PATHS}, optional=HEADERS)


def check(environ: dict[str, Any], answer: Answer) -> None:
    """What holds for every answer."""
    assert answer.status in FINE
    head = environ.get("REQUEST_METHOD") == "HEAD"
    assert head or answer.headers["Content-Length"] == str(len(answer.body))
    for name, value in answer.headers.items():
        assert value.isprintable(), name
        assert value.isascii(), name
    kind = answer.headers["Content-Type"]
    if head or not answer.body:
        return
    if kind.endswith("xml"):
        ElementTree.fromstring(answer.body)
    elif kind == "application/json":
        json.loads(answer.body)
    elif kind.startswith("text/html"):
        assert b"<script" not in answer.body
    answer.body.decode()


@settings(max_examples=400)
@given(ENVIRONS, st.sampled_from(APPLICATIONS))
@example({"REQUEST_METHOD": "GET", "PATH_INFO": "/explain", "REMOTE_ADDR": "unix:"}, APPLICATIONS[1])
@example({"REQUEST_METHOD": "GET", "PATH_INFO": f"\ud800/redirect/{REPODATA}/repomd.xml"}, APPLICATIONS[0])
@example({"REQUEST_METHOD": "GET", "PATH_INFO": "/explain", "QUERY_STRING": "seed=\ud800&path=x"}, APPLICATIONS[0])
def test_no_request_is_answered_with_a_server_error(environ: dict[str, Any], application: Application) -> None:
    check(environ, request(application, environ))


REAL = st.lists(st.tuples(st.sampled_from([*sorted(_KNOWN), "kind"]), TEXTS), max_size=5).map(
    lambda pairs: "".join(f"&{name}={value}" for name, value in pairs)
)


@settings(max_examples=300)
@given(
    st.sampled_from(["/mirrorlist", "/metalink", "/explain", f"/redirect/{REPODATA}/repomd.xml", f"/redirect/{OS}"]),
    st.sampled_from(["repo=fedora-44&arch=x86_64", f"path={REPODATA}/repomd.xml", f"path={OS}"]),
    REAL,
    ACCEPTS,
    st.sampled_from(APPLICATIONS),
)
def test_no_value_of_a_parameter_breaks_an_answer_that_there_is(
    path: str, what: str, rest: str, accept: str, application: Application
) -> None:
    """Beside a question that has an answer, so that every value gets as far as it can."""
    environ = environment(path, IN_SWEDEN, "GET", {"Accept": accept}) | {"QUERY_STRING": what + rest}
    check(environ, request(application, environ))


def test_an_environment_with_nothing_in_it_is_refused() -> None:
    assert request(APPLICATIONS[0], {}).status == 404
    assert request(APPLICATIONS[0], {"PATH_INFO": "/mirrorlist"}).status == 405
