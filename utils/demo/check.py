"""The questions that make demo-check asks: each line says what should be so, and whether it is."""

from __future__ import annotations

import hashlib
import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable

from utils.demo.place import Place

METALINK = "{http://www.metalinker.org/}"
UPDATES = "repo=updates-released-f44&arch=x86_64"
RELEASE = "repo=fedora-44&arch=x86_64"


def run(place: Place) -> int:
    """Ask everything. Returns 0 when all is as it should be, else 1."""
    failed = 0
    for question in QUESTIONS:
        try:
            question(place)
            said = "ok"
        except (AssertionError, OSError, ET.ParseError) as error:
            said, failed = f"FAILED {error}", failed + 1
        print(f"{(question.__doc__ or '').strip():<75} {said}", flush=True)
    print(f"{len(QUESTIONS) - failed} passed, {failed} failed")
    return 1 if failed else 0


def ask(url: str) -> str:
    """The body of an answer with status 200."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def listed(place: Place, query: str) -> list[str]:
    """Names of the mirrors in a mirrorlist, in its order."""
    names = {port: name.split(".")[1] for name, port in place.mirror_ports.items()}
    lines = ask(f"{place.redirector}/mirrorlist?{query}").splitlines()
    return [names[urllib.parse.urlsplit(line).port or 0] for line in lines if not line.startswith("#")]


def updates_in_sync(place: Place) -> None:
    """Updates come only from the mirrors that have the newest metadata"""
    found = set(listed(place, UPDATES))
    assert found == {"berlin", "lyon"}, found


def release_everywhere(place: Place) -> None:
    """The release, which did not change, comes from stale and partial mirrors too"""
    found = set(listed(place, RELEASE))
    assert found == {"berlin", "boston", "lyon", "tokyo"}, found


def partial_mirror(place: Place) -> None:
    """What a partial mirror does not carry it is not asked for"""
    found = listed(place, "repo=fedora-44&arch=aarch64")
    assert found and "tokyo" not in found, found


def broken_mirror(place: Place) -> None:
    """The broken mirror is nowhere"""
    for query in (UPDATES, RELEASE, "repo=epel-10&arch=x86_64&country=br"):
        assert "recife" not in listed(place, query), query


def nearest_first(place: Place) -> None:
    """A client in Japan gets the mirror in Japan first"""
    found = listed(place, f"{RELEASE}&ip=133.11.0.1")
    assert found[0] == "tokyo", found


def asked_country(place: Place) -> None:
    """country=fr gives the mirror in France"""
    found = listed(place, f"{RELEASE}&country=fr")
    assert found == ["lyon"], found


def metalink_hash(place: Place) -> None:
    """The metalink's SHA-256 is that of the master's repomd.xml"""
    root = ET.fromstring(ask(f"{place.redirector}/metalink?{UPDATES}"))
    hashes = {node.get("type"): node.text for node in root.iterfind(f".//{METALINK}verification/{METALINK}hash")}
    master = place.master / "pub/fedora/linux/updates/44/Everything/x86_64/repodata/repomd.xml"
    assert hashes["sha256"] == hashlib.sha256(master.read_bytes()).hexdigest(), hashes


def metalink_works(place: Place) -> None:
    """The first URL of the metalink serves exactly that file"""
    root = ET.fromstring(ask(f"{place.redirector}/metalink?{UPDATES}"))
    first = root.findtext(f".//{METALINK}url") or ""
    size = int(root.findtext(f".//{METALINK}size") or 0)
    assert len(ask(first)) == size, first


def unknown_repository(place: Place) -> None:
    """An unknown repository is refused with 404 and a message"""
    try:
        ask(f"{place.redirector}/mirrorlist?repo=nosuch&arch=x86_64")
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    else:
        status, text = 200, ""
    assert (status, "invalid repo" in text) == (404, True), status


def start_page(place: Place) -> None:
    """The start page shows Fedora 44 and EPEL"""
    page = ask(place.frontend)
    assert "Fedora" in page and "EPEL" in page and ">44" in page.replace("\n", ""), page[:500]


def mirror_page(place: Place) -> None:
    """The mirror list shows the four working mirrors and not the broken one"""
    page = ask(f"{place.frontend}/mirrors")
    for name in ("berlin", "boston", "tokyo", "lyon"):
        assert f"mirror.{name}.example" in page, name
    assert "mirror.recife.example" not in page, "recife is there"


def sign_in(place: Place) -> None:
    """The first administrator can sign in"""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    form = browser.open(f"{place.frontend}/login").read().decode()
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', form)
    assert token, "the form has no token"
    fields = {"csrf_token": token[1], "name": "admin", "password": place.password}
    page = browser.open(f"{place.frontend}/login", urllib.parse.urlencode(fields).encode()).read().decode()
    assert "Sign out" in page, "not signed in"


QUESTIONS: tuple[Callable[[Place], None], ...] = (
    updates_in_sync,
    release_everywhere,
    partial_mirror,
    broken_mirror,
    nearest_first,
    asked_country,
    metalink_hash,
    metalink_works,
    unknown_repository,
    start_page,
    mirror_page,
    sign_in,
)
