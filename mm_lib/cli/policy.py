"""mm-admin policy: what another way of choosing mirrors would change."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from mm_lib.cli.common import Failure, Group, Program, example


@click.group(cls=Group)
def policy() -> None:
    """How mirrors are chosen for clients."""


@policy.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
@example("mm-admin policy replay --logs access.log.1.gz --policy proposed.toml")
def replay(program: Program, arguments: tuple[str, ...]) -> None:
    """Tell what a proposed policy or registry would change for the requests of past access logs.

    This starts `mm-redirector replay`, which has the selection: `mm-redirector replay --help` tells the options.
    """
    beside = (Path(sys.argv[0]).resolve().parent, Path(sys.executable).parent)
    found = shutil.which("mm-redirector", path=os.pathsep.join([*map(str, beside), os.environ.get("PATH", "")]))
    if found is None:
        raise Failure("mm-redirector is not installed here: pip install 'mirrormanager[redirector]'.", 1)
    config = ["--config", str(program.config)] if program.config and "--config" not in arguments else []
    sys.stdout.flush()
    os.execv(found, [found, "replay", *config, *arguments])  # noqa: S606 # the same words, to a program of ours
