"""Why an answer is as it is: the same decision, the same numbers, told host by host."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from math import prod
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

from mm_lib.cache.schema import ABSENCES, Absent, MirrorlistCache
from mm_redirector.app import Application
from mm_redirector.index import Index, build
from mm_redirector.query import MAX_LINKS, Kind
from mm_redirector.selection import Exclusion
from mm_redirector.settings import BALANCED, CLASSIC, Policy
from mm_redirector.shuffle import members, seeded
from tests.redirector.world import (
    IN_AMERICA,
    IN_SWEDEN,
    NOW,
    OS,
    REPODATA,
    Answer,
    Atlas,
    client,
    environment,
    request,
    world,
)
from tests.redirector.worlds import ADDRESSES, DIRECTORY, FILE, PLACES, SYSTEM, atlas, encoded, make, question, worlds

OPEN = BALANCED._replace(explain="public")
FEDORA = "repo=fedora-44&arch=x86_64"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def explained(url: str, policy: Policy = OPEN, cache: MirrorlistCache | None = None, address: str = IN_SWEDEN) -> Any:
    answer = client(cache, policy)(url, address)
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.text)


FORMS = {
    Kind.MIRRORLIST: [{}, {}, {"format": "json"}, {"format": "apt"}, {"redirect": "1"}, {"format": "metalink"}],
    Kind.METALINK: [{}, {}, {"format": "meta4"}, {"format": "json"}, {"format": "list"}],
    Kind.REDIRECT: [{}, {}, {"format": "json"}, {"format": "meta4"}],
}
NAMES = re.compile(r"//(h\d+)\.example")


SIZES = [*range(46), 100, 150, 200, 300]  # hosts; of many a few are drawn one by one


def served_order(answer: Answer) -> list[str]:
    """The hosts in the order of the answer, each once; of a redirect by path also those in its Link headers."""
    named = [value for name, value in answer.lines if name == "Location" or "rel=duplicate" in value]
    return list(dict.fromkeys(NAMES.findall(" ".join([*named, answer.text]))))


class Question:
    """A random request, and how it is put to /explain."""

    def __init__(self, number: int) -> None:
        random = Random(number)
        self.kind = random.choice(list(Kind))
        self.address = random.choice(ADDRESSES)
        path = random.choice([DIRECTORY, FILE, f"{DIRECTORY}/any.iso"]) if self.kind is not Kind.METALINK else FILE
        repository = self.kind is not Kind.REDIRECT and random.random() < 0.5
        what = {"repo": "r", "arch": "a"} if repository else {"path": path}
        stable = {"stable": "1"} if random.random() < 0.2 else {}
        asked = question(("country", "avoid_country", "location", "protocol", "netblock", "ipv4", "ipv6"), number)
        rest = asked | random.choice(FORMS[self.kind]) | stable
        self.url = f"/{self.kind.value}?{encoded(what | rest)}"
        if self.kind is Kind.REDIRECT:
            self.url = f"/redirect/{path}?{encoded(rest)}"
        self.explain_url = f"/explain?kind={self.kind.value}&seed={number}&{encoded(what | rest)}"
        self.policy = random.choice([OPEN, OPEN._replace(max_hosts=6), CLASSIC._replace(explain="public")])
        self.geo = atlas(random.choice(PLACES), random.choice([None, SYSTEM]))


def test_the_explained_order_is_the_served_order_in_10000_random_requests() -> None:
    """For a fixed seed; with all parameters, kinds, forms, policies and clients."""
    indexes: dict[tuple[int, bool], Index] = {}
    lengths = []
    for number in range(10_000):
        asked = Question(number)
        policy = asked.policy._replace(explain_per_minute=10)
        size = SIZES[number % len(SIZES)]
        key = (size, policy.max_hosts == 0)
        if key not in indexes:
            indexes[key] = build(make(size, size), policy)
        index = indexes[key]
        application = Application(
            lambda index=index: index,
            asked.geo,
            policy,
            draw=seeded(str(number)),
            clock=lambda: NOW,  # type: ignore[misc]
        )
        served = request(application, environment(asked.url, asked.address, "GET", {}))
        explanation = json.loads(request(application, environment(asked.explain_url, asked.address, "GET", {})).text)
        if "refused" in explanation:
            assert served.status >= 400, asked.url
            continue
        told = explanation["mirrors"]
        names = [mirror["urls"][0].split("/")[2].split(".")[0] if mirror["urls"] else "" for mirror in told]
        order = served_order(served)
        shown = len(told) if served.status not in (302, 404) else MAX_LINKS if asked.kind is Kind.REDIRECT else 1
        assert len(order) == min(len(told), shown), asked.url
        # The names of private mirrors are told to nobody here.
        assert all(name in ("", host) for name, host in zip(names, order, strict=False)), asked.url
        lengths.append(len(told))
    assert sum(length > 1 for length in lengths) > 3000


@given(worlds(), st.sampled_from(ADDRESSES), st.integers(0, 1 << 32), st.sampled_from(PLACES))
def test_the_arithmetic_gives_the_weight_of_the_draw(
    cache: MirrorlistCache, address: str, seed: int, place: Any
) -> None:
    index = build(cache, OPEN)
    application = Application(lambda: index, atlas(place), OPEN)
    url = f"/explain?path={DIRECTORY}&{encoded(question(('country', 'avoid_country'), seed))}"
    explanation = json.loads(request(application, environment(url, address, "GET", {})).text)
    numbers = {one.name: number for number, one in enumerate(cache.hosts)}
    for mirror in explanation["mirrors"]:
        if "weight" in mirror:
            product = mirror["weight"].pop("product")
            factors = dict(mirror["weight"])
            assert ("nearness" in factors) == (place is not None and address != "unknown")
            nearness = factors.get("nearness", 1.0)
            assert product == pytest.approx(index.categories[0].law.weights[numbers[mirror["host"]]] * nearness)
            assert product == pytest.approx(prod(factors.values())) or prod(factors.values()) == 0.0
        else:
            assert mirror["code"] in ("netblock", "location", "asn")


@given(worlds(), st.sampled_from(ADDRESSES), st.integers(0, 1 << 32))
def test_every_host_of_the_category_is_told_once_with_one_code(cache: MirrorlistCache, address: str, seed: int) -> None:
    policy = BALANCED._replace(explain="networks", explain_networks=(ip_network("192.0.2.0/24"),))
    index = build(cache, policy)
    url = f"/explain?path={DIRECTORY}&ip={address}&{encoded(question(('country', 'protocol', 'netblock'), seed))}"
    answer = request(Application(lambda: index, atlas(), policy), environment(url, IN_SWEDEN, "GET", {}))
    explanation = json.loads(answer.text)
    if "refused" in explanation:
        assert address == "unknown"
        return
    told = [mirror["host"] for mirror in explanation["mirrors"] + explanation["out"]]
    assert sorted(told) == sorted(cache.hosts[number].name for number in members(index.categories[0].hosts))
    codes = {reason.name.lower(): reason.value for reason in Exclusion}
    assert all(codes[mirror["code"]] == mirror["reason"] for mirror in explanation["out"])


def test_hosts_that_are_not_in_the_cache_are_told_with_their_reason() -> None:
    category = world().categories[0]
    category.absent = [Absent("gone.example", code) for code in ABSENCES]
    out = explained(f"/explain?path={OS}", cache=world(categories=[category], repositories={}))["out"]
    assert [(m["code"], m["reason"]) for m in out if m["host"] == "gone.example"] == list(ABSENCES.items())


def test_what_was_understood_is_told() -> None:
    explanation = explained(f"/explain?{FEDORA}&country=de&avoid_country=us&ip=203.0.113.9&protocol=https&location=g")
    assert explanation["asked"] == {
        "about": "repo = fedora-44 arch = x86_64",
        "answered_as": "metalink",
        "category": "Fedora Linux",
        "directory": REPODATA,
        "file": "repomd.xml",
        "countries": ["de"],
        "avoided_countries": ["US"],
        "location_groups": ["g"],
        "protocol": "https",
        "stable_order": False,
    }
    assert explanation["client"] == {
        "address": "203.0.113.9",
        "country": None,
        "continent": None,
        "asn": 99,
        "netblocks": ["203.0.113.0/24"],
        "city_known": False,
    }


def test_tiers_are_told_in_their_order_with_their_reason() -> None:
    tiers = explained(f"/explain?path={OS}&ip=10.1.2.9")["tiers"]
    assert [(tier["code"], tier["names"], tier["drawn"]) for tier in tiers] == [
        ("netblock", ["10.1.2.0/24"], 1),
        ("netblock", ["10.1.0.0/16"], 1),
        ("asn", ["1221"], 0),
        ("global", ["global"], 6),
    ]


@pytest.mark.parametrize(
    ("query", "form", "about"),
    [
        (FEDORA, "metalink", REPODATA),
        (f"{FEDORA}&kind=mirrorlist", "list", OS),
        (f"{FEDORA}&format=apt", "apt", OS),
        (f"{FEDORA}&redirect", "redirect", OS),
        (f"path={OS}", "list", OS),
        (f"path={REPODATA}/repomd.xml&kind=metalink", "metalink", REPODATA),
        (f"path={OS}&kind=redirect", "redirect", OS),
    ],
)
def test_the_kind_of_request_that_is_explained_can_be_chosen(query: str, form: str, about: str) -> None:
    """A list of a repository is about its directory, a metalink about its repomd.xml: other hosts may have them."""
    asked = explained(f"/explain?{query}")["asked"]
    assert (asked["answered_as"], asked["directory"]) == (form, about)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "missing"),
        ("repo=no&arch=x", 404, "unknown_repository"),
        ("path=n/a", 404, "invalid_path"),
        (f"{FEDORA}&format=x", 400, "bad_value"),
        (f"{FEDORA}&kind=x", 400, "bad_value"),
        (f"{FEDORA}&ip=1.2.3", 400, "bad_address"),
    ],
)
def test_a_refusal_is_explained_with_its_status(query: str, status: int, code: str) -> None:
    answer = client(policy=OPEN)(f"/explain?{query}")
    assert (answer.status, json.loads(answer.text)["refused"]["code"]) == (status, code)
    assert client(policy=OPEN)(f"/explain?{query}", **BROWSER).status == status


def test_by_default_nothing_is_explained() -> None:
    answer = client(policy=BALANCED)(f"/explain?{FEDORA}")
    assert (answer.status, answer.text) == (404, "We don't serve their kind here!")


@pytest.mark.parametrize("path", ["/x/explain", "/mirrorlist/explain", "/explain/"])
def test_nothing_is_explained_below_a_prefix(path: str) -> None:
    """A proxy that passes on what lies below some path must not open it."""
    assert client(policy=OPEN)(f"{path}?{FEDORA}").status == 404


NETWORKS = BALANCED._replace(
    explain="networks", explain_networks=(ip_network("192.0.2.0/25"), ip_network("2001:db8::/32"))
)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        (IN_SWEDEN, 200), ("::ffff:192.0.2.1", 200), ("2001:db8::1", 200), ("192.0.2.128", 403), ("2001:db9::1", 403),
        ("", 403), ("unknown", 403),
    ],
)  # fmt: skip
def test_only_administrators_networks_may_ask_where_these_are_set(address: str, status: int) -> None:
    assert client(policy=NETWORKS)(f"/explain?{FEDORA}", address).status == status


def test_an_address_that_the_client_claims_does_not_let_it_in() -> None:
    ask = client(policy=NETWORKS._replace(trusted_proxies=1))
    assert (
        ask(f"/explain?{FEDORA}&ip={IN_SWEDEN}", "127.0.0.1", X_Forwarded_For=f"{IN_SWEDEN}, 198.51.100.1").status
        == 403
    )


def test_the_public_is_not_told_the_names_of_private_mirrors() -> None:
    """Neither of those that are out, nor of those that are in for an address that somebody else has."""
    for address in (IN_SWEDEN, "10.1.2.9"):
        for headers in ({}, BROWSER):
            text = client(policy=OPEN)(f"/explain?path={OS}&ip={address}", **headers).text
            for number in (8, 9):
                assert not re.search(rf"\b(host|site){number}\b", text)
            assert "campus.example" not in text
            assert "lab.example" not in text
            assert "a private mirror" in text


def test_administrators_are_told_the_names_of_private_mirrors() -> None:
    mirrors = explained(f"/explain?path={OS}&ip=10.1.2.9", NETWORKS)["mirrors"]
    assert [mirror["host"] for mirror in mirrors[:2]] == ["host9", "host8"]


def test_explanations_are_limited_by_the_minute() -> None:
    now = [600.0]
    ask = client(policy=OPEN._replace(explain_per_minute=2), clock=lambda: now[0])
    assert [ask(f"/explain?{FEDORA}").status for _ in range(3)] == [200, 200, 429]
    assert ask(f"/explain?{FEDORA}").headers["Retry-After"] == "60"
    now[0] += 60
    assert ask(f"/explain?{FEDORA}").status == 200


def test_who_may_not_ask_does_not_use_up_the_limit() -> None:
    ask = client(policy=NETWORKS._replace(explain_per_minute=1))
    assert [ask(f"/explain?{FEDORA}", "198.51.100.1").status for _ in range(3)] == [403] * 3
    assert ask(f"/explain?{FEDORA}").status == 200


def test_a_browser_gets_a_page_and_can_ask_for_json() -> None:
    ask = client(policy=OPEN)
    assert ask(f"/explain?{FEDORA}", **BROWSER).headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(f"/explain?{FEDORA}&json", **BROWSER).headers["Content-Type"] == "application/json"
    assert ask("/explain?path=pub/a.json", **BROWSER).headers["Content-Type"] == "text/html; charset=utf-8"


PAGES = [
    f"/explain?{FEDORA}&ip={IN_AMERICA}",
    "/explain?path=n/a",
    f"/explain?path={OS}&protocol=",
    f"/explain?path={OS}&ip=10.1.2.9",
]


@pytest.mark.parametrize("url", PAGES)
def test_the_page_is_well_formed(url: str) -> None:
    """Every element is closed, so a parser of XML reads it, too."""
    text = client(policy=OPEN)(url, **BROWSER).text
    void = re.sub(r"<(meta|link|br|wbr)\b([^>]*[^/])>", r"<\1\2/>", text.replace("<!doctype html>", ""))
    root = ElementTree.fromstring(void)
    assert root.tag == "html"
    assert root.get("lang") == "en"
    assert len(root.findall(".//h1")) == 1


@pytest.mark.parametrize("url", PAGES)
def test_the_page_has_no_resource_but_itself(url: str) -> None:
    answer = client(policy=OPEN)(url, **BROWSER)
    document = html.document_fromstring(answer.text)
    assert document.xpath("//script | //img | //link | //iframe | //*[@src] | //*[@onclick]") == []
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_nothing_that_a_client_sends_becomes_markup() -> None:
    text = client(policy=OPEN)("/explain?repo=%3Cscript%3Ealert(1)%3C/script%3E&arch=x", **BROWSER).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_page_tells_the_same_as_the_json() -> None:
    url = f"/explain?path={OS}&seed=5"
    page = html.document_fromstring(client(policy=OPEN)(url, **BROWSER).text)
    explanation = explained(url)
    names = [row.text_content() for row in page.xpath("//section[@id='in']//tbody//th")]
    assert names == [mirror["host"] for mirror in explanation["mirrors"]]
    assert len(page.xpath("//section[@id='out']//tbody/tr")) == len(explanation["out"])


def test_an_explanation_is_no_request_of_a_client() -> None:
    """It is neither logged nor counted."""
    entries: list[Any] = []
    client(policy=OPEN, log=entries.append)(f"/explain?{FEDORA}")
    assert entries == []


def test_a_seed_of_any_text_makes_the_order_repeatable() -> None:
    orders = [explained(f"/explain?path={OS}&seed=%C3%A9%20x")["mirrors"] for _ in range(2)]
    assert orders[0] == orders[1]
    assert Atlas().country(IN_SWEDEN) == "SE"
