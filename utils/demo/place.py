"""Where the demo's parts are."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Folders, ports and the administrator's password of one demo."""

    folder: Path
    redirector_port: int
    frontend_port: int
    mirror_ports: dict[str, int]  # by host name
    master: Path
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @property
    def redirector(self) -> str:
        """Address of the redirector."""
        return f"http://127.0.0.1:{self.redirector_port}"

    @property
    def frontend(self) -> str:
        """Address of the front end."""
        return f"http://127.0.0.1:{self.frontend_port}"

    def mirror(self, name: str) -> str:
        """Address of a mirror."""
        return f"http://127.0.0.1:{self.mirror_ports[name]}"

    def invitation(self) -> str:
        """What to open and what to type."""
        ask = f"{self.redirector}/%s?repo=updates-released-f44&arch=x86_64"
        return f"""
Open      {self.frontend}           start page and mirror list; sign in as admin, {self.password}
Ask       curl '{ask % "mirrorlist"}'
          curl '{ask % "metalink"}&ip=193.99.144.80'        # as a client in Germany would see it
          curl '{ask % "mirrorlist"}&country=jp'
Look      export MM_CONFIG={self.folder.absolute() / "mirrormanager.toml"}
          .venv/bin/mm-admin host list
          .venv/bin/mm-admin repository list
Ctrl-C ends it.
"""
