"""Location groups: hosts that clients can ask for by a name, such as a cloud region."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from mm_lib.model.hosts import Host, HostLocation, Location
from mm_lib.services.content import clean_name
from mm_lib.services.errors import AlreadyExists, NotFound


def find_location(session: Session, name: str) -> Location:
    """The location group of that name. Raises NotFound."""
    found = session.scalar(select(Location).where(Location.name == name))
    if found is None:
        raise NotFound(f"There is no location group {name!r}. `mm-admin location list` shows them.")
    return found


def add_location(session: Session, name: str) -> Location:
    """Make a location group. Raises AlreadyExists, InvalidValue."""
    name = clean_name("name", name)
    if session.scalar(select(Location.id).where(Location.name == name)):
        raise AlreadyExists(f"There is a location group {name!r} already.")
    row = Location(name=name)
    session.add(row)
    session.flush()
    return row


def add_host(session: Session, location: str, host: Host) -> None:
    """Put a host into a location group. Raises NotFound, AlreadyExists."""
    group = find_location(session, location)
    if session.get(HostLocation, (group.id, host.id)):
        raise AlreadyExists(f"{host.name} is in {location} already.")
    session.add(HostLocation(location_id=group.id, host_id=host.id))
    session.flush()


def remove_host(session: Session, location: str, host: Host) -> None:
    """Take a host out of a location group. Raises NotFound."""
    row = session.get(HostLocation, (find_location(session, location).id, host.id))
    if row is None:
        raise NotFound(f"{host.name} is not in {location}. `mm-admin location list` shows who is.")
    session.delete(row)
    session.flush()


def list_locations(session: Session) -> list[dict[str, Any]]:
    """Every location group with the names of its hosts."""
    hosts = session.execute(
        select(HostLocation.location_id, Host.name)
        .join(Host, HostLocation.host_id == Host.id)
        .order_by(Host.name, Host.id)
    ).all()
    return [
        {"id": row.id, "name": row.name, "hosts": [name for location, name in hosts if location == row.id]}
        for row in session.scalars(select(Location).order_by(Location.name))
    ]
