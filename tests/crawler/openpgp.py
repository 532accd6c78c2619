"""Real OpenPGP keys, made by GnuPG in a home of their own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

PAST = "20200101T000000"


class Signer:
    """A GnuPG home with secret keys. Its path is short: the agent's socket lies in it."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="mm-pgp-"))
        self._home.chmod(0o700)

    def make_key(self, name: str, expires: str = "never", *, at: str = "") -> None:
        """A key of that name; `at` makes GnuPG believe that it is then."""
        self._gpg("--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires, at=at)

    def public(self, *names: str, armour: bool = False) -> bytes:
        """A keyring file with the public keys of these names."""
        return self._gpg("--export", *(["--armor"] if armour else []), *names)

    def detached(self, name: str, data: bytes, *, at: str = "", digest: str = "SHA256") -> bytes:
        """What stands in a repomd.xml.asc."""
        return self._gpg("--armor", "--digest-algo", digest, "--local-user", name, "--detach-sign", data=data, at=at)

    def inline(self, data: bytes, *names: str) -> bytes:
        """What stands in an InRelease."""
        users = [word for name in names for word in ("--local-user", name)]
        return self._gpg("--digest-algo", "SHA512", *users, "--clearsign", data=data)

    def revoke(self, name: str) -> None:
        """Take a key back, as its owner."""
        listing = self._gpg("--with-colons", "--list-keys", name).decode()
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
        text = (self._home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_bytes()
        self._gpg("--import", data=text.replace(b":-----BEGIN", b"-----BEGIN"))

    def close(self) -> None:
        """End the agent and forget the keys."""
        subprocess.run(["gpgconf", "--homedir", self._home, "--kill", "all"], check=True, capture_output=True)
        shutil.rmtree(self._home, ignore_errors=True)

    def _gpg(self, *arguments: str, data: bytes = b"", at: str = "") -> bytes:
        common = ["gpg", "--homedir", str(self._home), "--batch", "--quiet", "--yes", "--passphrase", ""]
        fake = ["--faked-system-time", at] if at else []
        return subprocess.run([*common, *fake, *arguments], input=data, check=True, capture_output=True).stdout
