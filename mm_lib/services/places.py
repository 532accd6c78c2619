"""Embargoed countries, and what operators know better about places than databases do; with what each would change."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from mm_lib.model.base import Base, State
from mm_lib.model.geography import CONTINENTS, CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.hosts import Host
from mm_lib.rules.netblocks import parse_network
from mm_lib.services.errors import AlreadyExists, InvalidValue, NotFound
from mm_lib.services.geography import continents, country_code, effective_continents
from mm_lib.services.mirrors import country_names

Row = TypeVar("Row", bound=Base)
CountryOf = Callable[[str], str]  # address -> country; empty: not known
SAMPLES = 4  # clients of a network that are looked at
MAX_HOSTS = 200  # shown; the number of all is told
NOBODY = "no mirror"


@dataclass(frozen=True)
class Client:
    """A client, and what it gets before and after."""

    who: str
    now: str
    then: str

    @property
    def changes(self) -> bool:
        """Whether it makes a difference."""
        return self.now != self.then


@dataclass(frozen=True)
class Effect:
    """What a change would do, in words, with the hosts and clients that it is about."""

    told: Sequence[str]
    hosts: Sequence[Host] = ()
    clients: Sequence[Client] = ()
    about: str = "Client"  # what the clients are, where they are something else


def find(session: Session, table: type[Row], id_: int) -> Row:
    """Raises NotFound."""
    row = session.get(table, id_)
    if row is None:
        raise NotFound("There is no such entry. It may have been removed.")
    return row


def remove(session: Session, row: Base) -> None:
    """Take an entry away."""
    session.delete(row)
    session.flush()


def _served(hosts: Iterable[Host]) -> list[Host]:
    """Those that take part, private ones as well: an embargo counts for them, too."""
    return [host for host in hosts if host.state is State.ACTIVE and host.site.state is State.ACTIVE]


def _hosts(session: Session) -> list[Host]:
    query = (
        select(Host).options(joinedload(Host.site)).where(Host.country.is_not(None)).order_by(Host.country, Host.name)
    )
    return list(session.scalars(query))


def _named(code: str) -> str:
    return f"{country_names().get(code, code)} ({code})"


# -- embargoes


def list_embargoes(session: Session) -> list[tuple[EmbargoedCountry, int]]:
    """Each with the number of hosts that stand there."""
    counted = select(Host.country, func.count(Host.id)).group_by(Host.country)
    numbers: dict[str | None, int] = dict(session.execute(counted).all())
    rows = session.scalars(select(EmbargoedCountry).order_by(EmbargoedCountry.country))
    return [(row, numbers.get(row.country, 0)) for row in rows]


def add_embargo(session: Session, country: str) -> EmbargoedCountry:
    """Use no mirrors of a country any more. Raises InvalidValue, AlreadyExists."""
    row = EmbargoedCountry(country=_free_embargo(session, country))
    session.add(row)
    session.flush()
    return row


def _free_embargo(session: Session, country: str) -> str:
    code = country_code("country", country)
    if session.scalar(select(EmbargoedCountry.id).where(EmbargoedCountry.country == code)):
        raise AlreadyExists(f"{_named(code)} is embargoed already.")
    return code


def embargo_effect(session: Session, country: str, *, ends: bool = False) -> Effect:
    """What an embargo, or its end, does to hosts and clients there. Raises InvalidValue, AlreadyExists."""
    code = country_code("country", country) if ends else _free_embargo(session, country)
    embargoed = set(session.scalars(select(EmbargoedCountry.country)))
    with_it, without = embargoed | {code}, embargoed - {code}
    hosts = _hosts(session)
    there = [host for host in hosts if host.country == code]
    off = len(there) - len(_served(there))
    many = f"{len(there) - off} {'host' if len(there) - off == 1 else 'hosts'}"
    becomes = "can be served and crawled again" if ends else "vanish from all answers and crawls"
    told = [f"{many} in {_named(code)} {becomes}."]
    if off:
        told.append(f"{off} more stand there, but are switched off.")
    told.append("It counts from the next cache and the next crawl on.")
    if not ends:
        told.append("Hosts of other countries whose addresses all lead there are not crawled either.")
    continent = effective_continents(session)
    now, then = (with_it, without) if ends else (without, with_it)
    clients = [
        Client(f"a client in {_named(code)}", *(_answer(hosts, code, continent, banned) for banned in (now, then)))
    ]
    return Effect(told, there[:MAX_HOSTS], clients)


def _answer(hosts: Sequence[Host], country: str, continent: Mapping[str, str], embargoed: set[str]) -> str:
    """By whom a client of a country is served: by hosts of the country, else of its continent, else of the world."""
    public = [
        host for host in _served(hosts) if not (host.private or host.site.private) and host.country not in embargoed
    ]
    own = [host for host in public if host.country == country]
    near = [host for host in public if continent.get(host.country or "") == continent.get(country)]
    for found, where in ((own, f"in {country}"), (near, f"on its continent ({continent.get(country, '?')})")):
        if found:
            return f"{len(found)} {'mirror' if len(found) == 1 else 'mirrors'} {where} first"
    return f"{len(public)} mirrors anywhere" if public else NOBODY


# -- continents


def list_continents(session: Session) -> list[tuple[CountryContinent, str]]:
    """Each with the continent that the country has without it."""
    rows = session.scalars(select(CountryContinent).order_by(CountryContinent.country))
    return [(row, continents().get(row.country, "none")) for row in rows]


def save_continent(session: Session, row: CountryContinent | None, country: str, continent: str) -> CountryContinent:
    """Let a country count as part of a continent. Raises InvalidValue, AlreadyExists."""
    code, part = _checked_continent(session, row, country, continent)
    row = row or CountryContinent()
    row.country, row.continent = code, part
    session.add(row)
    session.flush()
    return row


def _checked_continent(session: Session, row: CountryContinent | None, country: str, continent: str) -> tuple[str, str]:
    code, part = country_code("country", country), continent.strip().upper()
    if part not in CONTINENTS:
        raise InvalidValue("continent", f"must be one of {', '.join(CONTINENTS)}")
    with session.no_autoflush:
        known = session.scalar(select(CountryContinent).where(CountryContinent.country == code))
    if known is not None and known is not row:
        raise AlreadyExists(f"{_named(code)} has an entry already. Change that one.")
    return code, part


def continent_effect(session: Session, row: CountryContinent | None, country: str = "", continent: str = "") -> Effect:
    """What an entry changes; without country, what its removal changes. Raises InvalidValue, AlreadyExists."""
    before = effective_continents(session)
    after = dict(before)
    if row is not None:
        after[row.country] = continents().get(row.country, "")
    if country:
        code, part = _checked_continent(session, row, country, continent)
        after[code] = part
    changed = sorted(each for each in {*before, *after} if before.get(each) != after.get(each))
    if not changed:
        return Effect(["Nothing changes: that is its continent already."])
    hosts = _hosts(session)
    embargoed = set(session.scalars(select(EmbargoedCountry.country)))
    moving = [host for host in hosts if host.country in changed]
    told = [
        f"{_named(code)} counts as part of {after.get(code) or 'no continent'} instead of {before.get(code, 'none')}."
        for code in changed
    ]
    told.append(f"{len(_served(moving))} hosts stand there, and are near for clients of the other continent.")
    told.append("It counts from the next cache on.")
    clients = [
        Client(
            f"a client in {_named(code)}",
            _answer(hosts, code, before, embargoed),
            _answer(hosts, code, after, embargoed),
        )
        for code in changed
    ]
    return Effect(told, moving[:MAX_HOSTS], clients)


# -- networks


def list_netblocks(session: Session) -> Sequence[NetblockCountry]:
    """All, in the order of addresses."""
    order = (NetblockCountry.family, NetblockCountry.first_address, NetblockCountry.last_address.desc())
    return session.scalars(select(NetblockCountry).order_by(*order)).all()


def save_netblock(session: Session, row: NetblockCountry | None, netblock: str, country: str) -> NetblockCountry:
    """Let clients of a network be in a country. Raises InvalidValue, AlreadyExists."""
    values = _checked_netblock(session, row, netblock, country)
    row = row or NetblockCountry()
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    session.flush()
    return row


def _checked_netblock(session: Session, row: NetblockCountry | None, netblock: str, country: str) -> dict[str, Any]:
    try:
        parsed = parse_network(netblock)
    except ValueError as error:
        raise InvalidValue("netblock", str(error)) from None
    code = country_code("country", country)
    with session.no_autoflush:
        known = session.scalar(select(NetblockCountry).where(NetblockCountry.netblock == parsed.text))
    if known is not None and known is not row:
        raise AlreadyExists(f"{parsed.text} has an entry already ({known.country}). Change that one.")
    return {
        "netblock": parsed.text,
        "country": code,
        "family": parsed.family,
        "first_address": parsed.first,
        "last_address": parsed.last,
    }


def netblock_effect(
    session: Session, row: NetblockCountry | None, netblock: str = "", country: str = "", *, country_of: CountryOf
) -> Effect:
    """What an entry changes for some addresses; without network, its removal. Raises InvalidValue, AlreadyExists."""
    entries = {entry.netblock: entry.country for entry in list_netblocks(session)}
    after = {text: code for text, code in entries.items() if row is None or text != row.netblock}
    touched = [row.netblock] if row is not None else []
    if netblock:
        values = _checked_netblock(session, row, netblock, country)
        after[values["netblock"]] = values["country"]
        touched.append(values["netblock"])
    addresses = list(dict.fromkeys(address for text in touched for address in _samples(text)))
    clients = [
        Client(address, _country_by(entries, address, country_of), _country_by(after, address, country_of))
        for address in addresses
    ]
    inside = [text for text in entries if any(_within(text, outer) for outer in touched) and text not in touched]
    told = [f"{sum(client.changes for client in clients)} of {len(clients)} sample addresses change their country."]
    if inside:
        told.append(f"Smaller networks inside it keep their own country: {', '.join(inside[:10])}.")
    told.append("Hosts are not affected: their country is registered. It counts from the next cache on.")
    return Effect(told, (), clients)


def _samples(netblock: str) -> list[str]:
    """Addresses spread over a network, the first and the last among them."""
    network = ipaddress.ip_network(netblock)
    size = network.num_addresses
    return [str(network[place]) for place in sorted({size * part // SAMPLES for part in range(SAMPLES)} | {size - 1})]


def _within(inner: str, outer: str) -> bool:
    small, large = ipaddress.ip_network(inner), ipaddress.ip_network(outer)
    return small.version == large.version and small.subnet_of(large)  # type: ignore[arg-type]


def _country_by(entries: Mapping[str, str], address: str, country_of: CountryOf) -> str:
    """As a redirector decides: the smallest network that has an entry, else the database."""
    matching = [text for text in entries if _within(f"{address}/{ipaddress.ip_address(address).max_prefixlen}", text)]
    if matching:
        return entries[max(matching, key=lambda text: ipaddress.ip_network(text).prefixlen)]
    return country_of(address) or "not known"
