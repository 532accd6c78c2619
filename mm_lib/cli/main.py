"""mm-admin: set up, fill and look after the registry, and publish the cache."""

from __future__ import annotations

from pathlib import Path

import click

from mm_lib.cli import (
    cache,
    changing,
    clouds,
    content,
    database,
    deletion,
    doctor,
    geodata,
    importing,
    login,
    mirrors,
    moving,
    outbox,
    placement,
    policy,
    registry,
    releases,
    report,
    rules,
    site_password,
    statistics,
    tokens,
    users,
)
from mm_lib.cli.common import Group, Program, config_option


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mirrormanager")
@config_option
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Administer MirrorManager: the database, what is mirrored, who mirrors it, and the mirrorlist cache."""
    ctx.obj = Program(config, changing.actor)


for command in (
    database.init,
    database.db,
    content.product,
    content.version,
    content.arch,
    content.category,
    content.repository,
    content.redirect,
    releases.release,
    releases.branch,
    rules.rules,
    mirrors.site,
    mirrors.host,
    mirrors.url,
    mirrors.netblock,
    tokens.token,
    deletion.deleted,
    deletion.purge,
    placement.location,
    placement.directory,
    users.user,
    login.login,
    doctor.doctor,
    changing.events,
    changing.undo,
    outbox.outbox,
    outbox.webhook,
    geodata.geodata,
    importing.import_group,
    importing.export_list,
    registry.export,
    registry.plan,
    registry.apply,
    registry.validate,
    cache.cache,
    statistics.statistics,
    policy.policy,
    report.report,
):
    main.add_command(command)
mirrors.netblock.add_command(clouds.sync)
importing.import_group.add_command(moving.mirrormanager2)
mirrors.site.add_command(site_password.site_password)
