"""The start page and the public mirror list: the reference's black-box cases, and what it got wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from mm_lib.database import make_engine, make_sessions
from mm_lib.settings import DatabaseSettings
from tests.conftest import TEMPLATE
from tests.frontend.world import build, counting_queries, headline, links, rows, text
from tests.postgres import Postgres


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The registry of the reference's tests, made once for all tests here: they only look."""
    path = tmp_path_factory.mktemp("public") / "registry.sqlite"
    url = f"sqlite:///{path}"
    if request.param == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.url(server.create(TEMPLATE))
    else:
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
    made = make_engine(DatabaseSettings(url=url))
    with make_sessions(made)() as session:
        build(session)
    yield made
    made.dispose()


def test_start_page_leads_to_the_mirrors_and_to_sign_in_which_leads_to_ones_own_pages(client: FlaskClient) -> None:
    found = links(client.get("/"))
    assert "/mirrors" in found
    assert "/login" in found


def test_sign_in_link_carries_the_whole_address(client: FlaskClient) -> None:
    assert "/login?next=/mirrors/Fedora?country%3DUS" in links(client.get("/mirrors/Fedora?country=US"))


def test_versions_stand_with_names_first_then_numbers_downwards(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    assert re.findall(r'role="rowheader">([^<]+)<', page) == ["7", "rawhide", "27", "26", "25"]


def test_matrix_cells_lead_to_their_list_and_say_how_many(client: FlaskClient) -> None:
    page = client.get("/").get_data(as_text=True)
    assert 'href="/mirrors/Fedora/27/x86_64" aria-label="Fedora 27 for x86_64: 26 mirrors">26<' in page
    assert 'aria-label="EPEL 7 for x86_64: 1 mirror">1<' in page


def test_matrix_has_no_column_for_an_arch_that_nothing_is_for(client: FlaskClient) -> None:
    page = text(client.get("/"))
    assert "i386" not in page
    assert "source" not in page


def test_start_page_counts_mirrors_and_countries(client: FlaskClient) -> None:
    page = text(client.get("/"))
    assert "mirrors 26" in page
    assert "countries 3" in page


def test_list_counts_26_mirrors_and_shows_20_of_them(client: FlaskClient) -> None:
    page = client.get("/mirrors")
    assert headline(page) == "26 mirrors"
    assert rows(page) == 20
    assert "/mirrors?page_number=2" in links(page)


@pytest.mark.parametrize("size", ["0", "-1", "1000"])
def test_page_sizes_beyond_the_limits_show_all_without_a_pager(client: FlaskClient, size: str) -> None:
    page = client.get(f"/mirrors?page_size={size}")
    assert rows(page) == 26
    assert "Pages" not in page.get_data(as_text=True)


def test_page_size_9_makes_three_pages_and_the_second_leads_to_the_others(client: FlaskClient) -> None:
    page = client.get("/mirrors?page_size=9&page_number=2")
    assert rows(page) == 9
    assert {"/mirrors?page_size=9&page_number=1", "/mirrors?page_size=9&page_number=3"} <= set(links(page))
    assert "/mirrors?page_size=9&page_number=4" not in links(page)
    assert rows(client.get("/mirrors?page_size=9&page_number=3")) == 8


@pytest.mark.parametrize(("number", "shown"), [("0", 20), ("-5", 20), ("x", 20), ("99", 6), ("9" * 30, 20)])
def test_page_numbers_that_do_not_exist_show_the_nearest_page(client: FlaskClient, number: str, shown: int) -> None:
    assert rows(client.get(f"/mirrors?page_number={number}")) == shown


@pytest.mark.parametrize("version", ["25", "26", "27", "27-alpha"])
def test_a_version_has_the_mirrors_of_its_category(client: FlaskClient, version: str) -> None:
    """Also one whose repositories are switched off, or that the start page does not show."""
    assert headline(client.get(f"/mirrors/Fedora/{version}")) == f"26 mirrors: Fedora {version}"


@pytest.mark.parametrize(("country", "name"), [("US", "United States"), ("FR", "France"), ("us", "United States")])
def test_the_headline_names_all_filters(client: FlaskClient, country: str, name: str) -> None:
    page = client.get(f"/mirrors/Fedora/27/x86_64?country={country}")
    assert headline(page) == f"1 mirror: Fedora 27, x86_64, {name}"
    assert rows(page) == 1


def test_a_country_with_only_a_private_mirror_is_empty_and_says_what_was_looked_for(client: FlaskClient) -> None:
    page = client.get("/mirrors/Fedora/27/x86_64?country=NL")
    assert headline(page) == "No mirrors: Fedora 27, x86_64, Netherlands"
    assert "There is no mirror for this at the moment: Fedora 27, x86_64, Netherlands" in text(page)
    assert "/mirrors/Fedora/27/x86_64" in links(page)


def test_an_unknown_version_is_left_out_and_its_arch_kept(client: FlaskClient) -> None:
    assert headline(client.get("/mirrors/Fedora/20/i386")) == "No mirrors: Fedora, i386"


def test_an_unknown_product_is_left_out_with_its_version(client: FlaskClient) -> None:
    assert headline(client.get("/mirrors/Unknown Product/27/x86_64")) == "26 mirrors: x86_64"


@pytest.mark.parametrize("query", ["country=XX", "country=Germany", "protocol=gopher", "arch=vax", "version=27"])
def test_unknown_values_are_ignored(client: FlaskClient, query: str) -> None:
    assert headline(client.get(f"/mirrors?{query}")) == "26 mirrors"


@pytest.mark.parametrize("path", ["/mirrors/%00", "/mirrors?country=%00", "/mirrors?page_size=%F0%9F%92%A9"])
def test_hostile_values_are_ignored(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_trailing_slash_is_another_address(client: FlaskClient) -> None:
    assert client.get("/mirrors/").status_code == 404


def test_a_product_has_the_mirrors_of_its_categories(client: FlaskClient) -> None:
    page = client.get("/mirrors/EPEL")
    assert headline(page) == "1 mirror: EPEL"
    assert "Fedora Linux" not in re.findall(r'class="category">([^<]+)<', page.get_data(as_text=True))


def test_protocol_is_a_filter(client: FlaskClient) -> None:
    assert headline(client.get("/mirrors?protocol=https")) == "2 mirrors: https"
    assert headline(client.get("/mirrors?protocol=ftp")) == "No mirrors: ftp"


def test_the_form_leads_to_the_one_address_of_a_list(client: FlaskClient) -> None:
    answer = client.get("/mirrors?release=Fedora/27&arch=x86_64&country=US&protocol=")
    assert answer.location == "/mirrors/Fedora/27/x86_64?country=US"
    assert client.get("/mirrors?release=&arch=i386&country=&protocol=").location == "/mirrors?arch=i386"
    assert client.get("/mirrors?release=EPEL&page_size=9").location == "/mirrors/EPEL?page_size=9"


def test_the_form_shows_what_is_chosen(client: FlaskClient) -> None:
    page = client.get("/mirrors/Fedora/27-alpha/x86_64?country=NL&protocol=https").get_data(as_text=True)
    assert re.findall(r'<option value="([^"]*)" selected', page) == ["Fedora/27-alpha", "NL", "x86_64", "https"]


def test_countries_are_offered_with_their_number_of_public_mirrors(client: FlaskClient) -> None:
    page = client.get("/mirrors").get_data(as_text=True)
    offered = re.findall(r'<option value="[A-Z]{2}">([^<]+)<', page)
    assert offered == ["Croatia (24)", "France (1)", "United States (1)"]


def test_mirrors_stand_by_country_name_and_host(client: FlaskClient) -> None:
    names = re.findall(r'class="host"[^>]*>([^<]+)<', client.get("/mirrors?page_size=100").get_data(as_text=True))
    assert names == [*(f"extra{number:02}.example.org" for number in range(24)), "fr.example.org", "us.example.org"]


def test_private_addresses_and_categories_that_are_not_public_are_never_printed(client: FlaskClient) -> None:
    page = client.get("/mirrors?page_size=100").get_data(as_text=True)
    assert "https://us.example.org/linux" in page
    assert "secret" not in page
    assert "Codecs" not in page
    assert "codecs" not in page


def test_an_organisation_with_pages_of_its_own_is_a_link_to_them(client: FlaskClient) -> None:
    page = client.get("/mirrors?page_size=100").get_data(as_text=True)
    assert '<a href="https://university.example.org" rel="noopener nofollow">Site of us.example.org</a>' in page
    assert "Site of fr.example.org</a>" not in page


def test_comments_are_escaped(client: FlaskClient) -> None:
    assert "rsync is &lt;limited&gt;" in client.get("/mirrors?country=US").get_data(as_text=True)


@pytest.mark.parametrize(("path", "most"), [("/", 6), ("/mirrors", 6), ("/mirrors/Fedora/27/x86_64?page_size=100", 6)])
def test_a_page_asks_a_fixed_small_number_of_queries(client: FlaskClient, engine: Engine, path: str, most: int) -> None:
    with counting_queries(engine) as statements:
        assert client.get(path).status_code == 200
    assert len(statements) <= most


def test_search_engines_are_told_what_to_leave_alone(client: FlaskClient) -> None:
    answer = client.get("/robots.txt")
    assert answer.mimetype == "text/plain"
    assert "Disallow: /login" in answer.text
