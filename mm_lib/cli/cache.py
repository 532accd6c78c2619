"""mm-admin cache: publish the file that redirectors answer from, sign it, and look into one."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import click

from mm_lib.cache import codec, file, signature
from mm_lib.cli.common import Failure, Group, Program, json_option, show, wait_option
from mm_lib.locks import held
from mm_lib.publish import publication
from mm_lib.publish.publication import Published

MAX_WARNINGS = 20


@click.group(cls=Group)
def cache() -> None:
    """The mirrorlist cache, the one file that redirectors answer from."""


@cache.command("build")
@click.option("--force", is_flag=True, help="Publish even when more than half of the hosts or repositories are gone.")
@click.option("--if-changed", is_flag=True, help="Leave a file that holds the same already; exit code 0.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["ours", "protobuf"]),
    default="ours",
    show_default=True,
    help="protobuf: for MirrorManager's own mirrorlist servers.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Of --format protobuf. Default: cache.file with .proto."
)
@wait_option
@click.pass_obj
def build(program: Program, force: bool, if_changed: bool, format_: str, output: Path | None, *, wait: float) -> None:
    """Publish the cache file in one step and keep the one before as FILE.previous; print what it holds.

    With cache.signing_key, FILE.sig is published with it. With --if-changed, a file that holds the same is replaced
    all the same when it is older than half of redirector.max_cache_age_hours. Neither is for --format protobuf.

    \b
    Example:
      mm-admin cache build
      mm-admin cache build --format protobuf --output mirrorlist_cache.proto
    """
    chosen = program.settings.cache
    if format_ == "protobuf":
        _build_protobuf(program, output or chosen.file.with_name(f"{chosen.file.name}.proto"), force, wait)
        return
    if output:
        raise click.UsageError("--output is for --format protobuf; ours goes to cache.file, where redirectors look.")
    key = signature.read_private(chosen.signing_key) if chosen.signing_key else None
    # Each machine builds a file of its own.
    lock = f"build of {chosen.file} on {socket.gethostname()}"
    with held(program.settings.database, lock, wait=wait), program.reading() as session:
        published = publication.publish(
            session,
            chosen.file,
            force,
            key,
            program.settings.weights,
            if_changed=if_changed,
            max_age_hours=program.settings.redirector.max_cache_age_hours / 2,
        )
    if not published.changed:
        click.echo(f"Nothing has changed: {published.path} was left as it is.")
        return
    _tell(published)
    if key:
        click.echo(f"Signed in {signature.path_of(published.path)}")


def _build_protobuf(program: Program, output: Path, force: bool, wait: float) -> None:
    protobuf = _protobuf()
    lock = f"build of {output} on {socket.gethostname()}"
    with held(program.settings.database, lock, wait=wait), program.reading() as session:
        _tell(protobuf.publish(session, output, force, program.settings.weights))


def _protobuf() -> ModuleType:
    """The module that knows the other format: its library is large, and only wanted here."""
    try:
        from mm_lib.publish import formats
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is not installed: `pip install mirrormanager[protobuf]`.", 1) from None
    return formats


def _tell(published: Published) -> None:
    click.echo(f"Published {published.path}, {published.size:,} bytes:")
    for what, number in published.contents.items():
        click.echo(f"  {number:>9,} {what}")
    for warning in published.warnings[:MAX_WARNINGS]:
        click.echo(f"warning: {warning}", err=True)
    if len(published.warnings) > MAX_WARNINGS:
        click.echo(f"warning: and {len(published.warnings) - MAX_WARNINGS} more", err=True)


@cache.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def convert(source: Path, target: Path) -> None:
    """Write a cache file in the other format: MirrorManager's (protobuf) in ours, ours in MirrorManager's.

    What the other format cannot hold is listed in docs/moving.md. Nothing is signed.

    \b
    Example:
      mm-admin cache convert /var/lib/mirrormanager/mirrorlist_cache.proto mirrorlist.cache
    """
    _tell(_protobuf().convert(source, target))


@cache.command("show")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@json_option
@click.pass_obj
def show_cache(program: Program, path: Path | None, as_json: bool) -> None:
    """Say what a cache file holds; exit code 1 when it cannot be read.

    \b
    Example:
      mm-admin cache show mirrorlist.cache.previous
    """
    held = codec.decode(file.read(path or program.settings.cache.file))
    rows = [{"what": what, "number": number} for what, number in publication.contents(held).items()]
    if not as_json:
        made = datetime.fromtimestamp(held.generated_at, UTC)
        click.echo(f"Generation {held.generation}, made {made:%Y-%m-%d %H:%M:%S} UTC")
    show(rows, ("number", "what"), as_json)


@cache.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def keygen(path: Path) -> None:
    """Make a key pair: the private key at PATH, the public one at PATH.pub. Files that exist are left alone.

    \b
    Example:
      mm-admin cache keygen /etc/mirrormanager/cache.key
    """
    public = signature.make_keys(path)
    click.echo(f"Wrote {path}; only its owner can read it. Keep it so, and set cache.signing_key to it.")
    click.echo(f"Wrote {public}; give it to the redirectors, for redirector.cache_public_key.")


@cache.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, help="The public key (PEM).")
def verify(path: Path, key: Path) -> None:
    """Check a cache file, and that PATH.sig was made for it by the key; exit code 1 when not.

    \b
    Example:
      mm-admin cache verify mirrorlist.cache --key cache.key.pub
    """
    signature.verify(path, signature.read_public(key))
    held = codec.decode(file.read(path))
    click.echo(f"{path}: generation {held.generation}, signed by {key}")
