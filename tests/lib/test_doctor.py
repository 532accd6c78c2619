"""mm-admin doctor: each thing that can be wrong in the registry, and what the world contradicts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from sqlalchemy.orm import Session

from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.base import State
from mm_lib.model.hosts import AsnKind, CountryKind, Host, HostAsn, HostCountry, HostNetblock
from mm_lib.model.sites import Site
from mm_lib.model.state import Health, HostCategoryHealth
from mm_lib.services import doctor, probes
from mm_lib.services.doctor import CertificateError, Finding, Probes, Problem
from mm_lib.services.errors import NotFound
from mm_lib.settings import DatabaseSettings, GeoSettings
from tests import factories as make
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses
from tests.servers import Nginx

NOW = datetime(2026, 11, 25, tzinfo=UTC)
SOON = timedelta(days=14)
ADDRESS = "192.0.2.1"


def world(
    addresses: dict[str, list[str]] | None = None,
    country: str = "",
    asn: int | None = None,
    expires: datetime | CertificateError = NOW + timedelta(days=90),
) -> Probes:
    """A world in which every name has an address, if nothing else is said."""

    def certificate(_name: str, _port: int) -> datetime:
        if isinstance(expires, CertificateError):
            raise expires
        return expires

    return Probes(
        resolve=lambda name: [ADDRESS] if addresses is None else addresses.get(name, []),
        country=lambda _: country,
        asn=lambda _: asn,
        certificate=certificate,
    )


@pytest.fixture
def host(session: Session) -> Host:
    """A host with which nothing is wrong."""
    fedora = make.category(session)
    top = make.directory(session, fedora, "releases")
    host = make.host(session, "m", country="DE")
    host.last_crawled_at = NOW
    make.carries(session, host, fedora, [top], url="https://m.example.org/fedora")
    session.flush()
    return host


def findings(session: Session, asked: Probes | None = None) -> list[tuple[str, Problem, str]]:
    session.flush()
    session.expire_all()
    found = doctor.diagnose(doctor.read(session), asked or world(), NOW, SOON)
    assert {finding.site for finding in found} <= {"Site of m"}
    return [(finding.host, finding.problem, finding.detail) for finding in found]


def problems(session: Session, asked: Probes | None = None) -> list[Problem]:
    return [problem for _, problem, _ in findings(session, asked)]


def test_with_nothing_wrong_nothing_is_found(session: Session, host: Host) -> None:
    assert findings(session) == []


def test_a_site_without_hosts(session: Session) -> None:
    session.add(Site(name="Site of m"))
    assert findings(session) == [("", Problem.NO_HOST, "the site has none")]


def test_what_is_switched_off_is_reported_with_the_reason_and_not_looked_at(session: Session, host: Host) -> None:
    host.state, host.state_reason, host.state_by = State.ADMIN_DISABLED, "too slow", "alice"
    host.state_since = NOW
    host.categories.clear()
    detail = "admin-disabled since 2026-11-25 by alice: too slow"
    assert findings(session, world({})) == [("m", Problem.SWITCHED_OFF, detail)]
    host.site.state, host.site.state_reason, host.site.state_by = State.OWNER_DISABLED, "moved", "bob"
    host.site.state_since = NOW
    detail = "owner-disabled since 2026-11-25 by bob: moved"
    assert findings(session, world({})) == [("", Problem.SWITCHED_OFF, detail)]


def test_a_host_without_categories(session: Session, host: Host) -> None:
    host.categories.clear()
    assert problems(session) == [Problem.NO_CATEGORY]


def test_a_category_without_a_url_and_one_with_private_urls_only(session: Session, host: Host) -> None:
    host.categories[0].urls[0].private = True
    assert findings(session) == [("m", Problem.NO_URL, "Fedora Linux: all its URLs are private")]
    host.categories[0].urls.clear()
    assert findings(session) == [("m", Problem.NO_URL, "Fedora Linux: no URL says where")]


def test_a_private_host_without_netblock_and_asn_serves_nobody(session: Session, host: Host) -> None:
    host.private, host.last_checked_in_at = True, NOW
    assert problems(session) == [Problem.NO_CLIENTS]
    host.netblocks.append(HostNetblock(netblock="m.example.org"))
    assert problems(session) == []
    host.netblocks.clear()
    host.asns.append(HostAsn(asn=64500, kind=AsnKind.PEER))
    assert problems(session) == []


def test_a_private_host_has_to_check_in(session: Session, host: Host) -> None:
    host.site.private = True
    host.netblocks.append(HostNetblock(netblock="m.example.org"))
    assert problems(session) == [Problem.NEVER_CHECKED_IN]


def test_a_host_that_was_never_crawled(session: Session, host: Host) -> None:
    host.last_crawled_at = None
    assert problems(session) == [Problem.NEVER_CRAWLED]
    host.categories[0].always_up_to_date = True
    assert problems(session) == []


def test_a_host_that_has_nothing_up_to_date(session: Session, host: Host) -> None:
    make.carries(session, host, make.category(session, "Fedora EPEL", "pub/epel"))
    assert findings(session) == [("m", Problem.NOTHING_UP_TO_DATE, "Fedora EPEL: no directory is")]


def test_a_category_that_could_not_be_reached(session: Session, host: Host) -> None:
    health = session.get_one(HostCategoryHealth, host.categories[0].id)
    health.health, health.reason = Health.QUARANTINED, "connection refused"
    assert findings(session) == [("m", Problem.UNREACHABLE, "Fedora Linux: connection refused")]


# -- the world


def test_a_name_without_an_address(session: Session, host: Host) -> None:
    assert findings(session, world({})) == [("m", Problem.NO_DNS, "m.example.org has no address")]


def test_addresses_in_another_country(session: Session, host: Host) -> None:
    detail = "registered in DE, its addresses are in FR"
    assert findings(session, world(country="FR")) == [("m", Problem.OTHER_COUNTRY, detail)]
    assert findings(session, world(country="DE")) == []
    host.countries.append(HostCountry(country="FR", kind=CountryKind.EXTRA))
    assert findings(session, world(country="FR")) == []
    host.countries.clear()
    host.country = None
    assert findings(session, world(country="FR")) == []


def test_one_address_in_the_registered_country_is_enough(session: Session, host: Host) -> None:
    asked = world({"m.example.org": ["192.0.2.1", "192.0.2.2"]})
    anycast = Probes(
        asked.resolve, lambda address: {"192.0.2.1": "FR"}.get(address, "DE"), asked.asn, asked.certificate
    )
    assert findings(session, anycast) == []


def test_addresses_in_another_autonomous_system(session: Session, host: Host) -> None:
    host.asns.append(HostAsn(asn=64501, kind=AsnKind.PEER))
    assert findings(session, world(asn=64500)) == []
    host.asns.append(HostAsn(asn=64502, kind=AsnKind.OWN))
    detail = "registered in AS64502, its addresses are in AS64500"
    assert findings(session, world(asn=64500)) == [("m", Problem.OTHER_ASN, detail)]
    assert findings(session, world(asn=64502)) == []


@pytest.mark.parametrize(
    ("expires", "detail"),
    [
        (NOW + SOON, None),
        (NOW + SOON - timedelta(minutes=1), "it ends on 2026-12-08 23:59 UTC"),
        (CertificateError("certificate has expired"), "certificate has expired"),
    ],
)
def test_a_certificate_that_ends_soon_or_is_not_believed(
    session: Session, host: Host, expires: datetime | CertificateError, detail: str | None
) -> None:
    expected = [("m", Problem.CERTIFICATE, f"m.example.org:443: {detail}")] if detail else []
    assert findings(session, world(expires=expires)) == expected


def test_only_https_urls_have_certificates_and_each_server_is_asked_once(session: Session, host: Host) -> None:
    asked = []

    def certificate(name: str, port: int) -> datetime:
        asked.append((name, port))
        return NOW + timedelta(days=90)

    epel = make.category(session, "Fedora EPEL", "pub/epel")
    make.carries(session, host, epel, [make.directory(session, epel, "9")], url="https://m.example.org/epel")
    other = make.category(session, "Other", "pub/other")
    make.carries(session, host, other, [make.directory(session, other, "9")], url="rsync://m.example.org/other")
    plain = world()
    assert findings(session, Probes(plain.resolve, plain.country, plain.asn, certificate)) == []
    assert asked == [("m.example.org", 443)]


def test_offline_nothing_is_asked(session: Session, host: Host) -> None:
    assert doctor.diagnose(doctor.read(session), None, NOW, SOON) == []


def test_only_one_site_is_looked_at(session: Session, host: Host) -> None:
    session.add(Site(name="Empty"))
    session.flush()
    assert [site.name for site in doctor.read(session, "Empty")] == ["Empty"]
    with pytest.raises(NotFound):
        doctor.read(session, "Nowhere")


# -- real probes, and the command


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A web server with a certificate that ends in two days."""
    with Nginx({"m": tmp_path_factory.mktemp("m")}, tls=True) as server:
        yield server


def database(path: Path, record: dict[str, object]) -> Path:
    """An MMDB in which this machine has the record."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="Test")
    writer.insert_network(IPSet(["127.0.0.0/8", "::1/128"]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def admin(tmp_path: Path, database_url: str, server: Nginx) -> Admin:
    """A registry with the server as its only mirror, and settings that know where it stands."""
    engine = make_engine(DatabaseSettings(url=database_url))
    with make_sessions(engine)() as session, transaction(session):
        fedora = make.category(session)
        row = make.host(session, "m", country="DE")
        row.last_crawled_at = NOW
        row.asns.append(HostAsn(asn=64500, kind=AsnKind.OWN))
        url = server.https_urls["m"].replace("127.0.0.1", "localhost")
        make.carries(session, row, fedora, [make.directory(session, fedora, "releases")], url=f"{url}/fedora")
    engine.dispose()
    assert server.certificate
    admin = Admin(tmp_path, database_url)
    country = database(tmp_path / "country.mmdb", {"country": {"iso_code": "de"}})
    asn = database(tmp_path / "asn.mmdb", {"autonomous_system_number": 64500})
    admin.config.write_text(
        f"{admin.config.read_text()}[geo]\ncountry_database = '{country}'\nasn_database = '{asn}'\n"
        f"[crawler]\nca_file = '{server.certificate.certificate}'\n"
    )
    return admin


def test_a_registry_without_findings_ends_with_exit_code_0(admin: Admin) -> None:
    assert admin.ok("doctor", "--certificate-days", "1") == "Nothing is wrong with 1 sites.\n"
    assert admin.ok("doctor", "--certificate-days", "1", "--json") == "[]\n"


def test_findings_are_a_table_or_json_and_exit_code_1(admin: Admin) -> None:
    table = admin("doctor", "--site", "Site of m")
    assert table.exit_code == 1
    header, row = table.output.splitlines()
    assert header.split() == ["site", "host", "problem", "detail"]
    assert "certificate" in row and "localhost:" in row and "it ends on" in row
    as_json = admin("doctor", "--json")
    assert (as_json.exit_code, '"problem": "certificate"' in as_json.output) == (1, True)


def test_offline_the_certificate_is_not_seen(admin: Admin) -> None:
    admin.ok("doctor", "--offline")


def test_the_databases_contradict_what_is_registered(admin: Admin) -> None:
    admin.ok("host", "set", "m", "--country", "FR")
    said = admin("doctor", "--certificate-days", "1").output
    assert "registered in FR, its addresses are in DE" in said


def test_a_site_that_is_not_there_and_a_database_that_cannot_be_read_are_errors(admin: Admin) -> None:
    assert "no site 'X'" in admin.refused("doctor", "--site", "X")
    (admin.folder / "asn.mmdb").write_bytes(b"nonsense")
    assert "asn.mmdb cannot be used" in admin.refused("doctor")


def end(server: Nginx) -> tuple[str, int]:
    return "localhost", int(server.https_urls["m"].rpartition(":")[2])


def test_a_certificate_that_nobody_trusts_is_a_finding(server: Nginx) -> None:
    asked = probes.make(GeoSettings(), None, 5)
    with pytest.raises(CertificateError, match="self-signed certificate"):
        asked.certificate(*end(server))


def test_a_server_without_tls_or_without_answer_is_a_finding(server: Nginx) -> None:
    asked = probes.make(GeoSettings(), None, 5)
    with pytest.raises(CertificateError, match="no TLS connection"):
        asked.certificate("127.0.0.1", int(server.urls["m"].rpartition(":")[2]))
    with pytest.raises(CertificateError, match="no TLS connection"):
        asked.certificate("127.0.0.1", 1)


def test_names_are_resolved_and_nonsense_has_no_address() -> None:
    assert "127.0.0.1" in probes.resolve("localhost")
    assert probes.resolve("no..name") == []


def test_without_databases_nothing_is_known_of_an_address() -> None:
    asked = probes.make(GeoSettings(), None, 5)
    assert (asked.country("127.0.0.1"), asked.asn("127.0.0.1")) == ("", None)


def test_findings_are_sorted_by_site_host_and_problem() -> None:
    sites = [doctor.SiteRecord(name, "", ()) for name in ("b", "a")]
    found = doctor.diagnose(sites, None, NOW, SOON)
    assert found == [Finding(name, "", Problem.NO_HOST, "the site has none") for name in ("a", "b")]
