"""Real lists of mirrors: imported whole, repeatable, and export, import, export is a fixed point."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mm_lib.database import freeze, make_engine, make_sessions, transaction
from mm_lib.importers import exporting
from mm_lib.importers.cleaning import Options, clean
from mm_lib.importers.drafts import MirrorDraft
from mm_lib.importers.importing import Prepared, execute, prepare, read_source
from mm_lib.importers.merging import Merger
from mm_lib.importers.report import Outcome, Report
from mm_lib.model.content import Category, Product
from mm_lib.registry.carry_out import Powers
from mm_lib.registry.current import Sites, read_sites
from mm_lib.registry.documents import plain, site_urls
from mm_lib.registry.planning import Wish, carry_out_plan
from mm_lib.registry.reading import check
from mm_lib.registry.writing import write
from mm_lib.services.host_details import Limits
from mm_lib.settings import DatabaseSettings
from tests.postgres import Postgres

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITS = Limits()
POWERS = Powers("tester", NOW, LIMITS, local=False)
APT = Path("/usr/share/python-apt/templates")
LISTS = Path(__file__).parent / "lists"
CATEGORIES = ("AlmaLinux", "Debian", "Debian CD", "Ubuntu")


def filled(url: str) -> Engine:
    """A migrated database with the categories."""
    engine = make_engine(DatabaseSettings(url=url))
    with make_sessions(engine)() as session, transaction(session):
        product = Product(name="P")
        session.add_all([Category(product=product, name=name) for name in CATEGORIES])
    return engine


@pytest.fixture(scope="module")
def engines(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Engine]]:
    """Two databases: what comes out of the first goes into the second."""
    folder = tmp_path_factory.mktemp("lists")
    made = []
    for name in ("one", "two"):
        shutil.copy(sqlite_template, folder / name)
        made.append(filled(f"sqlite:///{folder / name}"))
    yield made
    for engine in made:
        engine.dispose()


def sessions(engine: Engine) -> Session:
    """A session that sees the database as of one moment."""
    session = make_sessions(engine)()
    freeze(session)
    return session


def looked_at(engine: Engine, format_name: str, path: Path, categories: dict[str, str]) -> Prepared:
    """A dry run."""
    found = read_source(format_name, [(path.name, path.read_bytes())])
    with sessions(engine) as session:
        return prepare(session, found, Options(categories, limits=LIMITS), POWERS)


def imported(engine: Engine, format_name: str, path: Path, categories: dict[str, str]) -> Prepared:
    """An import."""
    prepared = looked_at(engine, format_name, path, categories)
    with sessions(engine) as session:
        execute(session, prepared, POWERS)
        session.commit()
    return prepared


def registry(engine: Engine) -> Sites:
    """Everything."""
    with sessions(engine) as session:
        return read_sites(session, NOW)


def applied(engine: Engine, texts: dict[str, str]) -> None:
    """Files of the registry made true."""
    checked = check([(f"{name}.yaml", text) for name, text in texts.items()], LIMITS)
    assert checked.problems == []
    with sessions(engine) as session:
        carry_out_plan(session, Wish([one.site for one in checked.sites], True, True), POWERS, None)
        session.commit()


def exported(engine: Engine) -> dict[str, str]:
    """The registry as YAML."""
    return {name: write(site) for name, site in registry(engine).items()}


@pytest.fixture(scope="module")
def ubuntu() -> tuple[Sites, Report]:
    """The larger list, as sites of an empty registry."""
    report = Report()
    merger = Merger({}, report)
    for one in read_source("apt-list", [("Ubuntu.mirrors", (APT / "Ubuntu.mirrors").read_bytes())]):
        assert isinstance(one, MirrorDraft)
        if cleaned := clean(one, Options({"": "Ubuntu"}, limits=LIMITS), report):
            merger.add(cleaned)
    return {site.name: site for site in merger.sites()}, report


@pytest.fixture(scope="module")
def reports(engines: list[Engine]) -> dict[str, Prepared]:
    """All lists, imported into the first database."""
    one = engines[0]
    parts = {"archive": "Debian", "cdimage": "Debian CD"}
    return {
        "Debian": imported(one, "apt-list", APT / "Debian.mirrors", {"": "Debian"}),
        "masterlist": imported(one, "masterlist", LISTS / "Mirrors.masterlist", parts),
        "almalinux": imported(one, "almalinux", LISTS / "almalinux.yml", {"": "AlmaLinux"}),
    }


def test_every_real_entry_of_debian_is_taken(reports: dict[str, Prepared]) -> None:
    counted = reports["Debian"].report.counts["url"]
    assert (counted[Outcome.TAKEN], counted[Outcome.REFUSED]) == (311, 0)


def test_every_real_entry_of_ubuntu_is_taken_but_the_one_that_is_no_mirror(ubuntu: tuple[Sites, Report]) -> None:
    sites, report = ubuntu
    assert sum(len(list(site_urls(site))) for site in sites.values()) == 573
    assert [note.subject for note in report.notes] == ["mirror://mirrors.ubuntu.com/mirrors.txt"]


def test_what_ubuntus_list_becomes_is_the_same_in_the_registry(
    ubuntu: tuple[Sites, Report], sqlite_template: Path, tmp_path: Path
) -> None:
    texts = {name: write(site) for name, site in ubuntu[0].items()}
    shutil.copy(sqlite_template, tmp_path / "ubuntu")
    engine = filled(f"sqlite:///{tmp_path / 'ubuntu'}")
    applied(engine, texts)
    assert exported(engine) == texts
    engine.dispose()


def test_nothing_of_an_import_is_refused_by_the_registry(reports: dict[str, Prepared]) -> None:
    assert [refusal for prepared in reports.values() for refusal in prepared.plan.refused] == []


def test_an_import_can_be_repeated_without_a_change(engines: list[Engine], reports: dict[str, Prepared]) -> None:
    again = looked_at(engines[0], "apt-list", APT / "Debian.mirrors", {"": "Debian"})
    assert again.plan.steps == []
    assert again.report.total(Outcome.UNCHANGED) == len(
        {step.host for step in reports["Debian"].plan.steps if step.host}
    )
    assert looked_at(engines[0], "almalinux", LISTS / "almalinux.yml", {"": "AlmaLinux"}).plan.steps == []


def test_the_registry_exported_and_applied_elsewhere_is_exported_the_same(
    engines: list[Engine], reports: dict[str, Prepared]
) -> None:
    first = exported(engines[0])
    applied(engines[1], first)
    assert exported(engines[1]) == first


def real(name: str) -> set[tuple[str, str]]:
    """The entries of a list of python-apt-common."""
    lines = [line.strip() for line in (APT / f"{name}.mirrors").read_text().splitlines() if line.strip()]
    return {entry for entry in entries(lines) if not entry[1].startswith("mirror:")}


def test_ubuntus_list_comes_back_as_it_was(ubuntu: tuple[Sites, Report]) -> None:
    assert entries(exporting.export("apt-list", ubuntu[0], {"Ubuntu": ""}).text.splitlines()) == real("Ubuntu")


def test_debians_list_comes_back_as_it_was(engines: list[Engine], reports: dict[str, Prepared]) -> None:
    found = entries(exporting.export("apt-list", registry(engines[0]), {"Debian": ""}).text.splitlines())
    ours = {("AT", "http://ftp.at.beispiel.org/debian"), ("GB", "http://mirror.beispiel.co.uk/debian")}
    ours |= {("GB", "https://mirror.beispiel.co.uk/debian"), ("", "ftp://nirgends.beispiel.org/debian")}
    ours |= {("AT", "rsync://ftp.at.beispiel.org/debian")}
    assert found - ours == real("Debian")


Way = tuple[str, dict[str, str], dict[str, str]]


def entries(lines: list[str]) -> set[tuple[str, str]]:
    """Country and URL, without differences of spelling."""
    country, found = "", set()
    for line in lines:
        if line.startswith("#LOC:"):
            country = line.removeprefix("#LOC:")
        else:
            found.add((country, re.sub("^[a-z]+://[^/]+", lambda host: host[0].lower(), line.rstrip("/"))))
    return found


@pytest.mark.parametrize(
    "way",
    [
        ("almalinux", {"AlmaLinux": ""}, {"": "AlmaLinux"}),
        ("masterlist", {"Debian": "Archive", "Debian CD": "CDImage"}, {"archive": "Debian", "cdimage": "Debian CD"}),
        ("csv", {"AlmaLinux": ""}, {"almalinux": "AlmaLinux"}),
    ],
)
def test_a_format_exported_and_imported_is_exported_the_same(
    engines: list[Engine], reports: dict[str, Prepared], way: Way, sqlite_template: Path, tmp_path: Path
) -> None:
    format_name, parts, back = way
    ours = {name: site for name, site in registry(engines[0]).items() if "eispiel" in str(plain(site))}
    text = exporting.export(format_name, ours, parts).text
    (tmp_path / "list").write_text(text)
    shutil.copy(sqlite_template, tmp_path / "empty")
    engine = filled(f"sqlite:///{tmp_path / 'empty'}")
    imported(engine, format_name, tmp_path / "list", back)
    assert exporting.export(format_name, registry(engine), parts).text == text
    engine.dispose()


def test_postgresql_keeps_the_same(reports: dict[str, Prepared], engines: list[Engine], postgres: Postgres) -> None:
    name = postgres.create("migrated")
    engine = filled(postgres.url(name))
    small = {site: text for site, text in exported(engines[0]).items() if "eispiel" in text or site < "b"}
    applied(engine, small)
    assert exported(engine) == small
    imported(engine, "masterlist", LISTS / "Mirrors.masterlist", {"archive": "Debian", "cdimage": "Debian CD"})
    assert exported(engine) == small
    engine.dispose()
    postgres.drop(name)
