"""mm-admin netblock sync: what providers publish, given as a file or URL, to the hosts of each region (case 55)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.services import clouds, download
from mm_lib.services.download import DownloadError, read_document
from mm_lib.services.errors import InvalidValue
from mm_lib.settings import DatabaseSettings
from tests import factories as make
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses
from tests.servers import Nginx

AWS: dict[str, Any] = {
    "syncToken": "1",
    "createDate": "2026-11-01-00-00-00",
    "prefixes": [
        {"ip_prefix": "3.5.140.0/22", "region": "east", "service": "EC2", "network_border_group": "east"},
        {"ip_prefix": "3.5.140.0/22", "region": "east", "service": "AMAZON", "network_border_group": "east"},
        {"ip_prefix": "13.34.0.0/16", "region": "west", "service": "EC2", "network_border_group": "west"},
        {"ip_prefix": "15.0.0.0/16", "region": "GLOBAL", "service": "EC2", "network_border_group": "GLOBAL"},
        {"ip_prefix": "52.0.0.0/16", "region": "east", "service": "S3", "network_border_group": "east"},
    ],
    "ipv6_prefixes": [
        {"ipv6_prefix": "2600:1f00::/24", "region": "east", "service": "EC2", "network_border_group": "east"}
    ],
}
AZURE = {
    "changeNumber": 1,
    "cloud": "Public",
    "values": [
        {
            "name": name,
            "id": name,
            "properties": {"region": region, "systemService": "", "addressPrefixes": prefixes, "platform": "Azure"},
        }
        for name, region, prefixes in (
            ("AzureCloud", "", ["20.0.0.0/16"]),
            ("AzureCloud.east", "east", ["20.1.0.0/16", "2603:1000::/40"]),
            ("Storage.east", "east", ["20.2.0.0/16"]),
        )
    ],
}
GCP = {
    "syncToken": "1",
    "creationTime": "2026-11-01T00:00:00",
    "prefixes": [
        {"ipv4Prefix": "34.1.0.0/20", "service": "Google Cloud", "scope": "east"},
        {"ipv6Prefix": "2600:1900::/28", "service": "Google Cloud", "scope": "east"},
        {"ipv4Prefix": "34.2.0.0/20", "service": "Google Cloud", "scope": "global"},
    ],
}
OCI = {
    "last_updated_timestamp": "2026-11-01T00:00:00.000000",
    "regions": [
        {
            "region": "east",
            "cidrs": [
                {"cidr": "129.146.0.0/21", "tags": ["OCI"]},
                {"cidr": "134.70.8.0/21", "tags": ["OBJECT_STORAGE", "OSN"]},
            ],
        }
    ],
}


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("provider", "document", "east"),
    [
        ("aws", AWS, {"3.5.140.0/22", "2600:1f00::/24"}),
        ("azure", AZURE, {"20.1.0.0/16", "2603:1000::/40"}),
        ("gcp", GCP, {"34.1.0.0/20", "2600:1900::/28"}),
        ("oci", OCI, {"129.146.0.0/21"}),
    ],
)
def test_each_providers_format_gives_the_networks_of_customers_by_region(
    provider: str, document: object, east: set[str]
) -> None:
    regions = clouds.parse(provider, as_json(document))
    assert {str(network) for network in regions["east"]} == east
    assert set(regions) <= {"east", "west"}


def test_another_service_can_be_asked_for() -> None:
    assert {str(network) for network in clouds.parse("aws", as_json(AWS), "S3")["east"]} == {"52.0.0.0/16"}


def changed(**fields: object) -> bytes:
    return as_json(AWS | fields)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not aws's format: document: Invalid JSON"),
        (b"<html>", "Invalid JSON"),
        (as_json([]), "not aws's format"),
        (as_json(GCP), "not aws's format: prefixes.0.ip_prefix: Field required"),
        (changed(prefixes=[], ipv6_prefixes=[]), "it holds no network of EC2 in any region"),
        (changed(prefixes=[{**AWS["prefixes"][0], "ip_prefix": "0.0.0.0/0"}]), "too large for a region"),
        (changed(ipv6_prefixes=[{**AWS["ipv6_prefixes"][0], "ipv6_prefix": "2000::/3"}]), "too large for a region"),
        (changed(prefixes=[{**AWS["prefixes"][0], "ip_prefix": "3.5.140.0/33"}]), "does not appear to be"),
        (b"[" * 100_000, "Invalid JSON"),
    ],
)
def test_what_is_not_the_format_is_refused_with_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        clouds.parse("aws", data)
    assert message in str(caught.value)


# -- into the registry


@pytest.fixture
def admin(tmp_path: Path, database_url: str) -> Admin:
    engine = make_engine(DatabaseSettings(url=database_url))
    with make_sessions(engine)() as session, transaction(session):
        for name in ("mirror-east", "mirror-north"):
            make.host(session, name)
    engine.dispose()
    admin = Admin(tmp_path, database_url)
    write(admin, AWS)
    return admin


def write(admin: Admin, document: object) -> None:
    (admin.folder / "ranges.json").write_bytes(as_json(document))


def sync(admin: Admin, *arguments: str) -> str:
    given = arguments or ("--map", "east=mirror-east")
    result = admin("netblock", "sync", str(admin.folder / "ranges.json"), "--provider", "aws", *given)
    assert result.exit_code == 0, result.output
    return str(result.output)


def netblocks(admin: Admin) -> set[tuple[str, str, str]]:
    return {(row["host"], row["netblock"], row["name"]) for row in admin.rows("netblock", "list")}


OURS = "aws east (cloud sync)"
EAST = {("mirror-east", "3.5.140.0/22", OURS), ("mirror-east", "2600:1f00::/24", OURS)}


def test_a_regions_host_gets_what_it_lacks_and_loses_what_is_gone(admin: Admin) -> None:
    sync(admin)
    assert netblocks(admin) == EAST
    write(admin, AWS | {"prefixes": [{**AWS["prefixes"][0], "ip_prefix": "3.6.0.0/16"}]})
    said = sync(admin)
    assert f"mirror-east 3.5.140.0/22: {OURS} -> -" in said
    assert netblocks(admin) == {("mirror-east", "3.6.0.0/16", OURS), ("mirror-east", "2600:1f00::/24", OURS)}


def test_a_second_sync_of_the_same_changes_and_says_nothing(admin: Admin) -> None:
    sync(admin)
    assert sync(admin) == ""


def test_a_dry_run_only_prints(admin: Admin) -> None:
    assert f"mirror-east 3.5.140.0/22: - -> {OURS}" in sync(admin, "--map", "east=mirror-east", "--dry-run")
    assert netblocks(admin) == set()


def test_a_sync_is_recorded_and_taken_back(admin: Admin) -> None:
    sync(admin)
    admin.ok("undo", "1")
    assert netblocks(admin) == set()


def test_what_was_added_by_hand_stays(admin: Admin) -> None:
    admin.ok("netblock", "add", "mirror-east", "192.0.2.0/24", "--name", "campus")
    admin.ok("netblock", "add", "mirror-east", "3.5.140.0/22", "--name", "ours anyway")
    sync(admin)
    by_hand = {("mirror-east", "192.0.2.0/24", "campus"), ("mirror-east", "3.5.140.0/22", "ours anyway")}
    assert by_hand <= netblocks(admin)
    write(admin, AWS | {"prefixes": [{**AWS["prefixes"][0], "ip_prefix": "3.6.0.0/16"}]})
    sync(admin)
    assert by_hand <= netblocks(admin)


def test_regions_without_a_host_are_passed_over(admin: Admin) -> None:
    sync(admin, "--map", "*=mirror-{region}")
    assert netblocks(admin) == EAST


def test_a_region_that_the_provider_does_not_have_is_said_and_loses_nothing(admin: Admin) -> None:
    sync(admin)
    write(admin, AWS | {"prefixes": [AWS["prefixes"][2]], "ipv6_prefixes": []})
    assert "note: aws has no region east: mirror-east keeps what it has of it" in sync(admin)
    assert netblocks(admin) == EAST


def test_a_map_file_names_the_hosts_and_an_option_goes_before_it(admin: Admin) -> None:
    path = admin.folder / "map.toml"
    path.write_text('[aws]\neast = "mirror-north"\nwest = "mirror-north"\n[gcp]\neast = "nosuch"\n')
    sync(admin, "--map-file", str(path), "--map", "east=mirror-east")
    assert netblocks(admin) == {*EAST, ("mirror-north", "13.34.0.0/16", "aws west (cloud sync)")}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Say which host stands in which region"),
        (("--map", "east"), 1, "'east' does not look like region=host"),
        (("--map", "east=nosuch"), 1, "no host 'nosuch'"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(
    admin: Admin, arguments: tuple[str, ...], code: int, message: str
) -> None:
    source = str(admin.folder / "ranges.json")
    assert message in admin.refused("netblock", "sync", source, "--provider", "aws", *arguments, code=code)


def test_a_map_file_that_is_no_table_is_refused() -> None:
    for text in ("east = 'a'", "not toml", "[aws]\neast = 1"):
        with pytest.raises(InvalidValue, match=r"must have a table like \[aws\]"):
            clouds.parse_map_file(text, "aws")


# -- documents from the web


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    root = tmp_path_factory.mktemp("web")
    (root / "ranges.json").write_bytes(as_json(AWS))
    (root / "packed.json").write_bytes(gzip.compress(b"0" * 1_000_000))
    extra = """
        location /packed.json { add_header Content-Encoding gzip; }
        location /there { return 302 /ranges.json; }
        location /round { return 302 /round; }
        location /plain { return 302 http://example.invalid/; }
    """
    with Nginx({"web": root}, extra={"web": extra}, tls=True) as server:
        yield server


def fetch(web: Nginx, path: str, limit: int = clouds.MAX_BYTES) -> bytes:
    assert web.certificate
    return read_document(f"{web.https_urls['web']}/{path}", limit, 10, web.certificate.certificate)


@pytest.mark.parametrize("path", ["ranges.json", "there"])
def test_a_document_is_fetched_by_https_and_redirects_are_followed(web: Nginx, path: str) -> None:
    assert fetch(web, path) == as_json(AWS)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nosuch", "answered 404, not 200"),
        ("round", "more than 3 redirects"),
        ("plain", "http://example.invalid/: must be https"),
        ("packed.json", "larger than the 10,000 bytes"),
    ],
)
def test_a_document_that_cannot_be_had_says_why(web: Nginx, path: str, message: str) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(web, path, 10_000)
    assert message in str(caught.value)


def test_a_server_that_cannot_prove_who_it_is_is_not_believed(web: Nginx) -> None:
    with pytest.raises(DownloadError, match="cannot be fetched"):
        read_document(f"{web.https_urls['web']}/ranges.json", 1_000_000, 10)


def test_a_document_that_takes_too_long_is_left(web: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 100))
    monkeypatch.setattr(download.time, "monotonic", lambda: next(clock))
    with pytest.raises(DownloadError, match="did not end in time"):
        read_document(f"{web.urls['web']}/ranges.json", 1_000_000, 10)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_document(str(tmp_path / "x"), 5, 1) == b"12345"
    with pytest.raises(DownloadError, match="larger than the 4 bytes"):
        read_document(str(tmp_path / "x"), 4, 1)


def test_the_command_takes_a_url(admin: Admin, web: Nginx) -> None:
    url = f"{web.urls['web']}/ranges.json"
    admin.ok("netblock", "sync", url, "--provider", "aws", "--map", "east=mirror-east")
    assert netblocks(admin) == EAST
