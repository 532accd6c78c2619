"""Access logs become figures: counted once, by the slow and obvious count, without keeping an address."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from mm_lib.cli.main import main
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.statistics import (
    AccessDay,
    AccessDimension,
    AccessLogRead,
    AccessStatistic,
    AccessTally,
    StatisticLevel,
)
from mm_lib.settings import DatabaseSettings, StatisticsSettings
from mm_lib.statistics import counting, reading, record, systems
from mm_lib.statistics.periods import next_start, pieces
from mm_lib.statistics.record import expire, publish
from mm_lib.statistics.tally import Figure
from mm_redirector import access_log
from mm_redirector.access_log import Entry
from tests.lib.statistics_logs import Asking, asking, json_lines, json_record, slow_count

MINIMUM = 5
Figures = dict[tuple[str, str, str], Counter[str]]

CASE_56 = """\
IP: 192.0.2.1; DATE: 2024-01-31; COUNTRY: US; REPO: fedora-41; ARCH: x86_64
IP: 192.0.2.2; DATE: 2024-01-31; COUNTRY: N/A; REPO: epel-9; ARCH: x86_64
IP: 192.0.2.3; DATE: 2024-01-31; COUNTRY: IR; REPO: epel-9; ARCH: aarch64
IP: 192.0.2.4; DATE: 2024-01-30; COUNTRY: US; REPO: fedora-41; ARCH: x86_64
garbage

"""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for all tests of this file; each begins with empty tables."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("statistics") / "test.sqlite"
        path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        url = f"sqlite:///{path}"
    else:
        server = request.getfixturevalue("postgres")
        url = server.url(server.create("migrated"))
    engine = make_engine(DatabaseSettings(url=url))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine)() as session:
        for table in (AccessStatistic, AccessTally, AccessDay, AccessLogRead):
            session.execute(delete(table))
        session.commit()
        yield session


class Admin:
    """mm-admin on the database of the session."""

    def __init__(self, folder: Path, session: Session, minimum: int = MINIMUM) -> None:
        url = session.get_bind().engine.url.render_as_string(hide_password=False)
        self._session = session
        self.said = ""  # on standard error
        self.folder = folder
        self._config = folder / "mm.toml"
        self._config.write_text(f"[database]\nurl = '{url}'\n[statistics]\nminimum_requests = {minimum}\n")

    def systems(self, networks: dict[str, int]) -> None:
        """Configure a database of autonomous systems."""
        writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="GeoLite2-ASN")
        for network, number in networks.items():
            writer.insert_network(IPSet([network]), {"autonomous_system_number": number})
        path = self._config.parent / "asn.mmdb"
        writer.to_db_file(str(path))
        with self._config.open("a") as config:
            config.write(f"[geo]\nasn_database = '{path}'\n")

    def ingest(self, *paths: Path, code: int = 0, stdin: bytes = b"") -> list[dict[str, Any]]:
        arguments = ["--config", str(self._config), "statistics", "ingest", "--json", *map(str, paths)]
        result = CliRunner().invoke(main, arguments, input=stdin)
        assert result.exit_code == code, result.output
        self.said = result.stderr
        self._session.expire_all()
        rows: list[dict[str, Any]] = json.loads(result.stdout)
        return rows


@pytest.fixture
def admin(tmp_path: Path, session: Session) -> Admin:
    return Admin(tmp_path, session)


def figures(session: Session, level: StatisticLevel = StatisticLevel.DAY) -> Figures:
    session.rollback()
    rows = session.scalars(select(AccessStatistic).where(AccessStatistic.level == level))
    return {
        (row.start.isoformat(), row.dimension.value, row.name): Counter(requests=row.requests, clients=row.clients)
        for row in rows
    }


def classic(requests: list[Asking]) -> bytes:
    """The lines that the redirector writes."""
    return "".join(
        access_log.line(Entry(date.fromisoformat(each.day), each.address, each.country, each.repository, each.arch))
        for each in requests
    ).encode()


@pytest.mark.parametrize("form", ["classic", "json"])
def test_figures_equal_a_slow_count(session: Session, admin: Admin, tmp_path: Path, form: str) -> None:
    requests = list(asking(4000, seed=8))
    log = tmp_path / "access.log"
    log.write_bytes(json_lines(requests) if form == "json" else classic(requests))
    admin.ingest(log)
    assert figures(session) == slow_count(requests, MINIMUM, full=form == "json")


def test_a_database_tells_the_systems_that_logs_do_not_and_what_a_log_tells_counts_first(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    def asked(address: str, asn: int) -> Asking:
        return Asking(address, "2026-03-01", "US", "f44", "x86_64", "dnf", "country", "m", asn)

    admin.systems({"198.51.100.0/24": 64496, "2001:db8::/32": 64497})
    requests = [asked("198.51.100.7", 0)] * 6 + [asked("2001:db8::1", 0)] * 7 + [asked("192.0.2.1", 0)] * 8
    (tmp_path / "classic.log").write_bytes(classic(requests))
    (tmp_path / "json.log").write_bytes(json_lines([asked("198.51.100.7", 0)] * 9 + [asked("198.51.100.7", 64500)] * 5))
    admin.ingest(tmp_path / "classic.log", tmp_path / "json.log")
    counted = {name: row["requests"] for (_, dimension, name), row in figures(session).items() if dimension == "asns"}
    assert counted == {"AS64496": 6 + 9, "AS64497": 7, "AS64500": 5}


def test_the_system_that_the_redirector_logs_is_counted(session: Session, admin: Admin, tmp_path: Path) -> None:
    entry = Entry(date(2026, 3, 1), "192.0.2.1", "US", "f44", "x86_64", status=200, asn=64500, outcome="success")
    (tmp_path / "access.log").write_text(access_log.json_line(entry) * 6)
    admin.ingest(tmp_path / "access.log")
    assert figures(session)["2026-03-01", "asns", "AS64500"]["requests"] == 6


def test_systems_of_embargoed_countries_are_not_told(session: Session, admin: Admin, tmp_path: Path) -> None:
    """They would tell the country."""
    admin.systems({"198.51.100.0/24": 64496})
    asked = [Asking("198.51.100.7", "2026-03-01", country, "f44", "x86_64", "dnf", "", "") for country in ("IR", "US")]
    (tmp_path / "access.log").write_bytes(classic(asked * 9))
    admin.ingest(tmp_path / "access.log")
    assert figures(session)["2026-03-01", "asns", "AS64496"]["requests"] == 9


def test_few_networks_are_remembered_and_all_are_known(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "MOST_NETWORKS", 3)
    admin.systems({f"198.51.{number}.0/24": 64496 + number for number in range(9)})
    known = systems.Systems(admin.folder / "asn.mmdb")
    networks = [random.Random(n).randrange(9) for n in range(200)]
    assert [known[b"198.51.%d." % n] for n in networks] == [b"AS%d" % (64496 + n) for n in networks]
    assert len(known) <= 3
    assert [known[text] for text in (b"192.0.2.", b"", b"x", b"2001:db8::1", b"::ffff:198.51.3.7")] == [
        *[b""] * 4,
        b"AS64499",
    ]


def test_without_a_usable_database_of_systems_requests_are_counted_all_the_same(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    admin.systems({})
    (tmp_path / "asn.mmdb").write_bytes(b"nonsense")
    (tmp_path / "access.log").write_bytes(classic(list(asking(20, seed=8))))
    assert admin.ingest(tmp_path / "access.log")[0]["requests"] == 20


def test_of_many_systems_those_that_ask_most_are_told(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_SYSTEMS", 2)
    day = date(2026, 3, 1)
    numbers = {"AS1": 9, "AS2": 30, "AS3": 20, "AS4": 1}
    found = {(day, AccessDimension.ASN, name): Figure(number, record.EMPTY) for name, number in numbers.items()}
    record.add(session, found, {day: b"salt"}, datetime.now(UTC))
    publish(session, [day], MINIMUM)
    rows = session.execute(select(AccessStatistic.name, AccessStatistic.requests).where(AccessStatistic.level == "day"))
    assert dict(iter(rows)) == {"AS2": 30, "AS3": 20, "other": 10}
    session.rollback()


def test_longer_periods_are_the_sums_of_their_days(session: Session, admin: Admin, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(classic(list(asking(900, seed=9))))
    admin.ingest(log)
    sums: Figures = {}
    for (day, dimension, name), numbers in figures(session).items():
        sums.setdefault((day[:7] + "-01", dimension, name), Counter()).update(numbers)
    assert figures(session, StatisticLevel.MONTH) == sums
    weeks = {start for start, _, _ in figures(session, StatisticLevel.WEEK)}
    assert weeks == {"2026-02-23"}


def test_case_56_of_the_reference(session: Session, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(CASE_56)
    admin = Admin(tmp_path, session, minimum=0)
    for _ in range(2):  # again: the same rows
        admin.ingest(log)
        day = {key[1:]: numbers["requests"] for key, numbers in figures(session).items() if key[0] == "2024-01-31"}
        assert {name: number for (dimension, name), number in day.items() if dimension == "countries"} == {
            "US": 1,
            "N/": 2,
        }
        assert {name: number for (dimension, name), number in day.items() if dimension == "repositories"} == {
            "fedora-41": 1,
            "epel-9": 2,
        }
        assert {name: number for (dimension, name), number in day.items() if dimension == "archs"} == {
            "x86_64": 2,
            "aarch64": 1,
        }
        assert day["all", ""] == 3


def test_malformed_lines_are_counted_and_told(session: Session, admin: Admin, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    impossible = "IP: 192.0.2.1; DATE: 2024-02-31; COUNTRY: US; REPO: fedora-41; ARCH: x86_64\n"
    impossible += impossible.replace("2024-02-31", "0001-01-01") + impossible.replace("2024-02-31", "9999-12-31")
    log.write_text(CASE_56 + impossible + '{"@timestamp": 3}\n{"@timestamp"\n[]\n')
    (read,) = admin.ingest(log)
    assert (read["lines"], read["requests"], read["malformed"]) == (12, 4, 8)


@pytest.mark.parametrize(("malformed", "warned"), [(1, False), (3, True)])
def test_many_malformed_lines_are_a_warning_that_cron_mails(
    session: Session, admin: Admin, tmp_path: Path, malformed: int, warned: bool
) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(classic(list(asking(200, seed=3))) + b"garbage\n" * malformed)
    admin.ingest(log)
    assert (f"warning: {log}: 3 of 203 new lines cannot be read" in admin.said) is warned
    assert bool(admin.said) is warned


def test_refusals_and_requests_by_path_are_no_requests_for_a_repository(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    (request,) = asking(1, seed=1)
    good = json_record(request)
    refused = good | {"event.outcome": "failure", "http.response.status_code": 404}
    by_path = {name: value for name, value in good.items() if name != "mirrormanager.repo"}
    log = tmp_path / "access.log"
    log.write_text("".join(json.dumps(record) + "\n" for record in (good, refused, by_path)))
    (read,) = admin.ingest(log)
    assert (read["requests"], read["others"]) == (1, 2)


def test_a_log_counts_once_whatever_it_is_called_and_compressed_with(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    text = classic(list(asking(300, seed=3)))
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "access.log").write_bytes(text[:9000])  # in the middle of a line
    admin.ingest(folder)
    (folder / "access.log").write_bytes(text)
    admin.ingest(folder)
    before = figures(session)
    (folder / "access.log").rename(folder / "access.log.1")
    (folder / "access.log.2.gz").write_bytes(gzip.compress(text))
    (folder / "access.log.3.xz").write_bytes(lzma.compress(text))
    (folder / "access.log.4.zst").write_bytes(reading.zstd.compress(text))
    reads = admin.ingest(folder, Path("-"), stdin=text)
    assert [read["lines"] for read in reads] == [0] * 5
    assert before == figures(session)
    assert before == slow_count(list(asking(300, seed=3)), MINIMUM, full=False)


def test_another_log_of_the_same_day_is_added(session: Session, admin: Admin, tmp_path: Path) -> None:
    requests = list(asking(600, seed=4))
    for number in range(3):
        log = tmp_path / f"{number}.log"
        log.write_bytes(classic(requests[number::3]))
        admin.ingest(log)
    assert figures(session) == slow_count(requests, MINIMUM, full=False)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, reading.zstd.compress])
def test_a_damaged_log_leaves_nothing_and_does_not_stop_the_others(
    session: Session, admin: Admin, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    requests = list(asking(300, seed=5))
    damaged, good = tmp_path / "damaged", tmp_path / "good.log"
    damaged.write_bytes(compress(classic(list(asking(300, seed=6))))[:-900])
    good.write_bytes(classic(requests))
    reads = admin.ingest(damaged, good, code=1)
    assert [bool(read["problem"]) for read in reads] == [True, False]
    assert figures(session) == slow_count(requests, MINIMUM, full=False)


def test_portions_are_counted_by_several_processes(
    session: Session, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PORTION", 20_000)
    requests = list(asking(2000, seed=7))
    log = tmp_path / "access.log"
    log.write_bytes(classic(requests))
    admin.ingest(log)
    assert figures(session) == slow_count(requests, MINIMUM, full=False)


def test_a_process_that_is_killed_is_told_and_the_next_log_is_counted(
    session: Session, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PORTION", 20_000)
    started, killed = counting.Counters._started, set[int]()

    def kill_the_first(counters: counting.Counters) -> ProcessPoolExecutor:
        pool = started(counters)
        if not killed:
            wait([pool.submit(time.sleep, 0.2) for _ in range(StatisticsSettings().processes)])  # all have started
            killed.add(pool.submit(os.getpid).result())
            os.kill(*killed, signal.SIGKILL)
        return pool

    monkeypatch.setattr(counting.Counters, "_started", kill_the_first)
    first, second = list(asking(2000, seed=18)), list(asking(2000, seed=19))
    logs = tmp_path / "1.log", tmp_path / "2.log"
    for log, requests in zip(logs, (first, second), strict=True):
        log.write_bytes(classic(requests))
    reads = admin.ingest(*logs, code=1)
    assert ["was killed" in read["problem"] for read in reads] == [True, False]
    assert figures(session) == slow_count(second, MINIMUM, full=False)
    admin.ingest(*logs)
    assert figures(session) == slow_count(first + second, MINIMUM, full=False)


def test_a_day_is_closed_without_losing_its_figures_and_late_lines_still_count(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    requests = list(asking(900, seed=12))
    early, late = tmp_path / "early.log", tmp_path / "late.log"
    early.write_bytes(classic(requests[::2]))
    admin.ingest(early)
    before = figures(session)
    with transaction(session):
        done = expire(session, StatisticsSettings(), datetime.now(UTC) + timedelta(days=4))
    assert done.closed_days == 3
    assert not session.scalars(select(AccessTally)).all()
    assert figures(session) == before
    late.write_bytes(classic(requests[1::2]))
    admin.ingest(late)
    total = sum(numbers["requests"] for (_, dimension, _), numbers in figures(session).items() if dimension == "all")
    assert total == 900


def test_case_57_what_is_older_than_its_days_goes_and_nothing_else(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(classic(list(asking(900, seed=13))))
    admin.ingest(log)
    before, months = figures(session), figures(session, StatisticLevel.MONTH)
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with transaction(session):
        expire(session, StatisticsSettings(keep_days=1), now)
    kept = {key: numbers for key, numbers in before.items() if key[0] >= "2026-02-28"}
    assert kept
    assert figures(session) == kept
    assert figures(session, StatisticLevel.MONTH) == months


def lines_of(day: str, country: str, number: int, network: int = 2) -> str:
    """Classic lines, one like the other."""
    line = f"IP: 192.0.{network}.1; DATE: {day}; COUNTRY: {country}; REPO: fedora-44; ARCH: x86_64\n"
    return line * number


def test_late_lines_of_a_day_whose_figures_have_expired_are_added_to_its_year_once(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    for number in (20, 30):
        log = tmp_path / f"{number}.log"
        log.write_text(lines_of("2020-05-05", "US", number, network=number))
        admin.ingest(log)
        with transaction(session):
            expire(session, StatisticsSettings(), datetime.now(UTC))
    assert figures(session, StatisticLevel.YEAR)["2020-01-01", "countries", "US"]["requests"] == 50


def test_a_period_is_kept_as_long_as_any_of_its_days(session: Session, admin: Admin, tmp_path: Path) -> None:
    """Ranges are made of it, and what comes in late is added to it."""
    early, late = tmp_path / "early.log", tmp_path / "late.log"
    early.write_text(lines_of("2026-11-29", "US", 20) + lines_of("2026-11-29", "DE", MINIMUM - 1))
    late.write_text(lines_of("2026-11-29", "DE", MINIMUM))
    admin.ingest(early)
    short = StatisticsSettings(keep_days=90, keep_weeks=90, keep_months=90, keep_years=90)
    with transaction(session):
        expire(session, short, datetime(2026, 11, 30, tzinfo=UTC))
    admin.ingest(late)  # DE comes out of "other", which the longer periods must still have
    for level in StatisticLevel:
        by_name = {name: of["requests"] for (_, by, name), of in figures(session, level).items() if by == "countries"}
        assert by_name == {"US": 20, "DE": 2 * MINIMUM - 1}
    with transaction(session):
        expire(session, short, datetime(2027, 4, 2, tzinfo=UTC))
    assert not any(figures(session, level) for level in StatisticLevel)


def test_a_log_that_is_rotated_while_it_is_read_counts_as_itself(
    session: Session, admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, rotated = tmp_path / "access.log", tmp_path / "access.log.1"
    log.write_text(lines_of("2026-11-28", "US", 20))
    find = reading.find

    def rotate(*arguments: Any) -> reading.Progress:
        if not rotated.exists():
            log.rename(rotated)
            log.write_text(lines_of("2026-11-29", "DE", 30))
        return find(*arguments)

    monkeypatch.setattr(reading, "find", rotate)
    admin.ingest(log)
    admin.ingest(log, rotated)
    counted = figures(session, StatisticLevel.YEAR)
    assert [counted["2026-01-01", "countries", name]["requests"] for name in ("US", "DE")] == [20, 30]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress, reading.zstd.compress])
def test_the_beginning_of_a_log_that_was_counted_is_not_counted_once_more(
    session: Session, admin: Admin, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """Copies are read while they are made."""
    log, text = tmp_path / "access.log", classic(list(asking(600, seed=17)))
    log.write_bytes(text[:30_000])
    admin.ingest(log)
    log.write_bytes(text)
    admin.ingest(log)
    before = figures(session)
    log.write_bytes(compress(text[:20_000]))
    (read,) = admin.ingest(log, code=1)
    assert "only the beginning" in read["problem"]
    log.write_bytes(compress(text))
    assert admin.ingest(log)[0]["lines"] == 0
    assert figures(session) == before == slow_count(list(asking(600, seed=17)), MINIMUM, full=False)


def test_short_logs_that_begin_with_the_same_line_are_two_logs(session: Session, admin: Admin, tmp_path: Path) -> None:
    for number, country in enumerate(("DE", "US")):
        log = tmp_path / f"{number}.log"
        log.write_text(lines_of("2026-11-28", "FR", 1) + lines_of("2026-11-28", country, 9 - number))
        admin.ingest(log)
    counted = figures(session)
    assert [counted["2026-11-28", "countries", name]["requests"] for name in ("DE", "US")] == [9, 8]


def test_a_log_is_forgotten_after_a_while(session: Session, admin: Admin, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(classic(list(asking(9, seed=14))))
    admin.ingest(log)
    with transaction(session):
        assert expire(session, StatisticsSettings(), datetime.now(UTC) + timedelta(days=99)).logs == 0
        assert expire(session, StatisticsSettings(), datetime.now(UTC) + timedelta(days=101)).logs == 1


def test_a_log_is_remembered_as_long_as_it_lies_there_though_nothing_is_new(
    session: Session, admin: Admin, tmp_path: Path
) -> None:
    """Or it would count again one day."""
    log = tmp_path / "access.log"
    log.write_bytes(classic(list(asking(9, seed=14))))
    admin.ingest(log)
    with transaction(session):
        session.scalars(select(AccessLogRead)).one().read_at -= timedelta(days=99)
    admin.ingest(log)
    with transaction(session):
        assert expire(session, StatisticsSettings(), datetime.now(UTC) + timedelta(days=2)).logs == 0
    assert admin.ingest(log)[0]["lines"] == 0


def test_a_country_comes_out_of_other_when_its_day_grows(session: Session, admin: Admin, tmp_path: Path) -> None:
    requests = [Asking("192.0.2.1", "2026-05-05", "TV", "fedora-44", "x86_64", "dnf", "", "")] * 8
    log = tmp_path / "access.log"
    log.write_bytes(classic(requests[:4]))
    admin.ingest(log)
    assert ("2026-05-05", "countries", "other") in figures(session)
    log.write_bytes(classic(requests))
    admin.ingest(log)
    assert figures(session) == slow_count(requests, MINIMUM, full=False)
    assert ("2026-01-01", "countries", "TV") in figures(session, StatisticLevel.YEAR)


def test_no_address_of_a_client_is_kept_in_the_database_or_any_file(
    session: Session, tmp_path: Path, engine: Engine
) -> None:
    requests = list(asking(400, seed=15))
    logs = tmp_path / "logs"
    logs.mkdir()
    for form in ("classic", "json"):
        log = access_log.AccessLog(logs / form, form, networks=True)  # type: ignore[arg-type]
        log.start()
        for each in requests:
            day = datetime.fromisoformat(each.day).replace(tzinfo=UTC).timestamp()
            log.write(Entry(day, each.address, each.country, each.repository, each.arch, status=200))
        log.close()
    reads = Admin(tmp_path, session).ingest(logs)
    assert [read["requests"] for read in reads] == [400, 400]
    kept = "".join(
        str(row)
        for table in (AccessStatistic, AccessTally, AccessDay, AccessLogRead)
        for row in session.execute(select(*table.__table__.columns))
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    if engine.url.database and engine.dialect.name == "sqlite":
        files += [path for path in Path(engine.url.database).parent.glob("test.sqlite*") if path.is_file()]
    everything = kept.encode() + b"".join(path.read_bytes() for path in files)
    addresses = {each.address for each in requests if not each.address.endswith((".0", "::", "::0"))}
    assert len(addresses) > 300
    assert not [address for address in addresses if f" {address};".encode() in everything]
    assert not [address for address in addresses if f'"{address}"'.encode() in everything]
    assert not [address for address in addresses if address.encode() in kept.encode()]


def test_days_that_are_published_again_stay_as_they_are(session: Session, admin: Admin, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(classic(list(asking(300, seed=16))))
    admin.ingest(log)
    before = [figures(session, level) for level in StatisticLevel]
    with transaction(session):
        publish(session, [date.fromisoformat("2026-02-28")], MINIMUM)
    assert [figures(session, level) for level in StatisticLevel] == before


def test_a_range_is_made_of_few_periods_that_cover_each_day_once() -> None:
    found = pieces(date(2024, 12, 30), date(2026, 2, 2))
    assert [(level.value, start.isoformat()) for level, start in found] == [
        ("day", "2024-12-30"),
        ("day", "2024-12-31"),
        ("year", "2025-01-01"),
        ("month", "2026-01-01"),
        ("day", "2026-02-01"),
        ("day", "2026-02-02"),
    ]


def test_any_range_is_covered_once_and_no_further() -> None:
    draw = random.Random(5)
    for _ in range(200):
        first = date(2023, 1, 1) + timedelta(days=draw.randrange(900))
        last = first + timedelta(days=draw.randrange(900))
        day = first
        for level, start in pieces(first, last):
            assert start == day
            day = next_start(level, start)
        assert day == last + timedelta(days=1)
