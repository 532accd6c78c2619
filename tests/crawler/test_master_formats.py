"""What stands in repomd.xml and in checksum files, well-formed and hostile."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_crawler.master.formats import FormatError, is_checksum_file, is_important, parse_checksums, repomd_timestamp
from mm_crawler.master.important import hash_all, read_file
from mm_crawler.master.scanned import FileProblem
from tests.crawler.master_tree import repomd

LIMIT = 1 << 20


@pytest.mark.parametrize(
    ("timestamps", "newest"), [((7.9, 9, -1, 3), 9), (("7.9",), 7), ((1386855915, 1386855914), 1386855915), ((), None)]
)
def test_the_newest_timestamp_counts(timestamps: tuple[object, ...], newest: int | None) -> None:
    assert repomd_timestamp(repomd(*timestamps)) == newest


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not well-formed"),
        (repomd(1)[:-5], "not well-formed"),
        (b"\xff\xfe\x00<", "not well-formed"),
        (b"<repomd>\xe9</repomd>", "not well-formed"),
        (b"<html/>", "root element"),
        (repomd("soon"), "'soon' is not a number"),
        (repomd("inf"), "'inf' is not a number"),
        (repomd("1e30"), "out of range"),
        (b"<!DOCTYPE repomd [<!ENTITY a 'b'>]>" + repomd(1), "document type declaration"),
        (b"<!DOCTYPE repomd SYSTEM 'file:///etc/passwd'>" + repomd(1), "document type declaration"),
        (b"<repomd>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</repomd>", "nested more than 20 deep"),
    ],
)
def test_what_is_no_repository_metadata_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        repomd_timestamp(data)


def test_an_entity_bomb_is_refused_without_being_expanded() -> None:
    bomb = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    data = f'<!DOCTYPE repomd [<!ENTITY e0 "ha">{bomb}]>'.encode() + repomd("&e11;")
    with pytest.raises(FormatError):
        repomd_timestamp(data)


def test_text_outside_ascii_is_fine() -> None:
    assert repomd_timestamp(repomd(5, extra="<tags><content>Fedora – schön</content></tags>")) == 5


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=300))
def test_no_bytes_whatever_crash_the_parsers(data: bytes) -> None:
    with suppress(FormatError):
        repomd_timestamp(data)
    with suppress(FormatError):
        parse_checksums("CHECKSUM", data)


@pytest.mark.parametrize(
    "name",
    [
        "Fedora-44-x86_64-CHECKSUM",
        "CHECKSUM",
        "CHECKSUM.sha256",
        "SHA256SUMS",
        "SHA512SUM",
        "SHA1SUM",
        "MD5SUMS",
        "sha256sum.txt",
        "md5sum.txt",
        "x.iso.sha256",
        "x.iso.sha512sum",
        "x.sha1sum",
    ],
)
def test_these_are_checksum_files(name: str) -> None:
    assert is_checksum_file(name) and is_important(name)


@pytest.mark.parametrize(
    "name", ["SHA256SUMS.gpg", "sha256sum-1.0.rpm", "x.iso", "README", "sha384sums", "checksum.py"]
)
def test_these_are_not(name: str) -> None:
    assert not is_important(name)


A, B = "a" * 64, "b" * 128


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"SHA256 (x.iso) = {A}", {"x.iso": {"sha256": A}}),
        (f"{A} *x.iso", {"x.iso": {"sha256": A}}),
        (f"{A}  x.iso", {"x.iso": {"sha256": A}}),
        (f"{A.upper()}  ./x.iso", {"x.iso": {"sha256": A}}),
        (f"SHA512 (with blank.iso) = {B}", {"with blank.iso": {"sha512": B}}),
        (f"SHA256 (x.iso) = {B}", {}),
        (f"SHA384 (x.iso) = {'a' * 96}", {}),
        (f"{'a' * 63} *x.iso", {}),
        ("-----BEGIN PGP SIGNED MESSAGE-----", {}),
        ("Hash: SHA256", {}),
        ("# x.iso: 12 bytes", {}),
        (f"{A}", {}),
        ("", {}),
    ],
)
def test_a_line_of_a_checksum_file(line: str, expected: dict[str, dict[str, str]]) -> None:
    assert parse_checksums("Fedora-44-CHECKSUM", line.encode()) == expected


def test_a_hash_of_another_kind_than_the_name_promises_is_passed_over() -> None:
    assert parse_checksums("SHA512SUMS", f"{A} *x.iso\n{B} *y.iso".encode()) == {"y.iso": {"sha512": B}}


def test_two_kinds_of_hash_for_one_file_belong_together() -> None:
    text = f"SHA256 (x) = {A}\nSHA512 (x) = {B}\n"
    assert parse_checksums("CHECKSUM", text.encode()) == {"x": {"sha256": A, "sha512": B}}


def test_a_file_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(FormatError, match="two sha256 hashes for x"):
        parse_checksums("CHECKSUM", f"SHA256 (x) = {A}\nSHA256 (x) = {'c' * 64}\n".encode())


@pytest.mark.parametrize(
    "text",
    [
        b"a" * (8 << 20),
        b"MD5 (" + b") = a" * (1 << 20),
        b"-----BEGIN PGP SIGNED MESSAGE-----\n" * 20_000,
        b"SHA256 (x) = " + b"a" * (8 << 20),
    ],
    ids=["line", "brackets", "armour", "hash"],
)
def test_a_gigantic_checksum_file_takes_little_memory_and_yields_nothing(text: bytes) -> None:
    tracemalloc.start()
    assert parse_checksums("CHECKSUM", text) == {}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * len(text)


def test_a_checksum_file_with_a_line_for_each_byte_is_refused() -> None:
    with pytest.raises(FormatError, match="8388608 lines, more than any checksum file needs"):
        parse_checksums("CHECKSUM", b"\n" * (8 << 20))


# -- reading


def test_all_four_hashes_come_from_one_reading(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello")
    content = read_file(str(tmp_path / "x"), LIMIT)
    assert content.size == 5
    assert content.hashes == {
        "md5": "5d41402abc4b2a76b9719d911017c592",
        "sha1": hashlib.sha1(b"hello").hexdigest(),
        "sha256": hashlib.sha256(b"hello").hexdigest(),
        "sha512": hashlib.sha512(b"hello").hexdigest(),
    }
    assert hash_all(content.data) == content.hashes


def test_a_file_that_is_missing_too_large_or_no_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 11)
    for name, message in (("gone", "No such file"), ("large", "11 bytes, more than the 10"), (".", "not a regular")):
        with pytest.raises(FileProblem, match=message):
            read_file(str(tmp_path / name), 10)


def test_a_pipe_in_the_place_of_a_file_does_not_stop_the_scan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "repomd.xml")
    with pytest.raises(FileProblem, match="not a regular file"):
        read_file(str(tmp_path / "repomd.xml"), LIMIT)


@pytest.mark.parametrize("change", ["append", "rewrite", "truncate"])
def test_a_file_that_changes_while_it_is_read_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    original = os.read

    def read(descriptor: int, count: int) -> bytes:
        data = original(descriptor, count)
        if data:
            with path.open("ab" if change == "append" else "r+b") as file:
                file.truncate(1) if change == "truncate" else file.write(b"new")
        return data

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(FileProblem, match="changed while it was read"):
        read_file(str(path), 100)
