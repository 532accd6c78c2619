"""mm-admin product, version, arch, category, repository, redirect: what is mirrored."""

from __future__ import annotations

from typing import Any

import click

from mm_lib.cli.changing import audited, carry_out
from mm_lib.cli.common import Group, Program, example, json_option, show
from mm_lib.services import content
from mm_lib.services.scans import last_scans
from mm_lib.services.sources import source_from, with_keyring

hidden_option = click.option("--hidden", is_flag=True, help="Not shown on public pages.")


@click.group(cls=Group)
def product() -> None:
    """Distributions and add-ons."""


@product.command("add")
@click.argument("name")
@hidden_option
@audited
@click.pass_obj
def product_add(program: Program, name: str, hidden: bool, by: str | None, dry_run: bool) -> None:
    """Make a product.

    \b
    Example:
      mm-admin product add Fedora
    """
    carry_out(program, by, dry_run, lambda session: content.add_product(session, name, public=not hidden))


@product.command("list")
@json_option
@click.pass_obj
def product_list(program: Program, as_json: bool) -> None:
    """Show all products.

    \b
    Example:
      mm-admin product list --json
    """
    with program.reading() as session:
        show(content.list_products(session), ("id", "name", "public", "versions"), as_json)


@click.group(cls=Group)
def version() -> None:
    """Releases of products. A master scan makes the ones that it finds."""


@version.command("add")
@click.argument("product_name", metavar="PRODUCT")
@click.argument("name")
@click.option("--display-name", default="", help="Shown instead of the name.")
@click.option("--codename", default="")
@click.option("--test", "is_test", is_flag=True, help="A test release.")
@hidden_option
@click.pass_obj
def version_add(program: Program, /, product_name: str, name: str, hidden: bool, **fields: Any) -> None:
    """Make a version of a product.

    \b
    Example:
      mm-admin version add Fedora development --display-name rawhide
    """
    with program.transaction() as session:
        content.add_version(session, product_name, name, display=not hidden, **fields)
    click.echo(f"Made the version {name} of {product_name}.")


@version.command("list")
@json_option
@click.pass_obj
def version_list(program: Program, as_json: bool) -> None:
    """Show all versions.

    \b
    Example:
      mm-admin version list
    """
    columns = ("id", "product", "name", "display_name", "codename", "is_test", "display")
    with program.reading() as session:
        show(content.list_versions(session), columns, as_json)


@click.group(cls=Group)
def arch() -> None:
    """Processor architectures."""


@arch.command("add")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@hidden_option
@click.option("--secondary", is_flag=True, help="Not one of the product's main architectures.")
@click.pass_obj
def arch_add(program: Program, names: tuple[str, ...], hidden: bool, secondary: bool) -> None:
    """Make architectures, spelt as clients ask for them; "source" is one too.

    \b
    Example:
      mm-admin arch add x86_64 aarch64 && mm-admin arch add source --hidden
    """
    with program.transaction() as session:
        for name in names:
            content.add_arch(session, name, public=not hidden, primary=not secondary)
    click.echo(f"Made {', '.join(names)}.")


@arch.command("list")
@json_option
@click.pass_obj
def arch_list(program: Program, as_json: bool) -> None:
    """Show all architectures.

    \b
    Example:
      mm-admin arch list
    """
    with program.reading() as session:
        show(content.list_arches(session), ("id", "name", "public", "primary"), as_json)


@click.group(cls=Group)
def category() -> None:
    """Trees of content that are mirrored as a unit."""


keyring_option = click.option(
    "--keyring", metavar="PATH", help="File with OpenPGP public keys: metadata that none of them signed is refused."
)


def source_options(command: Any) -> Any:
    """Where a master is scanned."""
    for option in reversed(
        (
            click.option("--source", metavar="URL-OR-PATH", help="Where the master is scanned."),
            click.option("--exclude", "excludes", multiple=True, help="Regular expression on paths not scanned."),
            click.option("--prefix", default="", help="Of a list: only what stands below this, e.g. linux."),
            click.option("--content", default="", help="Of a list: directory or URL with the files themselves."),
        )
    ):
        command = option(command)
    return command


@category.command("add")
@click.argument("name")
@click.option("--product", "product_name", required=True, help="The product that it belongs to.")
@click.option("--topdir", default="", help="Where the tree hangs below the content root, e.g. pub/fedora/linux.")
@source_options
@keyring_option
@click.option("--admin-only", is_flag=True, help="Only administrators give it to hosts.")
@click.option("--canonical-host", default="", help="Address of the master server, shown to mirrors.")
@hidden_option
@click.pass_obj
def category_add(program: Program, /, name: str, hidden: bool, **fields: Any) -> None:
    """Make a category.

    Its master is scanned from --source: a directory of this machine, rsync://HOST/MODULE/, http(s)://HOST/PATH/ with
    index pages, or a file that lists everything (fullfiletimelist-*, or what `rsync --list-only -r` printed in UTC).

    \b
    Example:
      mm-admin category add "Fedora Linux" --product Fedora --topdir pub/fedora/linux \\
          --source /srv/pub/fedora/linux
    """
    fields["product"] = fields.pop("product_name")
    keyring = fields.pop("keyring")
    fields["source"] = _source(fields) or {}
    if keyring is not None:
        fields["source"] = with_keyring(fields["source"], keyring)
    with program.transaction() as session:
        content.add_category(session, name, public=not hidden, **fields)
    click.echo(f"Made the category {name}.")


def _source(fields: dict[str, Any]) -> dict[str, Any] | None:
    """What the options of --source mean; None when it was not given. Takes them out. Raises InvalidValue."""
    place, excludes, prefix, contents = (fields.pop(key) for key in ("source", "excludes", "prefix", "content"))
    if place is None:
        if excludes or prefix or contents:
            raise click.UsageError("--exclude, --prefix and --content go with --source.")
        return None
    return source_from(place, excludes=excludes, prefix=prefix, content=contents)


class _Number(click.ParamType[Any]):
    """A number that is not negative, or "default", which is None."""

    name = "number|default"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number, wrapped, so that None is told from an option that was not given."""
        if value == "default":
            return (None,)
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if number >= 0:
            return (number,)
        return self.fail(f"{value!r} is neither a number from 0 nor 'default'", param, ctx)


@category.command("set")
@click.argument("name")
@source_options
@keyring_option
@click.option("--no-keyring", is_flag=True, help="Believe metadata without a signature.")
@click.option("--must-exist", "present", multiple=True, help="File that a scan needs; may be repeated.")
@click.option(
    "--must-not-exist", "absent", multiple=True, help="File that a scan waits for the end of; may be repeated."
)
@click.option("--no-sentinels", is_flag=True, help="Forget the files of --must-exist and --must-not-exist.")
@click.option("--max-stale-days", type=_Number(), help="Alternates that are older are forgotten.")
@click.option("--max-propagation-days", type=_Number(), help="While the newest is younger, the one before it stays.")
@click.option("--max-vanished-share", type=_Number(), help="Part that may vanish at once without --force, 0 to 1.")
@audited
@click.pass_obj
@example(
    'mm-admin category set "Fedora Linux" --must-exist ../fullfiletimelist-fedora --must-not-exist .sync_in_progress'
)
def category_set(
    program: Program, /, name: str, by: str | None, dry_run: bool, no_sentinels: bool, **options: Any
) -> None:
    """Say where a category is scanned, what a scan waits for, and how long it keeps what is old.

    --source is as in `mm-admin category add`, and takes the place of all that was said there but the keyring. Files
    are named below the source's top (it may begin with ../) or absolutely on this machine. "default" in place of a
    number: as the settings say (crawler.max_stale_days, max_propagation_days, max_vanished_share).
    """
    sentinels = {key: list(options.pop(key)) for key in ("present", "absent")}
    source = _source(options)
    keyring, no_keyring = options.pop("keyring"), options.pop("no_keyring")
    values = {key: value[0] for key, value in options.items() if value is not None}
    if any(sentinels.values()) or no_sentinels:
        values["sentinels"] = {} if no_sentinels else {key: paths for key, paths in sentinels.items() if paths}
    if source is not None:
        values["source"] = source
    if keyring is not None or no_keyring:
        values["keyring"] = "" if no_keyring else keyring
    if not values:
        raise click.UsageError("Say what to change; --help shows what can be.")
    carry_out(program, by, dry_run, lambda session: content.set_category(session, name, values))


@category.command("list")
@json_option
@click.pass_obj
def category_list(program: Program, as_json: bool) -> None:
    """Show all categories.

    \b
    Example:
      mm-admin category list
    """
    columns = ("id", "name", "product", "topdir", "public", "admin_only", "directories", "last_scanned_at")
    with program.reading() as session:
        scans = last_scans(session)
        rows = [row | {"last_scanned_at": scans.get(row["name"])} for row in content.list_categories(session)]
        show(rows, columns, as_json)


@click.group(cls=Group)
def repository() -> None:
    """What clients ask for by repo= and arch=. A master scan makes them."""


@repository.command("list")
@json_option
@click.pass_obj
def repository_list(program: Program, as_json: bool) -> None:
    """Show all repositories.

    \b
    Example:
      mm-admin repository list --json
    """
    columns = ("id", "prefix", "arch", "version", "category", "directory", "enabled", "pinned")
    with program.reading() as session:
        show(content.list_repositories(session), columns, as_json)


@click.group(cls=Group)
def redirect() -> None:
    """Aliases of repositories."""


@redirect.command("add")
@click.argument("from_prefix", metavar="FROM")
@click.argument("to_prefix", metavar="TO")
@click.pass_obj
def redirect_add(program: Program, from_prefix: str, to_prefix: str) -> None:
    """Answer requests for one repository with another, which may not exist yet.

    \b
    Example:
      mm-admin redirect add fedora-rawhide rawhide
    """
    with program.transaction() as session:
        content.add_redirect(session, from_prefix, to_prefix)
    click.echo(f"{from_prefix} is answered with {to_prefix}.")


@redirect.command("list")
@json_option
@click.pass_obj
def redirect_list(program: Program, as_json: bool) -> None:
    """Show all aliases.

    \b
    Example:
      mm-admin redirect list
    """
    with program.reading() as session:
        show(content.list_redirects(session), ("id", "from_prefix", "to_prefix"), as_json)
