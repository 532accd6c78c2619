"""Configuration files for redirectors that are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.data import Geo


def write(path: Path, cache: Path, geo: Geo, **redirector: Any) -> Path:
    """The file; `redirector` are more settings of that section."""
    chosen = {"host": "127.0.0.1", "trusted_proxies": 1, **redirector}
    sections: dict[str, dict[str, Any]] = {
        "cache": {"file": str(cache)},
        "geo": {"asn_database": str(geo.asn), "country_database": str(geo.countries), "embedded": False},
        "log": {"level": "INFO", "format": "text"},
        "redirector": chosen,
    }
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""]
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
