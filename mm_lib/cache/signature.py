"""Ed25519 signatures over the cache file, detached in FILE.sig: who made a cache, where the checksum only finds damage.

FILE.sig holds one or two raw signatures of 64 bytes: of the file that is being published, and of the one that it
replaces. It is replaced before the file itself, so at every moment it fits the file beside it, also for a reader that
took the file just before a new one came, and after a crash between the two steps.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from mm_lib.cache import file
from mm_lib.cache.codec import CacheError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_SIZE = 64
MAX_SIGNATURE_BYTES = 2 * SIGNATURE_SIZE
SUFFIX = ".sig"


class SignatureError(CacheError):
    """There is no right signature, or no key to make or check one with."""


class KeyUnusable(SignatureError):
    """The key cannot be read, or is of another kind."""


class WrongSignature(SignatureError):
    """Nothing in the signature file was made for these bytes by this key."""


def path_of(path: Path) -> Path:
    """Where the signature of a file is."""
    return path.with_name(path.name + SUFFIX)


def make_keys(path: Path) -> Path:
    """Write a new private key (PEM, only for its owner) and, beside it, the public one, whose path is returned.

    Raises FileExistsError when one of them is there.
    """
    _require_library()
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        raise FileExistsError(f"{public_path} exists already and was left as it is; choose another name")
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    _write_new(path, private, 0o600)
    _write_new(public_path, public, 0o644)
    return public_path


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise FileExistsError(f"{path} exists already and was left as it is; choose another name") from None
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())  # a key that a crash loses would make every signature worthless


def read_private(path: Path) -> Ed25519PrivateKey:
    """The key to sign with; raises KeyUnusable."""
    _require_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, TypeError, ValueError) as error:
        raise KeyUnusable(_unusable(path, "private", error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} is no Ed25519 key; `mm-admin cache keygen` makes one")
    return key


def read_public(path: Path) -> Ed25519PublicKey:
    """The key to check with; raises KeyUnusable."""
    _require_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, TypeError, ValueError) as error:
        raise KeyUnusable(_unusable(path, "public", error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{path} is no Ed25519 key; take the .pub file that `mm-admin cache keygen` wrote")
    return key


def _unusable(path: Path, kind: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the {kind} key {path} cannot be read: {error.strerror}"
    return f"{path} is no {kind} key in PEM without a password"  # the library's words quote what is in the file


def _require_library() -> None:
    """Loaded only where signatures are used: the package does without it else."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise KeyUnusable("signatures need another package: pip install 'mirrormanager[signing]'") from None


def check(data: bytes, signatures: bytes, key: Ed25519PublicKey) -> None:
    """Raises WrongSignature unless one of the signatures was made for the data by the key."""
    if _matching(data, signatures, key) is None:
        raise WrongSignature(
            "the signature does not fit the file and the key: ask for the public key of who publishes it, and do "
            "not use the file"
        )


def _matching(data: bytes, signatures: bytes, key: Ed25519PublicKey) -> bytes | None:
    from cryptography.exceptions import InvalidSignature

    for start in range(0, min(len(signatures), MAX_SIGNATURE_BYTES), SIGNATURE_SIZE):
        one = signatures[start : start + SIGNATURE_SIZE]
        try:
            key.verify(one, data)
        except InvalidSignature:
            continue
        return one
    return None


def publish(path: Path, data: bytes, key: Ed25519PrivateKey) -> None:
    """Replace FILE.sig by one that fits the file in place and the data that will replace it. Call it before that."""
    file.publish(path_of(path), key.sign(data) + _signature_in_place(path, key.public_key()), keep_previous=False)


def _signature_in_place(path: Path, key: Ed25519PublicKey) -> bytes:
    """The old signature of the file in place; empty if there is none: what we did not sign we do not sign now."""
    try:
        return _matching(file.read(path), path_of(path).read_bytes(), key) or b""
    except OSError:
        return b""


def verify(path: Path, key: Ed25519PublicKey) -> None:
    """Check a file against the signature beside it; raises WrongSignature or OSError."""
    check(file.read(path), path_of(path).read_bytes(), key)
