"""Signed metadata: what counts as a good signature, and what a scan does with metadata that has none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from mm_crawler.master.command import master
from mm_crawler.master.diff import ReadOrder
from mm_crawler.master.formats import FormatError
from mm_crawler.master.important import BadSignature, collect_one, to_read
from mm_crawler.master.scan import Outcome
from mm_crawler.master.scanned import Content, Excludes, ScannedFile, SourceError
from mm_crawler.master.signatures import GnuPGKeyring
from mm_crawler.master.walk import DirectoryTree
from mm_lib.cli.common import Program
from mm_lib.model.content import Category, Directory, FileDetail, Repository
from mm_lib.model.state import CrawlRun
from tests.crawler.master_tree import (
    LONG_AGO,
    NOW,
    OLD,
    TOPDIR,
    add_category,
    make_program,
    put,
    repomd,
    scan,
    settle,
    sha256,
)
from tests.crawler.openpgp import PAST, Signer
from tests.master_servers import Rsyncd

LIMIT = 1 << 20


@pytest.fixture(scope="session")
def revoked(signer: Signer) -> tuple[bytes, bytes]:
    """A signature, and the keyring with the key that was taken back after it."""
    signature = signer.detached("revoked", b"data")
    signer.revoke("revoked")
    return signature, signer.public("revoked")


# -- one signature


def test_a_good_signature_is_accepted(signer: Signer, keyring: Path) -> None:
    with GnuPGKeyring(keyring) as keys:
        keys.check_detached(b"data", signer.detached("archive", b"data"))
        assert keys.check_inline(signer.inline(b"text\n", "archive")) == b"text\n"


def test_an_armoured_keyring_is_as_good(signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_bytes(signer.public("archive", armour=True))
    with GnuPGKeyring(tmp_path / "key.asc") as keys:
        keys.check_detached(b"data", signer.detached("archive", b"data"))


def test_one_known_key_among_several_signatures_is_enough(signer: Signer, keyring: Path) -> None:
    with GnuPGKeyring(keyring) as keys:
        for names in (("archive", "stranger"), ("stranger", "archive"), ("archive", "successor")):
            assert keys.check_inline(signer.inline(b"text\n", *names)) == b"text\n"


def refused_detached(keyring: Path, data: bytes, signature: bytes, reason: str) -> None:
    with GnuPGKeyring(keyring) as keys, pytest.raises(BadSignature, match=reason):
        keys.check_detached(data, signature)


def refused_inline(keyring: Path, text: bytes, reason: str) -> None:
    with GnuPGKeyring(keyring) as keys, pytest.raises(BadSignature, match=reason):
        keys.check_inline(text)


def test_changed_data_is_refused(signer: Signer, keyring: Path) -> None:
    refused_detached(keyring, b"other", signer.detached("archive", b"data"), r"signature by key \w{16} is wrong")
    refused_inline(keyring, signer.inline(b"text\n", "archive").replace(b"text", b"next"), "is wrong")


def test_a_strangers_signature_is_refused(signer: Signer, keyring: Path) -> None:
    refused_detached(keyring, b"data", signer.detached("stranger", b"data"), r"key \w{16}, which is not in the keyring")
    refused_inline(keyring, signer.inline(b"text\n", "stranger"), "not in the keyring")


def test_a_signature_by_an_expired_key_is_refused(signer: Signer, keyring: Path) -> None:
    refused_detached(keyring, b"data", signer.detached("expired", b"data", at=PAST), "which has expired")


def test_a_signature_by_a_revoked_key_is_refused(revoked: tuple[bytes, bytes], tmp_path: Path) -> None:
    signature, public = revoked
    (tmp_path / "keys").write_bytes(public)
    refused_detached(tmp_path / "keys", b"data", signature, "which was revoked")


def test_a_digest_that_is_broken_does_not_count(signer: Signer, keyring: Path) -> None:
    refused_detached(keyring, b"data", signer.detached("archive", b"data", digest="SHA1"), "digest may be too weak")


@pytest.mark.parametrize("signature", [b"", b"no signature", b"\xff" * 100])
def test_what_is_no_signature_is_refused(keyring: Path, signature: bytes) -> None:
    refused_detached(keyring, b"data", signature, "no OpenPGP signature|cannot be used")
    refused_inline(keyring, signature, "no OpenPGP signature|cannot be used")


def test_a_key_in_the_place_of_a_signature_is_refused(signer: Signer, keyring: Path) -> None:
    refused_detached(keyring, b"data", signer.public("archive"), "no OpenPGP signature|cannot be used")


def test_text_around_the_signed_text_is_not_believed(signer: Signer, keyring: Path) -> None:
    signed = signer.inline(b"text\n", "archive")
    with GnuPGKeyring(keyring) as keys:
        assert keys.check_inline(b"before\n\n" + signed + b"\nafter\n") == b"text\n"


def test_two_signed_texts_in_one_file_are_not_taken_for_one(signer: Signer, keyring: Path) -> None:
    one, other = signer.inline(b"one\n", "archive"), signer.inline(b"other\n", "stranger")
    for text in (one + other, other + one):
        with GnuPGKeyring(keyring) as keys, pytest.raises(BadSignature):
            keys.check_inline(text)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read: No such"), (b"junk", "no OpenPGP public key")]
)
def test_a_keyring_that_cannot_be_used_stops_the_scan(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "keys.gpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message), GnuPGKeyring(path):
        pass


def test_nothing_is_left_behind(signer: Signer, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with GnuPGKeyring(keyring) as keys:
        keys.check_detached(b"data", signer.detached("archive", b"data"))
    with pytest.raises(SourceError), GnuPGKeyring(tmp_path / "none"):
        pass
    assert list(tmp_path.iterdir()) == []


# -- a scan of a signed RPM repository

REPODATA = "releases/44/Everything/x86_64/os/repodata"


def publish(top: Path, signer: Signer, data: bytes, name: str | None = "archive", when: int = OLD) -> None:
    """A repomd.xml, signed by that name or by nobody."""
    put(top, f"{REPODATA}/repomd.xml", data)
    if name:
        put(top, f"{REPODATA}/repomd.xml.asc", signer.detached(name, data))
    settle(top, when)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    top = tmp_path / "master"
    top.mkdir()
    return top


@pytest.fixture
def program(engine: Engine, top: Path, keyring: Path) -> Program:
    """A program on a database with a category that must be signed."""
    add_category(engine, top, keyring=str(keyring))
    return make_program(engine)


def published(session: Session, filename: str = "repomd.xml") -> list[str]:
    """Hashes of the versions that clients are told, oldest first."""
    session.expire_all()
    rows = session.scalars(select(FileDetail).where(FileDetail.filename == filename).order_by(FileDetail.timestamp))
    return [row.sha256 or "" for row in rows]


def prefixes(session: Session) -> list[str | None]:
    return list(session.scalars(select(Repository.prefix)))


def later(program: Program, hours: int, **options: bool) -> Outcome:
    return scan(program, NOW + timedelta(hours=hours), **options)


def test_signed_metadata_is_published(program: Program, session: Session, top: Path, signer: Signer) -> None:
    publish(top, signer, repomd(100))
    assert scan(program).alarms == ()
    assert published(session) == [sha256(repomd(100))]
    assert prefixes(session) == ["fedora-44"]


@pytest.mark.parametrize("name", ["stranger", None])
def test_metadata_without_a_good_signature_is_never_published(
    program: Program, session: Session, top: Path, signer: Signer, name: str | None
) -> None:
    publish(top, signer, repomd(100), name)
    for hours in range(3):
        outcome = later(program, hours)
        assert len(outcome.alarms) == outcome.counts["refused"] == 1
        assert published(session) == []
        assert prefixes(session) == []


def test_refused_metadata_leaves_what_was_published_as_it_is(
    program: Program, session: Session, top: Path, signer: Signer
) -> None:
    publish(top, signer, repomd(100))
    scan(program)

    def repodata() -> tuple[object, ...]:
        session.expire_all()
        row = session.scalars(select(Directory).where(Directory.path == f"{TOPDIR}/{REPODATA}")).one()
        return row.mtime, row.listing_digest, row.sample

    before = repodata()
    publish(top, signer, repomd(200, extra="<tags/>"), "stranger", OLD + 60)
    for hours in (1, 2, 3):
        (alarm,) = later(program, hours).alarms
        assert f"{REPODATA}/repomd.xml: refused, it is signed by key" in alarm
        assert published(session) == [sha256(repomd(100))]
        assert repodata() == before, "crawls still compare mirrors with the good state"
    assert prefixes(session) == ["fedora-44"]


def test_a_signature_that_comes_late_is_taken_at_the_next_scan(
    program: Program, session: Session, top: Path, signer: Signer
) -> None:
    publish(top, signer, repomd(100))
    scan(program)
    put(top, f"{REPODATA}/repomd.xml", repomd(200))
    settle(top, OLD + 60)
    (alarm,) = later(program, 1).alarms
    assert "is wrong" in alarm
    publish(top, signer, repomd(200), when=OLD + 60)
    assert later(program, 2).alarms == ()
    assert published(session) == [sha256(repomd(100)), sha256(repomd(200))]


def test_a_missing_signature_is_named(program: Program, top: Path, signer: Signer) -> None:
    publish(top, signer, repomd(100), None)
    (alarm,) = scan(program).alarms
    assert "refused, its signature repomd.xml.asc cannot be read: No such file" in alarm


def test_metadata_that_is_replaced_while_its_signature_is_read_is_no_alarm(
    top: Path, signer: Signer, keyring: Path
) -> None:
    publish(top, signer, repomd(100))
    tree = DirectoryTree(top, Excludes(()))

    def read(path: str, limit: int) -> Content:
        if path.endswith(".asc"):
            publish(top, signer, repomd(200))
        return tree.read(path, limit)

    with GnuPGKeyring(keyring) as keys:
        findings = collect_one(read, f"{REPODATA}/repomd.xml", LIMIT, keys)
    assert findings.refused == {} and findings.files == []
    assert findings.problems == [
        f"{REPODATA}/repomd.xml: changed while its signature was read; the next scan reads it again"
    ]


def test_good_metadata_beside_bad_is_published(program: Program, session: Session, top: Path, signer: Signer) -> None:
    other = "releases/43/Everything/x86_64/os/repodata/repomd.xml"
    put(top, other, repomd(50))
    put(top, f"{other}.asc", signer.detached("successor", repomd(50)))
    publish(top, signer, repomd(100), "stranger")
    assert len(scan(program).alarms) == 1
    assert published(session) == [sha256(repomd(50))]
    assert prefixes(session) == ["fedora-43"]


def test_a_key_that_is_added_lets_the_metadata_in(
    program: Program, session: Session, top: Path, signer: Signer, keyring: Path
) -> None:
    publish(top, signer, repomd(100), "stranger")
    assert scan(program).alarms
    original = keyring.read_bytes()
    try:
        keyring.write_bytes(original + signer.public("stranger"))
        assert later(program, 1).alarms == ()
    finally:
        keyring.write_bytes(original)
    assert published(session) == [sha256(repomd(100))]


def test_unchanged_metadata_is_not_checked_again(
    program: Program, top: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(top, signer, repomd(100))
    scan(program)
    monkeypatch.setattr(GnuPGKeyring, "check_detached", lambda *_: pytest.fail("checked"))
    assert later(program, 1).counts["files_read"] == 0


def test_an_alarm_ends_the_command_with_1_and_is_logged_and_kept_with_the_run(
    program: Program, session: Session, top: Path, signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    publish(top, signer, repomd(100), "stranger")
    result = CliRunner().invoke(master, [], obj=program)
    assert result.exit_code == 1
    assert "1 refused: not signed as they must be" in result.output
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "what was published before stays" in error.getMessage()
    run = session.scalars(select(CrawlRun)).one()
    assert run.outcome == "refused"
    assert run.counts["Fedora Linux"]["refused"] == 1


def test_a_keyring_that_is_gone_fails_the_category(engine: Engine, top: Path) -> None:
    add_category(engine, top, keyring=str(top / "none.gpg"))
    with pytest.raises(SourceError, match=r"none.gpg cannot be read"):
        scan(make_program(engine))


def test_signatures_are_fetched_from_an_rsync_server(
    engine: Engine, session: Session, top: Path, signer: Signer, keyring: Path
) -> None:
    add_category(engine, top)
    program = make_program(engine)
    with Rsyncd(top) as server:
        with program.transaction() as changing:
            source = {"type": "rsync", "url": server.url, "keyring": str(keyring)}
            changing.execute(update(Category).values(source=source, updated_at=LONG_AGO))
        publish(top, signer, repomd(100))
        assert scan(program).alarms == ()
        publish(top, signer, repomd(200), "stranger", OLD + 60)
        assert len(later(program, 1).alarms) == 1
    assert published(session) == [sha256(repomd(100))]


# -- one file


def test_one_file_is_read_with_all_its_hashes(top: Path, signer: Signer, keyring: Path) -> None:
    publish(top, signer, repomd(100))
    tree = DirectoryTree(top, Excludes(()))
    with GnuPGKeyring(keyring) as keys:
        (found,) = collect_one(tree.read, f"{REPODATA}/repomd.xml", LIMIT, keys).files
    assert (found.path, found.filename, found.timestamp) == (REPODATA, "repomd.xml", 100)
    assert set(found.hashes) == {"md5", "sha1", "sha256", "sha512"}


def test_one_file_without_signature_is_refused(top: Path, signer: Signer, keyring: Path) -> None:
    publish(top, signer, repomd(100), None)
    with GnuPGKeyring(keyring) as keys:
        findings = collect_one(DirectoryTree(top, Excludes(())).read, f"{REPODATA}/repomd.xml", LIMIT, keys)
    assert findings.files == [] and list(findings.refused) == [REPODATA]


def test_one_file_of_another_kind_is_none_to_read(top: Path) -> None:
    with pytest.raises(FormatError, match=r"a\.iso is no repomd\.xml"):
        collect_one(DirectoryTree(top, Excludes(())).read, "x/a.iso", LIMIT)


def test_sources_that_fetch_files_fetch_their_signatures_too() -> None:
    files = {name: ScannedFile(name, 1, 0) for name in ("repomd.xml", "repomd.xml.asc", "Release", "SHA256SUMS")}
    order = ReadOrder("a", files, ("Release", "repomd.xml"), ("SHA256SUMS",))
    assert list(to_read([order], signed=False)) == ["a/Release", "a/repomd.xml", "a/SHA256SUMS"]
    assert list(to_read([order], signed=True)) == ["a/Release", "a/repomd.xml", "a/repomd.xml.asc", "a/SHA256SUMS"]
