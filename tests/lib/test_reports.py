"""Reports: numbers equal a slow, obvious count; the same data is the same report; every way out works."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_lib.cli.main import main
from mm_lib.database import make_engine, make_sessions, transaction
from mm_lib.model.accounts import User
from mm_lib.model.base import State
from mm_lib.model.content import Product, Repository, RepositoryRedirect, Version
from mm_lib.model.hosts import HostCategory
from mm_lib.model.sites import MemberRole, SiteMember
from mm_lib.model.state import Health, HealthChange, HostCategoryHealth
from mm_lib.model.statistics import AccessDimension, AccessStatistic, PropagationVersion, StatisticLevel
from mm_lib.reports import distribution, mirrors, requests, spreading
from mm_lib.reports.document import Document, Text, percent
from mm_lib.reports.periods import period
from mm_lib.reports.rendering import escaped, escaped_start, markdown
from mm_lib.reports.spreading import Spreading, Update
from mm_lib.settings import DatabaseSettings
from mm_lib.statistics.figures import Span
from mm_lib.statistics.periods import start_of
from tests import factories
from tests.outbox.receivers import MailServer
from tests.postgres import free_port

MONDAY = date(2026, 11, 16)
WEEK = Span(MONDAY, MONDAY + timedelta(days=6))
BEFORE = Span(MONDAY - timedelta(days=7), MONDAY - timedelta(days=1))
HOUR = timedelta(hours=1)
START = datetime(2026, 11, 16, tzinfo=UTC)
NASTY = "evil | <b>x</b> `rm` & [y](z)"
REPOSITORIES = {"fedora-44": "Fedora", "updates-released-f44": "Fedora", "epel-10": "EPEL", "core-44": "Fedora"}


@dataclass
class World:
    """A database, what was put into it, and mm-admin on it."""

    engine: Engine
    folder: Path
    asked: list[tuple[date, str, int]] = field(default_factory=list)
    updates: list[tuple[str, int | None]] = field(default_factory=list)

    def admin(self, *arguments: str, mail_port: int = 0) -> Result:
        config = self.folder / "mm.toml"
        text = f'[database]\nurl = "{self.engine.url.render_as_string(hide_password=False)}"\n'
        if mail_port:
            text += f'[mail]\nserver = "127.0.0.1"\nport = {mail_port}\nsecurity = "none"\nsender = "mm@example.org"\n'
        config.write_text(text)
        return CliRunner().invoke(main, ["--config", str(config), "report", *arguments])

    def week(self, *arguments: str, kind: str = "weekly", mail_port: int = 0) -> Result:
        return self.admin(kind, "--since", str(WEEK.first), "--until", str(WEEK.last), *arguments, mail_port=mail_port)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Built once; no test changes it."""
    folder = tmp_path_factory.mktemp("reports")
    if request.param == "sqlite":
        path = folder / "test.sqlite"
        path.write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
        url = f"sqlite:///{path}"
    else:
        server = request.getfixturevalue("postgres")
        url = server.url(server.create("migrated"))
    made = World(make_engine(DatabaseSettings(url=url)), folder)
    with make_sessions(made.engine)() as session, transaction(session):
        _build(session, made)
    yield made
    made.engine.dispose()


@pytest.fixture
def session(world: World) -> Iterator[Session]:
    with make_sessions(world.engine)() as session:
        yield session


def _build(session: Session, made: World) -> None:
    linux = factories.category(session)
    fedora = [
        factories.repository(session, factories.directory(session, linux, name), name)
        for name in ("fedora-44", "updates-released-f44")
    ]
    extra = factories.repository(session, factories.directory(session, linux, "10"), "epel-10")
    extra.version = Version(product=Product(name="EPEL"), name="10")
    session.add(RepositoryRedirect(from_prefix="core-44", to_prefix="fedora-44"))
    _requests(session, made)
    _updates(session, made, fedora)
    _hosts(session, linux)


def _requests(session: Session, made: World) -> None:
    chance = random.Random(4)
    sums: Counter[tuple[StatisticLevel, AccessDimension, date, str]] = Counter()
    for days in range(-40, 14):
        day = MONDAY + timedelta(days=days)
        for name in (*REPOSITORIES, "nobodys"):
            made.asked.append((day, name, chance.randrange(1, 5000)))
    for day, name, number in made.asked:
        for level in StatisticLevel:
            start = start_of(level, day)
            sums[level, AccessDimension.REPOSITORY, start, name] += number
            sums[level, AccessDimension.ALL, start, ""] += number
            sums[level, AccessDimension.COUNTRY, start, "DE" if number % 3 else "FR"] += number
            sums[level, AccessDimension.CLIENT, start, "dnf"] += number
            sums[level, AccessDimension.ASN, start, "AS64500" if number % 5 else "other"] += number
            sums[level, AccessDimension.HOST, start, ("good.example.org", "bad.example.org")[number % 2]] += number
    for (level, dimension, start, name), number in sums.items():
        session.add(
            AccessStatistic(level=level, dimension=dimension, start=start, name=name, requests=number, clients=1)
        )


def _updates(session: Session, made: World, fedora: list[Repository]) -> None:
    chance = random.Random(5)
    for repository in fedora:
        for place in range(9):
            seconds = None if place == 3 else chance.randrange(600, 200_000)
            inside = place < 7  # the others are before and after the week
            at = (
                START + place * 20 * HOUR
                if inside
                else START + (place - 8) * 400 * HOUR - HOUR + 800 * HOUR * (place - 7)
            )
            if inside:
                made.updates.append((str(repository.prefix), seconds))
            session.add(
                PropagationVersion(
                    repository_id=repository.id,
                    timestamp=place,
                    published_at=at,
                    measured_at=at + 10 * HOUR,
                    mirrors=10,
                    mirrors_reached=8 if seconds else 2,
                    mirrors_80=seconds,
                    requests_80=seconds and seconds // 2,
                )
            )


def _hosts(session: Session, linux: object) -> None:
    def carried(name: str, **options: object) -> HostCategory:
        host = factories.host(session, name, **options)  # type: ignore[arg-type]
        host.created_at = START - 900 * HOUR
        row = factories.carries(session, host, linux)  # type: ignore[arg-type]
        row.created_at = START - 900 * HOUR
        return row

    def turn(row: HostCategory, hours: int, health: Health, reason: str = "") -> None:
        session.add(HealthChange(host_category_id=row.id, at=START + hours * HOUR, health=health, reason=reason))
        session.flush()

    good = carried("good.example.org")
    good.host.site.weekly_report = True
    for name, role in (("ann", MemberRole.OWNER), ("bob", MemberRole.ADMIN), ("eve", MemberRole.VIEWER)):
        session.add(SiteMember(site=good.host.site, user=User(name=name, email=f"{name}@example.org"), role=role))
    bad = carried("bad.example.org")
    turn(bad, -48, Health.QUARANTINED, "long ago")
    turn(bad, 42, Health.ACTIVE)
    turn(bad, 100, Health.QUARANTINED, NASTY)
    turn(bad, 142, Health.PROBATION)
    turn(bad, 168 + 5, Health.QUARANTINED, "later")
    down = carried("down.example.org", private=True)
    turn(down, 160, Health.QUARANTINED, NASTY)
    later = carried("flips.example.org")
    turn(later, 180, Health.QUARANTINED, "after the week")
    health = session.get_one(HostCategoryHealth, later.id)
    health.health, health.since = Health.QUARANTINED, START + 180 * HOUR
    carried("retired.example.org", state=State.OWNER_DISABLED)
    carried("off.example.org", state=State.AUTO_DISABLED)
    new = carried("new.example.org")
    new.host.created_at = new.created_at = START + 84 * HOUR
    gone = carried("gone.example.org")
    gone.host.deleted_at = START + HOUR
    later = carried("later.example.org")
    later.host.created_at = later.created_at = START + 200 * HOUR


def slow_sum(made: World, product: str, span: Span) -> int:
    """Request by request."""
    return sum(
        number
        for day, name, number in made.asked
        if REPOSITORIES.get(name, "") == product and span.first <= day <= span.last
    )


@pytest.mark.parametrize("product", ["Fedora", "EPEL", ""])
def test_requests_of_a_product_are_those_for_its_repositories_and_their_old_names(
    world: World, session: Session, product: str
) -> None:
    found = requests.by_product(session, WEEK, BEFORE)[product]
    assert (found.requests, found.before) == (slow_sum(world, product, WEEK), slow_sum(world, product, BEFORE))
    assert sum(row.requests for row in found.repositories) == found.requests


def test_charts_show_every_day_of_a_product(world: World, session: Session) -> None:
    found = requests.over_time(session, StatisticLevel.DAY, WEEK.first, WEEK.last)["Fedora"]
    days = [WEEK.first + timedelta(days=n) for n in range(7)]
    assert found == [(str(day), slow_sum(world, "Fedora", Span(day, day))) for day in days]


def test_spreading_is_the_median_over_the_updates_of_the_week(world: World, session: Session) -> None:
    found = spreading.by_product(session, WEEK)["Fedora"]
    times = [seconds for _, seconds in world.updates if seconds is not None]
    assert len(found.updates) == len(world.updates)
    assert found.median_of("mirrors_80") == median(times)
    assert found.not_reached == len(world.updates) - len(times)


def named(session: Session) -> dict[str, mirrors.Mirror]:
    return {mirror.name: mirror for mirror in mirrors.mirrors(session, WEEK)}


def test_uptime_is_the_share_of_hours_outside_of_quarantine(session: Session) -> None:
    found = named(session)
    away = {"good.example.org": 0, "bad.example.org": 42 + 42, "down.example.org": 8}
    for name, hours in away.items():
        assert found[name].uptime == pytest.approx(1 - hours / 168)


def test_a_report_of_last_month_tells_how_mirrors_were_then(session: Session) -> None:
    found = named(session)
    assert {name: mirror.condition for name, mirror in found.items()} == {
        "bad.example.org": "probation",
        "down.example.org": "quarantined",
        "flips.example.org": "active",
        "good.example.org": "active",
        "new.example.org": "active",
        "off.example.org": "switched off",
        "retired.example.org": "switched off",
    }


def test_deleted_mirrors_are_gone_in_the_period_when_it_happened(session: Session) -> None:
    assert mirrors.gone(session, WEEK) == [("gone.example.org", "Site of gone.example.org")]
    assert mirrors.gone(session, BEFORE) == []


def test_the_markdown_report_has_the_figures_and_who_needs_attention_and_why(world: World) -> None:
    shown = world.week("--product", "Fedora")
    assert shown.exit_code == 0, shown.output
    assert f"{slow_sum(world, 'Fedora', WEEK):,} requests" in shown.stdout
    assert "New mirrors:\n\n- new.example.org of Site of new.example.org" in shown.stdout
    attention = shown.stdout.partition("Mirrors that need attention")[2]
    assert "| down.example.org (private) | Site of down.example.org | Fedora Linux: not reached" in attention
    assert "| off.example.org | Site of off.example.org | switched off by test: test |" in attention
    assert "retired.example.org" not in attention  # its owner knows
    assert "not reached once; clients could be sent there 50.0 % of the time" in attention
    assert "EPEL" not in shown.stdout


def test_the_systems_that_ask_most_are_named_with_their_share(world: World) -> None:
    inside = [number for day, _, number in world.asked if WEEK.first <= day <= WEEK.last]
    asked = sum(number for number in inside if number % 5)
    row = next(line for line in world.week().stdout.splitlines() if line.startswith("| AS64500"))
    assert row.startswith(f"| AS64500 | {asked:,} | {percent(asked / sum(inside))} |")


def test_countries_are_called_by_their_names(world: World) -> None:
    table = world.week("--product", "Fedora").stdout.partition("**Countries**")[2]
    assert "\n| Germany |" in table and "\n| France |" in table
    assert "| DE |" not in table


def test_what_was_not_reached_is_no_time() -> None:
    def said(*times: tuple[int | None, int | None]) -> str:
        (text, _) = distribution._spreading(Spreading(tuple(Update("r", *both) for both in times)))
        assert isinstance(text, Text)
        return text.text

    assert said((None, None)) == "1 update was followed. 1 did not reach 80 % of the mirrors."
    assert "80 % of the mirrors had one after 2.0 h. These are medians" in said((7200, None))
    assert "not reached" not in said((None, 7200), (None, None))


def test_a_product_that_does_not_exist_is_told(world: World) -> None:
    shown = world.week("--product", "Nope")
    assert (shown.exit_code, "no product 'Nope'" in shown.stderr) == (1, True)


def test_days_that_are_not_over_are_refused(world: World) -> None:
    shown = world.admin("daily", "--until", f"{datetime.now(UTC):%Y-%m-%d}")
    assert (shown.exit_code, "is not over" in shown.stderr) == (1, True)


@pytest.mark.parametrize("suffix", ["md", "html", "pdf"])
def test_the_same_data_is_the_same_file(world: World, suffix: str) -> None:
    files = [world.folder / f"{name}.{suffix}" for name in ("one", "two")]
    for file in files:
        shown = world.week("--output", str(file))
        assert shown.exit_code == 0, shown.output
    first, second = (file.read_bytes() for file in files)
    assert len(first) > 1000
    assert first == second


def test_the_html_report_is_one_file_without_scripts(world: World) -> None:
    page = world.week("--format", "html").stdout
    assert 'src="data:image/png;base64,' in page
    assert 'alt="Line chart: Requests of Fedora. Lowest: ' in page
    assert "evil | &lt;b&gt;x&lt;/b&gt;" in page
    assert "<script" not in page
    assert "http" not in page


def test_the_year_has_its_months_and_the_sum_of_all_days(world: World) -> None:
    shown = world.admin("year", "--since", "2026-01-01", "--until", "2026-11-29")
    assert shown.exit_code == 0, shown.output
    year = Span(date(2026, 1, 1), date(2026, 11, 29))
    assert f"{slow_sum(world, 'Fedora', year):,} requests" in shown.stdout


def test_what_others_wrote_is_no_markup(world: World) -> None:
    text = markdown(Document("T", START, (Text(f"- {NASTY}\n# x"),), ()))
    assert text == "# T\n\n\\- evil \\| \\<b\\>x\\</b\\> \\`rm\\` \\& \\[y\\](z) \\# x\n"
    assert (escaped("a_b _c_"), escaped_start("12. x")) == ("a_b \\_c\\_", "12\\. x")


def test_nearly_all_is_never_rounded_to_all() -> None:
    assert (percent(0.99999), percent(1.0), percent(None)) == ("99.9 %", "100.0 %", "–")


# -- to sites


def slow_first(made: World, host: str, span: Span) -> int:
    """As _requests() handed them out."""
    odd = host == "bad.example.org"
    return sum(number for day, _, number in made.asked if number % 2 == odd and span.first <= day <= span.last)


def test_a_site_is_told_how_often_its_mirrors_came_first_and_the_share(world: World) -> None:
    shown = world.week("Site of good.example.org", kind="site")
    assert shown.exit_code == 0, shown.output
    first = slow_first(world, "good.example.org", WEEK)
    everything = sum(number for day, _, number in world.asked if WEEK.first <= day <= WEEK.last)
    assert f"handed out first {first:,} times" in shown.stdout
    assert f"| good.example.org | {first:,} | {first / everything:.1%}".replace("%", " %") in shown.stdout
    assert "Nothing. Thank you for running a mirror." in shown.stdout


def test_a_site_is_told_what_to_fix_and_nothing_of_others(world: World) -> None:
    shown = world.week("Site of down.example.org", kind="site")
    fix = shown.stdout.partition("## What to fix")[2].partition("##")[0]
    assert "down.example.org: Fedora Linux: not reached: clients are not sent there (evil \\| \\<b\\>x" in fix
    assert "bad.example.org" not in shown.stdout


def test_sites_that_want_reports_get_them_by_mail_to_those_who_speak_for_them(world: World) -> None:
    with MailServer() as server:
        shown = world.week("--subscribed", kind="site", mail_port=server.port)
    assert (shown.exit_code, shown.stdout) == (0, "2 mails sent.\n"), shown.output
    assert sorted(server.receivers) == [["ann@example.org"], ["bob@example.org"]]


# -- mail


def test_a_mail_has_text_html_its_charts_and_the_pdf(world: World) -> None:
    with MailServer() as server:
        shown = world.week("--format", "pdf", "--mail", "x@example.org", mail_port=server.port)
    assert shown.exit_code == 0, shown.output
    parts = {part.get_content_type(): part for part in server.mails[0].walk()}
    assert parts["text/plain"].get_content().startswith("# All distributions: week of 2026-11-16")
    page = parts["text/html"].get_content()
    assert f"cid:{parts['image/png']['Content-ID'][1:-1]}" in page
    assert parts["application/pdf"].get_content().startswith(b"%PDF-")


def test_an_address_that_is_refused_costs_no_other_and_is_told(world: World) -> None:
    with MailServer() as server:
        server.answers["gone@example.org"] = "550 unknown"
        addresses = ("--mail", "gone@example.org", "--mail", "there@example.org")
        shown = world.week(*addresses, mail_port=server.port)
    assert server.receivers == [["there@example.org"]]
    assert (shown.exit_code, "gone@example.org: the mail server answered 550" in shown.stderr) == (1, True)


def test_without_a_mail_server_it_says_which_setting_is_missing(world: World) -> None:
    shown = world.week("--mail", "x@example.org")
    assert (shown.exit_code, "mail.server is not set" in shown.stderr) == (2, True)


# -- ways out


def test_a_file_that_cannot_be_written_is_told(world: World) -> None:
    shown = world.week("--output", str(world.folder / "nowhere" / "report.md"))
    assert (shown.exit_code, "nowhere" in shown.stderr) == (1, True)


@pytest.mark.parametrize("module", ["jinja2", "matplotlib", "fpdf"])
def test_a_library_that_is_missing_is_named_with_its_extra(sqlite_template: Path, module: str) -> None:
    program = f"import sys; sys.modules['{module}'] = None; from mm_lib.cli.main import main; main()"
    command = [sys.executable, "-c", program, "report", "daily", "--format", "pdf"]
    environment = {"MM_DATABASE__URL": f"sqlite:///{sqlite_template}"}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    told = f"Error: Reports need {module}, which is not installed: pip install 'mirrormanager[reports]'\n"
    assert (finished.returncode, finished.stderr) == (1, told)


def test_nobody_wants_reports_so_no_mail_server_is_needed(sqlite_template: Path) -> None:
    environment = {"MM_DATABASE__URL": f"sqlite:///{sqlite_template}"}
    shown = CliRunner().invoke(main, ["report", "site", "--subscribed"], env=environment)
    assert (shown.exit_code, shown.stdout) == (0, "0 mails sent.\n")


def test_when_the_mail_server_is_down_all_who_got_nothing_are_named(world: World) -> None:
    shown = world.week("--mail", "a@example.org", "--mail", "b@example.org", mail_port=free_port())
    assert shown.exit_code == 1
    assert re.findall(r"^(?:Error: )?(\S+): the mail server 127.0.0.1 cannot be used", shown.stderr, re.MULTILINE) == [
        "a@example.org",
        "b@example.org",
    ]


@pytest.mark.parametrize(
    ("level", "named", "expected"),
    [
        (StatisticLevel.DAY, (None, None), ("2026-11-24", "2026-11-24", "day")),
        (StatisticLevel.WEEK, (None, None), ("2026-11-16", "2026-11-22", "week")),
        (StatisticLevel.YEAR, (None, None), ("2025-01-01", "2025-12-31", "year")),
        (StatisticLevel.WEEK, ("2026-11-02", None), ("2026-11-02", "2026-11-08", "week")),
        (StatisticLevel.WEEK, (None, "2026-11-24"), ("2026-11-23", "2026-11-24", "period")),
        (StatisticLevel.YEAR, ("2026-01-01", None), ("2026-01-01", "2026-11-24", "period")),
        (StatisticLevel.DAY, ("2026-11-01", "2026-11-10"), ("2026-11-01", "2026-11-10", "period")),
    ],
)
def test_a_report_is_about_the_last_period_that_is_over_or_the_days_that_are_named(
    level: StatisticLevel, named: tuple[str | None, str | None], expected: tuple[str, str, str]
) -> None:
    ends = [date.fromisoformat(day) if day else None for day in named]
    found = period(level, ends[0], ends[1], today=date(2026, 11, 25))
    assert (str(found.span.first), str(found.span.last), found.word) == expected
    assert found.compared.last == found.span.first - timedelta(days=1)
