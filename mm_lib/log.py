"""The one logging set-up: readable on a terminal, JSON lines in a service, always on standard error."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from mm_lib.settings import LogSettings

_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_JSON = "%(asctime)s %(levelname)s %(name)s %(message)s"
# ECS field names, so that log collectors need no mapping.
_RENAMED = {"asctime": "@timestamp", "levelname": "log.level", "name": "log.logger"}


def configure(settings: LogSettings) -> None:
    """Send every logger's messages to standard error in the configured format. Call once per process, in the wiring."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    handler.setFormatter(JsonFormatter(_JSON, rename_fields=_RENAMED) if as_json else logging.Formatter(_TEXT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    # Alembic announces each look at the schema; the commands say what it did.
    logging.getLogger("alembic").setLevel(max(root.level, logging.WARNING))
