"""mm-admin outbox and webhook: who is told what happens, and how far that is."""

from __future__ import annotations

import logging
import signal
import threading
from datetime import UTC, datetime
from typing import Any

import click
from sqlalchemy.exc import SQLAlchemyError

from mm_lib.cli.changing import actor
from mm_lib.cli.common import Group, Program, example, json_option, show
from mm_lib.model.outbox import DeliveryState
from mm_lib.services import outbox as service
from mm_lib.services import webhooks
from mm_lib.services.outbox import Kind

logger = logging.getLogger(__name__)


@click.group(cls=Group)
def outbox() -> None:
    """Events on their way to people (mail) and programs (webhooks, AMQP)."""


@outbox.command()
@click.option("--follow", is_flag=True, help="Go on until stopped, and deliver what comes.")
@click.option(
    "--every",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="With --follow: seconds between looks.",
)
@click.pass_obj
@example("mm-admin outbox deliver --follow")
def deliver(program: Program, follow: bool, every: float) -> None:
    """Deliver what is due. Any number of these may run at once: none delivers what another one has.

    Exit code 0: whatever does not work now is tried again later; the log and `mm-admin outbox list` say why.
    """
    from mm_lib.outbox.deliver import deliver as deliver_once  # urllib3 and smtplib take a while to load

    stop = threading.Event()
    if follow:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
    while True:
        try:
            counts = deliver_once(program.transaction, program.settings, stopped=stop.is_set)
        except SQLAlchemyError:
            if not follow:
                raise
            logger.exception("the database cannot be used; trying again in %g s", every)
        if not follow:
            click.echo(", ".join(f"{counts[state.value]} {_WORDS[state]}" for state in _WORDS))
        if not follow or stop.wait(every):
            return


_WORDS = {
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.WAITING: "to be tried again",
    DeliveryState.DEAD: "given up",
}


@outbox.command("list")
@click.option("--dead", "states", flag_value="dead", help="Only what was given up.")
@click.option("--waiting", "states", flag_value="waiting", help="Only what is still to be delivered.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="How many, the newest first.")
@json_option
@click.pass_obj
@example("mm-admin outbox list --dead")
def list_(program: Program, states: str | None, limit: int, as_json: bool) -> None:
    """Show deliveries, and why those that did not arrive did not."""
    columns = ("id", "at", "kind", "about", "channel", "target", "state", "attempts", "next_try_at", "last_error")
    with program.reading() as session:
        rows = service.list_deliveries(session, [DeliveryState(states)] if states else [], limit)
        counts = service.count_deliveries(session)
    show(rows, columns, as_json)
    if not as_json:
        click.echo(", ".join(f"{count} {name}" for name, count in counts.items()), err=True)


@outbox.command()
@click.argument("ids", metavar="[ID...]", nargs=-1, type=int)
@click.option("--all", "everything", is_flag=True, help="All dead deliveries.")
@click.pass_obj
@example("mm-admin outbox retry --all")
def retry(program: Program, ids: tuple[int, ...], everything: bool) -> None:
    """Have dead deliveries tried again, now, as if they were new."""
    if everything == bool(ids):
        raise click.UsageError("Name deliveries by their ids, or use --all.")
    with program.transaction() as session:
        count = service.retry(session, None if everything else ids, datetime.now(UTC))
    click.echo(f"{count} deliveries wait again; `mm-admin outbox deliver` sends them.")


@click.group(cls=Group)
def webhook() -> None:
    """Addresses that events are posted to."""


@webhook.command("add")
@click.argument("url")
@click.option("--site", help="Only events of this site. Default: of all.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind of event; can be repeated.")
@json_option
@click.pass_obj
@example("mm-admin webhook add https://example.org/hook --kind crawler.host.disabled")
def webhook_add(program: Program, url: str, site: str | None, kinds: tuple[str, ...], as_json: bool) -> None:
    """Post events to a URL from now on, and print the secret that they are signed with."""
    with program.transaction() as session:
        row = webhooks.add_webhook(session, url, site=site, kinds=kinds, created_by=actor())
    shown: dict[str, Any] = {"id": row.id, "url": row.url, "secret": row.secret}
    if as_json:
        show([shown], tuple(shown), as_json)
    else:
        click.echo(f"Made webhook {row.id}. The secret that its signatures are checked with:\n{row.secret}")


@webhook.command("list")
@json_option
@click.pass_obj
@example("mm-admin webhook list --json")
def webhook_list(program: Program, as_json: bool) -> None:
    """Show all webhooks, without their secrets."""
    columns = ("id", "site", "url", "kinds", "enabled", "created_at", "created_by")
    with program.reading() as session:
        show(webhooks.list_webhooks(session), columns, as_json)


@webhook.command("switch")
@click.argument("id_", metavar="ID", type=int)
@click.argument("state", type=click.Choice(["on", "off"]))
@click.pass_obj
@example("mm-admin webhook switch 3 off")
def webhook_switch(program: Program, id_: int, state: str) -> None:
    """Switch a webhook off or on. What happens while it is off is never posted to it."""
    with program.transaction() as session:
        row = webhooks.find_webhook(session, id_)
        row.enabled = state == "on"
    click.echo(f"Webhook {id_} ({row.url}) is {state}.")


@webhook.command("remove")
@click.argument("id_", metavar="ID", type=int)
@click.pass_obj
@example("mm-admin webhook remove 3")
def webhook_remove(program: Program, id_: int) -> None:
    """Forget a webhook."""
    with program.transaction() as session:
        row = webhooks.find_webhook(session, id_)
        session.delete(row)
    click.echo(f"Removed webhook {id_} ({row.url}).")


@webhook.command("test")
@click.argument("id_", metavar="ID", type=int)
@click.pass_obj
@example("mm-admin webhook test 3 && mm-admin outbox deliver")
def webhook_test(program: Program, id_: int) -> None:
    """Have an event of the kind "test" posted to a webhook, with the next delivery."""
    with program.transaction() as session:
        row = webhooks.find_webhook(session, id_)
        payload = {"agent": actor(), "webhook_id": row.id}
        service.emit(session, Kind.TEST, payload, site_id=row.site_id)
    click.echo("`mm-admin outbox deliver` posts it; `mm-admin outbox list` shows what became of it.")
