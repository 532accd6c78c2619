"""What an event says: plain English for people, JSON for webhooks, fedora-messaging's bodies for AMQP."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from mm_lib.services.outbox import Kind

_WIDTH = 76
_MAX_CHANGES = 50  # shown in a digest


@dataclass(frozen=True)
class Told:
    """An event as it is told, with the addresses of pages that this installation has."""

    event_id: int
    kind: Kind
    at: datetime
    payload: Mapping[str, Any]
    public_url: str = ""  # of the front end; empty: there are no links
    product: str = "MirrorManager"  # what the installation calls itself

    @property
    def host_url(self) -> str:
        """The host's page; empty when there is none."""
        host = self.payload.get("host")
        return f"{self.public_url}/host/{host['id']}" if self.public_url and host else ""

    @property
    def site_url(self) -> str:
        """The site's page, of messages about no host; empty when there is none."""
        site = self.payload.get("site")
        return f"{self.public_url}/site/{site['id']}" if self.public_url and site and not self.host_url else ""

    @property
    def logs_url(self) -> str:
        """Where the crawler's logs of the host are listed; empty when there is no page."""
        return f"{self.host_url}/logs" if self.host_url else ""

    @property
    def host_name(self) -> str:
        """How people call the host."""
        return one_line(self.payload.get("host", {}).get("name", "your mirror"))

    @property
    def site_name(self) -> str:
        """How people call the site."""
        return one_line(self.payload.get("site", {}).get("name", "your site"))


def one_line(text: object) -> str:
    """Without line ends and control characters: nothing that a mirror says may look like a line of ours."""
    return "".join(character if character.isprintable() else " " for character in str(text)).strip()


# -- for people


class _Letter(NamedTuple):
    subject: str
    opening: str
    advice: tuple[str, ...]


_CHECK = (
    "Open the addresses above from outside of your own network. Firewalls, expired certificates and moved directories "
    "are the usual reasons.",
)
LETTERS: Mapping[Kind, _Letter] = {
    Kind.DISABLED: _Letter(
        "{host} was switched off",
        "Your mirror {host} (site {site}) was switched off: clients are not sent to it any more.",
        (
            *_CHECK,
            "When it works again, switch the host on again on its page. The next crawl then decides whether clients "
            "are sent to it.",
            "If you do not run this mirror any more, please remove the host.",
        ),
    ),
    Kind.REENABLED: _Letter(
        "{host} was switched on again",
        "Your mirror {host} (site {site}) answers again and was switched on. Clients will be sent to it again.",
        ("There is nothing to do. Thank you for running a mirror.",),
    ),
    Kind.FAILING: _Letter(
        "{host} cannot be reached",
        "Our crawler has trouble with your mirror {host} (site {site}). Until that is over, clients are not sent to it "
        "for what is listed below.",
        (
            *_CHECK,
            "You do not have to tell us: the mirror is asked again and comes back by itself. A mirror that fails for "
            "long is switched off.",
        ),
    ),
    Kind.RECOVERED: _Letter(
        "{host} works again",
        "Your mirror {host} (site {site}) works again: clients are sent to it.",
        ("There is nothing to do. Thank you for running a mirror.",),
    ),
    Kind.FLAPPING: _Letter(
        "{host} comes and goes",
        "Your mirror {host} (site {site}) fails and recovers time after time. Instead of a mail for each change you "
        "get one like this, at most every {hours} hours.",
        (
            "Look for what happens at these times: nightly jobs, a limit on connections or requests, a network or "
            "disk that is overloaded while the mirror is updated.",
        ),
    ),
    Kind.SITE_APPROVED: _Letter(
        "{site} was approved",
        "An administrator has looked at your site {site} and approved it. Its hosts are crawled from now on, and "
        "clients are sent to them once they are up to date.",
        ("Add your hosts with their categories and URLs, if you have not done so yet. Thank you for running one.",),
    ),
    Kind.SITE_DECLINED: _Letter(
        "{site} was not accepted",
        "An administrator has looked at your site {site} and did not accept it. It stays switched off.",
        ("If you think that this is a mistake, or have mended what is named above, write to the administrators.",),
    ),
}


def letter(told: Told) -> tuple[str, str]:
    """Subject and text of a mail."""
    form = LETTERS[told.kind]
    names = {"host": told.host_name, "site": told.site_name, "hours": told.payload.get("digest_hours", "")}
    parts = [_fill(form.opening.format_map(names)), *_why(told.payload), *_what_to_do(form.advice), *_links(told)]
    parts.append(
        _fill(
            f"You get this because you speak for the site {told.site_name} in {told.product}, or because the host "
            "names this address for messages from programs. A program wrote it; nobody reads answers."
        )
    )
    return f"[{one_line(told.product)}] {form.subject.format_map(names)}", "\n\n".join(parts) + "\n"


def _why(payload: Mapping[str, Any]) -> Iterator[str]:
    if reason := payload.get("reason"):
        yield f"Why:\n{_indented(reason)}"
    if categories := payload.get("categories"):
        yield "\n\n".join(_category(each) for each in categories)
    if changes := payload.get("changes"):
        lines = [_indented(f"{each['at']} UTC: {each['change']}: {each['reason']}") for each in changes[-_MAX_CHANGES:]]
        left_out = len(changes) - len(lines)
        yield "\n".join(["What happened:", *([_indented(f"({left_out} earlier changes)")] if left_out else []), *lines])


def _category(found: Mapping[str, Any]) -> str:
    lines = [f"{one_line(found['name'])}: {found['health']}", _indented(found["reason"])]
    for name, label in (("url", "asked"), ("expected", "expected"), ("found", "found")):
        if found.get(name):
            lines.append(_indented(f"{label}: {found[name]}"))
    return "\n".join(lines)


def _what_to_do(advice: tuple[str, ...]) -> Iterator[str]:
    items = (textwrap.fill(item, _WIDTH, initial_indent="- ", subsequent_indent="  ") for item in advice)
    yield "What to do:\n" + "\n".join(items)


def _links(told: Told) -> Iterator[str]:
    if told.host_url:
        yield f"Your mirror's page: {told.host_url}\nThe crawler's logs: {told.logs_url}"
    elif told.site_url:
        yield f"Your site's page: {told.site_url}"


def _fill(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _indented(text: str) -> str:
    """Addresses stay whole, so that they can be clicked."""
    shown = textwrap.wrap(one_line(text), _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent("\n".join(shown), "  ")


# -- for programs


def webhook_body(told: Told) -> dict[str, Any]:
    """What is posted, in the form of Standard Webhooks."""
    return {"type": told.kind.value, "timestamp": told.at.isoformat(), "data": {**told.payload, **_urls(told)}}


def _urls(told: Told) -> dict[str, str]:
    return {"host_url": told.host_url, "logs_url": told.logs_url} if told.host_url else {}


_TOPICS: Mapping[Kind, tuple[str, ...]] = {
    Kind.HOST_ADDED: ("host.added", "host.added.v2"),
    Kind.HOST_UPDATED: ("host.updated", "host.updated.v2"),
    Kind.HOST_DELETED: ("host.deleted", "host.deleted.v2"),
    Kind.SITE_ADDED: ("site.added.v1",),
    Kind.SITE_UPDATED: ("site.updated.v1",),
    Kind.SITE_DELETED: ("site.deleted", "site.deleted.v2"),
    Kind.SITE_APPROVED: (),  # the schemas know no such message; site.updated tells of it as well
    Kind.SITE_DECLINED: (),
    Kind.DISABLED: ("crawler.host.disabled.v1",),
    Kind.REENABLED: ("crawler.host.reenabled.v1",),
    Kind.FAILING: ("crawler.host.failing.v1",),
    Kind.RECOVERED: ("crawler.host.recovered.v1",),
    Kind.FLAPPING: ("crawler.host.flapping.v1",),
}
_OLD_TOPICS = frozenset(f"mirrormanager.{name}" for name in ("host.added", "host.updated", "host.deleted"))


def topics(kind: Kind) -> list[str]:
    """All topics of one event, the deprecated ones as well: whoever listens for those still gets them."""
    return [f"mirrormanager.{topic}" for topic in _TOPICS[kind]]


def amqp_body(told: Told, topic: str) -> dict[str, Any]:
    """The body in the topic's schema."""
    payload = told.payload
    if topic in _OLD_TOPICS:
        host = payload["host"]
        numbers = {"host_id": host["id"], "bandwidth": host["bandwidth"], "asn": host["asn"]}
        return {"site_id": payload["site"]["id"], **numbers}
    if topic == "mirrormanager.site.deleted":
        site = payload["site"]
        return {"site_id": site["id"], "site_name": site["name"], "org_url": site["org_url"]}
    if told.kind in LETTERS:
        return _crawler_body(told)
    parts = {name: _part(told, name) for name in ("host", "site") if name in payload}
    return {"agent": payload.get("agent", ""), **parts}


def _crawler_body(told: Told) -> dict[str, Any]:
    payload = told.payload
    more = () if told.kind is Kind.DISABLED else ("categories", "changes")  # its schema has no more
    return {
        "host": _part(told, "host"),
        "site": _part(told, "site"),
        "crawled_at": payload["crawled_at"],
        "logs_url": told.logs_url,
        "reason": payload["reason"],
        **{name: payload[name] for name in more if name in payload},
    }


def _part(told: Told, name: str) -> dict[str, Any]:
    """A host or site without what it does not have; a host with its page."""
    found = {key: value for key, value in told.payload[name].items() if value is not None}
    return {**found, "url": told.host_url} if name == "host" and told.host_url else found


def usernames(told: Told) -> list[str]:
    """Whom a message is about: those who speak for the site, and who did it."""
    agent = told.payload.get("agent")
    return sorted({*told.payload.get("site", {}).get("admins", ()), *([agent] if agent else ())})
