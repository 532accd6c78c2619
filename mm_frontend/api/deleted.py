"""What was deleted and can be brought back, and leaving a site."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from mm_frontend.api.calling import now, the_caller
from mm_frontend.api.hosts import the_host
from mm_frontend.api.models import HostOut, Output, SiteOut, host_out, site_out
from mm_frontend.api.operation import operation
from mm_frontend.api.sites import MEMBERS, READ, WRITE, the_site, visible
from mm_frontend.db import session
from mm_lib.services import deletion, membership
from mm_lib.services.access import CHANGE, MEMBER, OWN, SIGNED_IN
from mm_lib.services.deletion import Deleted

TAG = "deleted"


class DeletedOut(Output):
    """A site or host that was deleted and can be brought back."""

    kind: Literal["site", "host"]
    id: int
    name: str
    site_id: int
    site: str
    deleted_at: datetime
    deleted_by: str
    until: datetime


class DeletedList(Output):
    """The latest first."""

    items: list[DeletedOut]


def _deleted(row: Deleted) -> DeletedOut:
    return DeletedOut(
        kind="site" if row.is_site else "host",
        **{name: getattr(row, name) for name in DeletedOut.model_fields if name != "kind"},
    )


@operation(
    "GET",
    "/deleted",
    tag=TAG,
    summary="List what can be brought back",
    scope=READ,
    who=SIGNED_IN,
    answer=DeletedList,
)
def list_deleted() -> DeletedList:
    """Of one's own sites; of all for administrators and auditors. What went with a site comes back with it."""
    seen = visible()
    own = list(membership.roles(session(), seen.user_id)) if seen.user_id is not None else [seen.site_id or 0]
    rows = deletion.list_deleted(session(), now(), None if seen.everything else own)
    return DeletedList(items=[_deleted(row) for row in rows])


@operation(
    "POST",
    "/deleted/sites/<int:deleted_site_id>/restore",
    tag=TAG,
    summary="Bring a site back",
    scope=WRITE,
    who=OWN,
    answer=SiteOut,
)
def restore_site() -> SiteOut:
    """With the hosts that went with it."""
    deletion.restore_site(session(), the_site())
    return site_out(the_site())


@operation(
    "POST",
    "/deleted/hosts/<int:deleted_host_id>/restore",
    tag=TAG,
    summary="Bring a host back",
    scope=WRITE,
    who=CHANGE,
    answer=HostOut,
)
def restore_host() -> HostOut:
    """With all that belonged to it."""
    deletion.restore_host(session(), the_host())
    return host_out(the_host())


@operation(
    "DELETE",
    "/sites/<int:site_id>/membership",
    tag=MEMBERS,
    summary="Leave a site",
    scope=WRITE,
    who=MEMBER,
    person=True,
)
def leave_site() -> None:
    """End one's own membership. The last owner stays."""
    user_id = the_caller().user_id
    assert user_id is not None  # people only
    membership.leave(session(), the_site(), user_id)
