"""mm-admin rules: load, list, explain and check how paths become repositories."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import click

from mm_lib.cli.common import Group, Program, example, json_option, show
from mm_lib.rules.repositories import Match, NoMatch
from mm_lib.services import rules as service
from mm_lib.services.errors import InvalidValue, NotFound
from mm_lib.services.rule_checks import check_rules

_SHIPPED = resources.files("mm_lib.data").joinpath("rules")


@click.group(cls=Group)
def rules() -> None:
    """How paths of the master tree become repositories."""


@rules.command("load")
@click.argument("file")
@click.option("--category", "categories", multiple=True, help="Only this category of the file; may be repeated.")
@click.pass_obj
@example("mm-admin rules load fedora")
def load_command(program: Program, file: str, categories: tuple[str, ...]) -> None:
    """Replace the rules of FILE's categories; FILE is a TOML file or the name of a set that ships with the program."""
    text = _read(file)
    with program.transaction() as session:
        loaded = service.load_rules(session, text, categories)
    for name, changes in loaded.changes.items():
        click.echo(f"{name}: {changes.count} rules, {_summary(changes)}")
        if len(changes.added) == changes.count:
            continue  # they are all new; `rules list` shows them better
        for sign, patterns in (("+", changes.added), ("-", changes.removed), ("~", changes.moved)):
            for pattern in patterns:
                click.echo(f"  {sign} {pattern}")
    for name in loaded.missing:
        click.echo(f"{name}: no such category here, left out")


@rules.command("list")
@click.option("--category", required=True, help="Whose rules.")
@json_option
@click.pass_obj
@example('mm-admin rules list --category "Fedora Linux"')
def list_command(program: Program, category: str, as_json: bool) -> None:
    """List a category's rules in the order in which they are tried."""
    columns = ("position", "pattern", "prefix", "version", "arch", "directory", "flags", "comment")
    with program.reading() as session:
        rows = [{name: getattr(row, name) for name in columns} for row in service.list_rules(session, category)]
    if not as_json:
        rows = [row | {"flags": [f"{name}={value}" for name, value in row["flags"].items()]} for row in rows]
    show(rows, columns, as_json)


@rules.command("explain")
@click.argument("path")
@click.option("--category", help="Whose rules. Default: the category whose topdir PATH begins with.")
@json_option
@click.pass_obj
@example("mm-admin rules explain pub/fedora/linux/releases/44/Everything/x86_64/os")
def explain_command(program: Program, path: str, category: str | None, as_json: bool) -> None:
    """Say which rule decides about PATH, what it yields, and why the others do not."""
    with program.reading() as session:
        found = service.explain_path(session, category, path)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
        return
    show([vars(step) for step in found.explanation.steps], ("position", "outcome", "pattern"), as_json=False)
    click.echo(f"\n{found.category}: {found.path}: {_sentence(found)}")


@rules.command("check")
@click.argument("file", required=False)
@click.option("--category", "categories", multiple=True, help="Only this category; may be repeated.")
@json_option
@click.pass_context
@example("mm-admin rules check fedora")
def check_command(ctx: click.Context, file: str | None, categories: tuple[str, ...], as_json: bool) -> None:
    """Find rules that are invalid, that never decide, and directories that claim the same repo= and arch=.

    Of the loaded rules, or of FILE (a TOML file or a shipped set) before it is loaded. Exit code 1 when there are some.
    """
    program: Program = ctx.obj
    entries = service.parse_rules(_read(file)) if file else None
    with program.reading() as session:
        found = check_rules(session, categories, entries)
    columns = ("category", "position", "kind", "message")
    if found or as_json:
        show([vars(finding) for finding in found], columns, as_json)
    else:
        click.echo("Nothing is wrong with the rules.")
    if found:
        ctx.exit(1)


def _summary(changes: service.RuleChanges) -> str:
    parts = (("added", changes.added), ("removed", changes.removed), ("moved", changes.moved))
    return ", ".join(f"{len(patterns)} {what}" for what, patterns in parts if patterns) or "nothing changed"


def _sentence(found: service.PathExplanation) -> str:
    match found.explanation.decision:
        case Match() as yields:
            flags = "".join([", a test release" * yields.is_test, ", not displayed" * (not yields.display)])
            flags += f", at {yields.directory}" if yields.directory else ""
            key = f"repo={yields.prefix}" if yields.prefix else "no repo= of its own"
            note = "" if found.arch_known else f"\nThe arch {yields.arch!r} does not exist, so no repository is made."
            return f"{key}, version {yields.version}, arch {yields.arch} (rule {yields.position}{flags}){note}"
        case NoMatch() as refusal:
            where = f" (rule {refusal.position})" if refusal.position else ""
            return f"no repository: {refusal.reason}{where}{': ' if refusal.detail else ''}{refusal.detail}"


def _read(file: str) -> str:
    """The text of a file, or of a shipped set of that name. Raises NotFound, InvalidValue."""
    shipped = _SHIPPED.joinpath(f"{file}.toml")
    source = shipped if "/" not in file and not Path(file).exists() and shipped.is_file() else Path(file)
    if not source.is_file():
        names = ", ".join(sorted(entry.name.removesuffix(".toml") for entry in _SHIPPED.iterdir()))
        raise NotFound(f"There is no file {file!r}, and no shipped set of that name (there are: {names}).")
    try:
        return source.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidValue("file", f"{file} is not UTF-8 text") from None
