"""OpenPGP signatures of metadata, checked by GnuPG with the keys of one file and no others."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import gnupg

from mm_crawler.master.important import BadSignature
from mm_crawler.master.scanned import SourceError

# The file says whom we trust, so GnuPG must not ask itself, nor look for keys elsewhere. SHA-1 is broken.
_OPTIONS = ["--no-options", "--trust-model", "always", "--no-auto-key-retrieve", "--no-autostart"]
_WEAK = ["--weak-digest", "SHA1"]
# ERROR and UNEXPECTED: there is something besides one signed text, which is how signed and unsigned text get mixed up.
_FATAL = {"BADSIG", "ERROR", "UNEXPECTED"}
_STATUS = re.compile(r"^\[GNUPG:\] (\w+) ?(\S*)", re.MULTILINE)
# What gpg reports of a signature that does not count, and how that is said. The first that is there is said.
_REASONS = (
    ("BADSIG", "its signature by key {} is wrong"),
    ("REVKEYSIG", "it is signed by key {}, which was revoked"),
    ("EXPKEYSIG", "it is signed by key {}, which has expired"),
    ("EXPSIG", "its signature by key {} has expired"),
    ("NO_PUBKEY", "it is signed by key {}, which is not in the keyring"),
    ("ERRSIG", "its signature by key {} cannot be checked; its digest may be too weak"),
)


class GnuPGKeyring:
    """The public keys of a file, for the time of a with-block. Raises SourceError when there are none."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        gnupg.logger.setLevel(logging.CRITICAL)  # what gpg reports is judged, and said, here
        self._home = tempfile.mkdtemp(prefix="mm-gnupg-")
        try:
            self._gpg = gnupg.GPG(gnupghome=self._home, options=[*_OPTIONS, *_WEAK])
            self._import()
        except BaseException as error:
            shutil.rmtree(self._home, ignore_errors=True)
            if isinstance(error, OSError):
                reason = "gpg cannot be started; install GnuPG"
                raise SourceError(f"keyring {self._path}: {reason} ({error})") from None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def _import(self) -> None:
        try:
            keys = self._path.read_bytes()
        except OSError as error:
            raise SourceError(f"keyring {self._path} cannot be read: {error.strerror}") from None
        if not self._gpg.import_keys(keys).fingerprints:
            raise SourceError(f"keyring {self._path} holds no OpenPGP public key")

    def check_detached(self, data: bytes, signature: bytes) -> None:
        """Raises BadSignature unless the signature over the data is good."""
        with tempfile.NamedTemporaryFile(dir=self._home) as file:
            file.write(signature)
            file.flush()
            status = self._gpg.verify_data(file.name, data).stderr
        _judge(status)

    def check_inline(self, data: bytes) -> bytes:
        """The text that a clearsigned file's signature covers. Raises BadSignature."""
        result = self._gpg.decrypt(data)
        _judge(result.stderr)
        return bytes(result.data)


def _judge(status: str) -> None:
    """One good signature is enough (archives sign with old and new keys at once), one wrong is too much."""
    found = [(match[1], match[2]) for match in _STATUS.finditer(status)]
    kinds = [kind for kind, _ in found]
    if "GOODSIG" in kinds and not _FATAL & set(kinds) and kinds.count("PLAINTEXT") <= 1:
        return
    for kind, reason in _REASONS:
        for key in (key for seen, key in found if seen == kind):
            raise BadSignature(reason.format(key))
    raise BadSignature("it has no OpenPGP signature" if "NODATA" in kinds else "its signature cannot be used")
