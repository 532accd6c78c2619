"""mm-admin release, repository, branch: what release engineers do when releases come and go."""

from __future__ import annotations

import click
from sqlalchemy.orm import Session

from mm_lib.cli.changing import audited, carry_out
from mm_lib.cli.common import Failure, Group, Program, example
from mm_lib.cli.content import repository
from mm_lib.services import releases
from mm_lib.services.changes import Plan
from mm_lib.services.errors import InvalidValue, NotFound

arch_option = click.option("--arch", "arches", multiple=True, help="Only for this arch; may be repeated. Default: all.")


@click.group(cls=Group)
def release() -> None:
    """Move a release's repositories when it comes out and when it ends."""


@release.command("move-devel")
@click.option("--version", required=True, help="The release, e.g. 44.")
@click.option("--category", default="", help="Where it is; without one, the categories are listed.")
@click.option("--from", "source", default="development", show_default=True, help="Where it was developed.")
@click.option("--to", "target", default="releases", show_default=True, help="Where it was released.")
@audited
@click.pass_obj
@example('mm-admin release move-devel --version 44 --category "Fedora Linux" --dry-run')
def move_devel(program: Program, /, by: str | None, dry_run: bool, **options: str) -> None:
    """Point a release's repositories from development/VERSION to the same directories below releases/VERSION.

    A repository stays where its new directory is missing or has a repository already, and where it is pinned.
    When there is nothing to move, nothing is printed, and that is no error.
    """
    carry_out(program, by, dry_run, lambda session: releases.move_devel(session, **options))


@release.command("archive")
@click.argument("product", required=False)
@click.argument("version", required=False)
@click.option("--repository", "prefix", help="Only the repositories of this prefix, instead of a whole version.")
@click.option("--archive-category", help='Where they go. Default: "PRODUCT Archive".')
@click.option(
    "--except",
    "untouched",
    multiple=True,
    default=("Fedora Codecs",),
    show_default=True,
    help="Category whose repositories stay; may be repeated.",
)
@audited
@click.pass_obj
@example("mm-admin release archive Fedora 39 --dry-run")
def archive(
    program: Program, /, product: str | None, version: str | None, by: str | None, dry_run: bool, **options: str | None
) -> None:
    """Point the repositories of a release that has ended to its copy in the archive.

    All of them or none: a directory that the archive does not have is an error that names it. A version or archive
    that does not exist ends with exit code 2.
    """
    if (version is None) == (options["prefix"] is None):
        raise click.UsageError("Name a product and a version, or else --repository.")

    def plan(session: Session) -> Plan:
        try:
            return releases.archive(session, product=product, version=version, **options)  # type: ignore[arg-type]
        except NotFound as error:
            raise Failure(str(error), 2) from error

    carry_out(program, by, dry_run, plan)


@repository.command("expire-old")
@click.argument("product")
@click.argument("version")
@audited
@click.pass_obj
@example("mm-admin repository expire-old Fedora 43 --dry-run")
def expire_old(program: Program, product: str, version: str, by: str | None, dry_run: bool) -> None:
    """In an emergency, let clients accept only the newest metadata of a version's repositories.

    All older versions of their important files are forgotten, so that a mirror without a security update is not used.
    """
    carry_out(program, by, dry_run, lambda session: releases.expire_old(session, product, version))


@repository.command("enable")
@click.argument("prefix")
@arch_option
@audited
@click.pass_obj
@example("mm-admin repository enable fedora-44 --arch x86_64")
def enable(program: Program, prefix: str, arches: tuple[str, ...], by: str | None, dry_run: bool) -> None:
    """Answer requests for a repository again."""
    carry_out(program, by, dry_run, lambda session: releases.switch(session, prefix, arches, True))


@repository.command("disable")
@click.argument("prefix")
@arch_option
@audited
@click.pass_obj
@example("mm-admin repository disable fedora-44 --arch x86_64")
def disable(program: Program, prefix: str, arches: tuple[str, ...], by: str | None, dry_run: bool) -> None:
    """Refuse requests for a repository, with a message that says so."""
    carry_out(program, by, dry_run, lambda session: releases.switch(session, prefix, arches, False))


@repository.command("pin")
@click.argument("prefix")
@arch_option
@audited
@click.pass_obj
@example("mm-admin repository pin fedora-44")
def pin(program: Program, prefix: str, arches: tuple[str, ...], by: str | None, dry_run: bool) -> None:
    """Keep a repository where it is: neither a scan nor `release` moves it."""
    carry_out(program, by, dry_run, lambda session: releases.pin(session, prefix, arches, True))


@repository.command("unpin")
@click.argument("prefix")
@arch_option
@audited
@click.pass_obj
@example("mm-admin repository unpin fedora-44")
def unpin(program: Program, prefix: str, arches: tuple[str, ...], by: str | None, dry_run: bool) -> None:
    """Let scans and `release` move a repository again."""
    carry_out(program, by, dry_run, lambda session: releases.pin(session, prefix, arches, False))


@repository.command("redirect")
@click.argument("from_prefix", metavar="FROM")
@click.argument("to_prefix", metavar="[TO]", required=False)
@click.option("--remove", is_flag=True, help="Answer with FROM itself again.")
@audited
@click.pass_obj
@example("mm-admin repository redirect epel-10 epel-10.1")
def redirect(program: Program, /, by: str | None, dry_run: bool, remove: bool, **prefixes: str | None) -> None:
    """Answer requests for one repository with another, whatever it was redirected to before."""
    if remove == (prefixes["to_prefix"] is not None):
        raise click.UsageError("Name what FROM is redirected to, or else --remove.")
    carry_out(program, by, dry_run, lambda session: releases.redirect(session, **prefixes))


@click.group(cls=Group)
def branch() -> None:
    """Answer requests for a version that has not branched yet with rawhide."""


def _pairs(given: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        template, equals, target = text.partition("=")
        if not equals or "{version}" not in template or not target:
            raise InvalidValue("map", f"{text!r} does not look like 'fedora-{{version}}=rawhide'")
        pairs.append((template, target))
    return pairs or list(releases.FEDORA_BRANCH)


map_option = click.option(
    "--map", "given", multiple=True, help="FROM=TO, with {version} in FROM; may be repeated. Default: Fedora's."
)


@branch.command("redirect")
@click.argument("version")
@map_option
@audited
@click.pass_obj
@example("mm-admin branch redirect 46")
def branch_redirect(program: Program, version: str, given: tuple[str, ...], by: str | None, dry_run: bool) -> None:
    """Redirect all repositories of a new version to rawhide, until it branches.

    A repository that exists already, or is redirected elsewhere, is left alone.
    """
    carry_out(program, by, dry_run, lambda session: releases.branch(session, version, _pairs(given), True))


@branch.command("restore")
@click.argument("version")
@map_option
@audited
@click.pass_obj
@example("mm-admin branch restore 46")
def branch_restore(program: Program, version: str, given: tuple[str, ...], by: str | None, dry_run: bool) -> None:
    """End the redirects of a version that has branched: its own repositories answer."""
    carry_out(program, by, dry_run, lambda session: releases.branch(session, version, _pairs(given), False))
