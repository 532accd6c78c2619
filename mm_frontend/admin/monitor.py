"""What runs, waits and failed: checks on request, the job queue, crawls and scans, the cache, messages."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm

from mm_frontend.admin.blueprint import blueprint
from mm_frontend.db import session
from mm_frontend.operators.pages import Change, carried_out, me, now
from mm_frontend.settings import crawler, everything
from mm_lib.model.outbox import DeliveryState
from mm_lib.model.state import RunKind
from mm_lib.services import crawl_queue, jobs, monitor, outbox

PARTS = (
    ("monitor_page", "At a glance"),
    ("monitor_checks", "Checks on request"),
    ("monitor_jobs", "Job queue"),
    ("monitor_runs", "Crawls and scans"),
    ("monitor_messages", "Messages"),
)
MAX_LISTED = 100


@blueprint.context_processor
def _parts() -> dict[str, object]:
    return {"monitor_parts": PARTS}


@blueprint.get("/monitor")
def monitor_page() -> ResponseReturnValue:
    """Everything in numbers."""
    return render_template(
        "admin/monitor.html",
        summary=monitor.summary(session(), crawler(), now()),
        why_no_queue=monitor.why_no_queue(session()),
        caches=monitor.caches(everything().cache.file),
        cache_path=everything().cache.file,
    )


@blueprint.get("/monitor/checks")
def monitor_checks() -> ResponseReturnValue:
    """What people asked for."""
    return render_template("admin/monitor_checks.html", checks=monitor.list_checks(session(), now()))


@blueprint.get("/monitor/jobs")
def monitor_jobs() -> ResponseReturnValue:
    """The queue that several machines share."""
    why, state = monitor.why_no_queue(session()), request.args.get("state", "")
    known = list(dict.fromkeys(crawl_queue.STATES.values()))
    states = [state] if state in known else ["running", "waiting", "failed"]
    return render_template(
        "admin/monitor_jobs.html",
        why=why,
        jobs=[] if why else monitor.list_jobs(session(), states, crawler(), now()),
        counts={} if why else crawl_queue.count_jobs(session()),
        state=state,
        known=known,
    )


@blueprint.get("/monitor/runs")
def monitor_runs() -> ResponseReturnValue:
    """Crawls and scans of the master."""
    asked = request.args.get("kind", "")
    kind = RunKind(asked) if asked in set(RunKind) else None
    runs = monitor.list_runs(session(), kind, crawler(), now())
    return render_template("admin/monitor_runs.html", runs=runs, kind=asked, kinds=list(RunKind))


@blueprint.get("/monitor/messages")
def monitor_messages() -> ResponseReturnValue:
    """Mails, webhooks and AMQP messages on their way."""
    asked = request.args.get("state", "")
    states = [DeliveryState(asked)] if asked in set(DeliveryState) else []
    return render_template(
        "admin/monitor_messages.html",
        messages=outbox.list_deliveries(session(), states, MAX_LISTED),
        counts=outbox.count_deliveries(session()),
        state=asked,
        states=list(DeliveryState),
    )


# -- changes: a button each


def _done(change: Change, message: str, endpoint: str) -> ResponseReturnValue:
    form = FlaskForm()
    flash(message if carried_out(form, change) else " ".join(form.form_errors) or "That form has expired; try again.")
    return redirect(url_for(endpoint))


@blueprint.post("/monitor/checks/<int:job_id>/cancel")
def cancel_check(job_id: int) -> ResponseReturnValue:
    """Do not do it."""
    by = me()
    return _done(
        lambda database: jobs.cancel(database, job_id, now(), by), "The check is cancelled.", "admin.monitor_checks"
    )


@blueprint.post("/monitor/checks/<int:job_id>/again")
def repeat_check(job_id: int) -> ResponseReturnValue:
    """Do it once more."""
    return _done(lambda database: jobs.again(database, job_id, now()), "The check waits again.", "admin.monitor_checks")


@blueprint.post("/monitor/jobs/<int:job_id>/cancel")
def cancel_job(job_id: int) -> ResponseReturnValue:
    """Take a job out of the queue."""
    return _queue(lambda database: crawl_queue.cancel(database, job_id), f"Job {job_id} is cancelled.")


@blueprint.post("/monitor/jobs/<int:job_id>/again")
def repeat_job(job_id: int) -> ResponseReturnValue:
    """Start a job that failed again."""
    return _queue(lambda database: crawl_queue.retry(database, job_id), f"Job {job_id} waits again.")


def _queue(change: Change, message: str) -> ResponseReturnValue:
    if why := monitor.why_no_queue(session()):
        flash(why)
        return redirect(url_for("admin.monitor_jobs"))
    return _done(change, message, "admin.monitor_jobs")


@blueprint.post("/monitor/messages/<int:delivery_id>/again")
def deliver_again(delivery_id: int) -> ResponseReturnValue:
    """Try a delivery again that was given up."""
    return _done(
        lambda database: outbox.retry(database, [delivery_id], now()),
        "The message is tried again with the next delivery.",
        "admin.monitor_messages",
    )


@blueprint.post("/monitor/messages/again")
def deliver_all_again() -> ResponseReturnValue:
    """Try all of them again."""
    return _done(
        lambda database: outbox.retry(database, None, now()),
        "All messages that were given up are tried again.",
        "admin.monitor_messages",
    )
