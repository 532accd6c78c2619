"""Who changed what: of a site for its members, of everything for auditors and administrators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response, json, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mm_frontend.db import session
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.sites import the_site
from mm_frontend.settings import frontend
from mm_lib.services import event_log
from mm_lib.services.event_log import EventFilter

_FILTERS = ("actor", "action", "text", "since", "until")


@blueprint.get("/site/<int:site_id>/events")
def site_events(site_id: int) -> ResponseReturnValue:
    """What was changed of a site."""
    return _events(gettext("Changes of %(name)s", name=the_site().name), "operators.site_events", site_id)


@blueprint.get("/events")
def all_events() -> ResponseReturnValue:
    """What was changed at all."""
    return _events(gettext("All changes"), "operators.all_events", None)


def _events(title: str, endpoint: str, site_id: int | None) -> ResponseReturnValue:
    asked = {name: request.args.get(name, "").strip()[:100] for name in _FILTERS}
    wanted = EventFilter(
        site_id=site_id,
        actor=asked["actor"],
        action=asked["action"],
        text=asked["text"],
        since=_day(asked["since"]),
        until=_day(asked["until"], days=1),
    )
    form = request.args.get("format", "")
    if form in ("csv", "json"):
        return _file(form, wanted)
    page = event_log.page(session(), wanted, request.args.get("page", 1, int), frontend().page_size)

    def link(**changes: Any) -> str:
        filters: dict[str, Any] = {name: value for name, value in asked.items() if value}
        return url_for(endpoint, site_id=site_id, **filters | changes)

    return render_template(
        "operators/events.html",
        title=title,
        page=page,
        asked=asked,
        link=link,
        site=the_site() if site_id is not None else None,
        filtered=any(asked.values()),
    )


def _file(form: str, wanted: EventFilter) -> Response:
    events = event_log.export(session(), wanted)
    body = event_log.as_csv(events) if form == "csv" else json.dumps(events, default=str, ensure_ascii=False)
    kind = "text/csv; charset=utf-8" if form == "csv" else "application/json"
    disposition = {"Content-Disposition": f'attachment; filename="changes.{form}"'}
    return Response(body, content_type=kind, headers=disposition)


def _day(text: str, days: int = 0) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
