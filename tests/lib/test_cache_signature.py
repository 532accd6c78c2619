"""Who made a cache: Ed25519 signatures beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mm_lib.cache import file, signature


def keys(folder: Path, name: str = "cache.key") -> tuple[Path, Path]:
    return folder / name, signature.make_keys(folder / name)


def publish(path: Path, data: bytes, key: Path) -> None:
    signature.publish(path, data, signature.read_private(key))
    file.publish(path, data)


def test_the_private_key_is_for_its_owner_and_the_public_one_for_all(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    assert (private.stat().st_mode & 0o777, public.stat().st_mode & 0o777) == (0o600, 0o644)


@pytest.mark.parametrize("name", ["cache.key", "cache.key.pub"])
def test_a_key_that_exists_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileExistsError, match="exists already"):
        signature.make_keys(tmp_path / "cache.key")
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {name: "precious"}


def test_a_published_file_fits_its_signature(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    publish(tmp_path / "cache", b"one", private)
    signature.verify(tmp_path / "cache", signature.read_public(public))


def test_one_changed_bit_does_not_fit(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    publish(tmp_path / "cache", b"one", private)
    (tmp_path / "cache").write_bytes(b"onf")
    with pytest.raises(signature.WrongSignature):
        signature.verify(tmp_path / "cache", signature.read_public(public))


def test_the_signature_of_another_key_does_not_fit(tmp_path: Path) -> None:
    publish(tmp_path / "cache", b"one", keys(tmp_path)[0])
    _, other = keys(tmp_path, "other.key")
    with pytest.raises(signature.WrongSignature):
        signature.verify(tmp_path / "cache", signature.read_public(other))


@pytest.mark.parametrize("content", [b"", b"x" * 64, b"x" * 63, b"x" * 10_000], ids=len)
def test_what_is_no_signature_does_not_fit(tmp_path: Path, content: bytes) -> None:
    _, public = keys(tmp_path)
    with pytest.raises(signature.WrongSignature):
        signature.check(b"one", content, signature.read_public(public))


def test_between_the_two_steps_of_publishing_the_signature_fits_the_old_and_the_new_file(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    path, key = tmp_path / "cache", signature.read_public(public)
    publish(path, b"one", private)
    signature.publish(path, b"two", signature.read_private(private))
    signatures = signature.path_of(path).read_bytes()
    signature.check(b"one", signatures, key)
    signature.check(b"two", signatures, key)


def test_a_file_that_we_did_not_sign_is_not_signed_when_it_is_replaced(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    path = tmp_path / "cache"
    publish(path, b"one", private)
    path.write_bytes(b"smuggled in")
    publish(path, b"two", private)
    with pytest.raises(signature.WrongSignature):
        signature.check(b"smuggled in", signature.path_of(path).read_bytes(), signature.read_public(public))


def test_only_the_last_two_files_fit(tmp_path: Path) -> None:
    private, public = keys(tmp_path)
    for data in (b"one", b"two", b"three"):
        publish(tmp_path / "cache", data, private)
    signatures = signature.path_of(tmp_path / "cache").read_bytes()
    assert len(signatures) == signature.MAX_SIGNATURE_BYTES
    with pytest.raises(signature.WrongSignature):
        signature.check(b"one", signatures, signature.read_public(public))


def test_nothing_but_file_previous_and_signature_is_left(tmp_path: Path) -> None:
    private, _ = keys(tmp_path)
    (tmp_path / "out").mkdir()
    for data in (b"one", b"two"):
        publish(tmp_path / "out/cache", data, private)
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"cache", "cache.previous", "cache.sig"}


def test_openssl_agrees(tmp_path: Path) -> None:
    """The first 64 bytes are a plain Ed25519 signature: who does not trust our code can check with another."""
    private, public = keys(tmp_path)
    publish(tmp_path / "cache", b"one", private)
    (tmp_path / "first").write_bytes(signature.path_of(tmp_path / "cache").read_bytes()[:64])
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", "cache"]
    finished = subprocess.run([*command, "-sigfile", "first"], cwd=tmp_path, capture_output=True, text=True)
    assert "Signature Verified Successfully" in finished.stdout, finished.stderr


def made_by_openssl(folder: Path, *options: str) -> tuple[Path, Path]:
    private, public = folder / "other.pem", folder / "other.pub"
    subprocess.run(["openssl", "genpkey", *options, "-out", private], check=True, capture_output=True)
    command = ["openssl", "pkey", "-in", private, "-passin", "pass:x", "-pubout", "-out", public]
    subprocess.run(command, check=True, capture_output=True)
    return private, public


def test_a_key_of_openssl_works(tmp_path: Path) -> None:
    private, public = made_by_openssl(tmp_path, "-algorithm", "ed25519")
    publish(tmp_path / "cache", b"one", private)
    signature.verify(tmp_path / "cache", signature.read_public(public))


def test_keys_of_another_kind_are_refused(tmp_path: Path) -> None:
    private, public = made_by_openssl(tmp_path, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    with pytest.raises(signature.KeyUnusable, match="no Ed25519 key"):
        signature.read_private(private)
    with pytest.raises(signature.KeyUnusable, match="no Ed25519 key"):
        signature.read_public(public)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    private, _ = made_by_openssl(tmp_path, "-algorithm", "ed25519", "-aes256", "-pass", "pass:x")
    with pytest.raises(signature.KeyUnusable, match="without a password"):
        signature.read_private(private)


def test_a_message_about_a_bad_key_does_not_quote_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    with pytest.raises(signature.KeyUnusable) as caught:
        signature.read_private(tmp_path / "key")
    assert "c2VjcmV0" not in str(caught.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(signature.KeyUnusable, match=r"private key .*none cannot be read"):
        signature.read_private(tmp_path / "none")
    with pytest.raises(signature.KeyUnusable, match=r"public key .*none cannot be read"):
        signature.read_public(tmp_path / "none")


def test_without_the_library_a_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(signature.KeyUnusable, match=r"pip install 'mirrormanager\[signing\]'"):
        signature.make_keys(tmp_path / "key")


def test_a_server_that_only_starts_fetching_loads_neither_cryptography_nor_an_http_client() -> None:
    code = "import sys, mm_redirector.fetch; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"cryptography", "urllib3"} & set(finished.stdout.split())
