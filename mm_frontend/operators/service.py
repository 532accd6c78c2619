"""How a host is doing: crawls and their logs, checks on request, what it is asked, why it is (not) served, a badge."""

from __future__ import annotations

from datetime import timedelta

from flask import Response, json, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from mm_frontend.db import session
from mm_frontend.guards import limiter, may
from mm_frontend.operators.blueprint import blueprint
from mm_frontend.operators.forms import ConfirmForm
from mm_frontend.operators.hosts import the_host
from mm_frontend.operators.pages import carried_out, me, now, saved
from mm_frontend.settings import crawler, frontend
from mm_lib.rules.urls import preference
from mm_lib.services import access, crawl_logs, explanations, jobs, overview
from mm_lib.services.errors import NotFound

CHECKS = "20 per hour"
EXPLANATIONS = "30 per minute"
_COLOURS = {"good": "#0a6456", "fair": "#8a4b08", "bad": "#a1242b", "none": "#51625d"}
_LETTER = 6.6  # pixels that a letter of 11 pixels takes about


@blueprint.get("/host/<int:host_id>/logs")
def host_crawls(host_id: int) -> ResponseReturnValue:
    """The latest results, and the logs that are kept."""
    host = the_host()
    return render_template(
        "operators/crawls.html",
        host=host,
        part="crawls",
        crawls=overview.crawls(session(), host),
        logs=crawl_logs.list_logs(crawler().log_directory, host_id),
    )


@blueprint.get("/host/<int:host_id>/logs/<name>")
def crawl_log(host_id: int, name: str) -> ResponseReturnValue:
    """What was asked and answered in one crawl."""
    text = crawl_logs.read_text(crawler().log_directory, host_id, name)
    return render_template("operators/log.html", host=the_host(), part="crawls", name=name, text=text)


@blueprint.post("/host/<int:host_id>/check")
@limiter.limit(CHECKS)
def check_now(host_id: int) -> ResponseReturnValue:
    """Ask for a crawl at once."""
    form, host = ConfirmForm(), the_host()
    wanted = request.form.getlist("category")
    target = url_for("operators.host_checks", host_id=host_id)
    again_after = timedelta(minutes=crawler().check_again_minutes)
    if carried_out(form, lambda database: jobs.request_check(database, host, wanted, me(), again_after=again_after)):
        return saved(gettext("The check is queued."), target)
    return saved(" ".join(form.form_errors) or gettext("The check could not be asked for."), target)


@blueprint.get("/host/<int:host_id>/checks")
def host_checks(host_id: int) -> ResponseReturnValue:  # noqa: ARG001  the guard has it
    """How far the checks are that were asked for."""
    host = the_host()
    checks = jobs.list_checks(session(), host, 20)
    running = any(check.state in jobs.OPEN for check in checks)
    page = render_template(
        "operators/checks.html",
        host=host,
        part="checks",
        checks=checks,
        running=running,
        may_change=may(access.CHANGE),
        again_minutes=max(1, crawler().check_again_minutes),
    )
    response = make_response(page)
    if running and "follow" in request.args:  # only who asks for it: a page that moves by itself disturbs readers
        response.headers["Refresh"] = "5"
    return response


@blueprint.get("/host/<int:host_id>/asked")
def host_asked(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """What the crawler is going to ask the host."""
    host = the_host()
    carried = overview.categories(session(), host)
    urls = {category.id: sorted(category.urls, key=lambda row: preference(row.url)) for category in carried}
    return render_template(
        "operators/asked.html",
        host=host,
        part="asked",
        categories=carried,
        urls=urls,
        turns=overview.turns(session(), host),
        crawler=crawler(),
        not_asked=overview.why_not_asked(session(), host, now()),
    )


@blueprint.get("/host/<int:host_id>/explain")
@limiter.limit(EXPLANATIONS)
def host_explain(host_id: int) -> ResponseReturnValue:  # noqa: ARG001
    """Why the host is, or is not, handed out to a client; the redirector itself says so."""
    host = the_host()
    asked = {name: request.args.get(name, "").strip()[:255] for name in explanations.PARAMETERS}
    found, problem = None, ""
    if any(asked.values()):
        try:
            found = explanations.explain(frontend().explain_url, asked, host.name, host.site.name)
        except explanations.NoExplanation as error:
            problem = str(error)
    return render_template(
        "operators/explain.html",
        host=host,
        part="explain",
        asked=asked,
        found=found,
        problem=problem,
        configured=bool(frontend().explain_url),
        choices=overview.askable(session()),
    )


@blueprint.get("/host/<int:host_id>/badge.svg")
def badge(host_id: int) -> ResponseReturnValue:
    """How the mirror is, as a picture for its own pages."""
    found = _badge(host_id)
    width = [round(len(text) * _LETTER) + 14 for text in ("mirror", found.message)]
    picture = render_template("operators/badge.svg", badge=found, colour=_COLOURS[found.level], width=width)
    return _for_others(Response(picture, mimetype="image/svg+xml"))


@blueprint.get("/host/<int:host_id>/badge.json")
def badge_json(host_id: int) -> ResponseReturnValue:
    """The same for programs, in the form of shields.io's endpoint."""
    found = _badge(host_id)
    body = {"schemaVersion": 1, "label": "mirror", "message": found.message, "color": _COLOURS[found.level]}
    return _for_others(Response(json.dumps(body), mimetype="application/json"))


def _badge(host_id: int) -> overview.Badge:
    """Everybody may know of public hosts; private ones do not exist here."""
    host = access.reach(session(), {"host_id": host_id}).host
    if host is None or not overview.is_public(host):
        raise NotFound("There is no public mirror with this number.")
    return overview.badge(session(), host, now())


def _for_others(response: Response) -> Response:
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return response
