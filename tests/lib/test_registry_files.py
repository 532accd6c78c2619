"""The registry as files, without a database: what is wrong with them, and writing them without losing a comment."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_lib.model.hosts import Host
from mm_lib.model.sites import Site
from mm_lib.model.tables import metadata
from mm_lib.registry import files, schema
from mm_lib.registry.documents import HostEntry, SiteFile, plain
from mm_lib.registry.reading import check, read_site
from mm_lib.registry.writing import update, write
from mm_lib.services.errors import InvalidValue
from mm_lib.services.host_details import Limits

ROOT = Path(__file__).parents[2]
TEXT = """\
# Our best friends
name: Example University   # since 2001
org_url: https://www.example.edu/
private: false

# hosts, the fast one first
hosts:
- name: m.example.edu      # fast
  country: DE
  bandwidth_mbps: 1000
  # ask Bob
  categories:
  - category: Fedora Linux
    urls:
    # the CDN
    - https://m.example.edu/fedora/
    - rsync://m.example.edu/fedora   # slow
  netblocks:
  - 192.0.2.0/24  # campus
  - 198.51.100.0/24

# the old one
- name: old.example.edu
  own_asns: [64500]
"""


def site(text: str) -> SiteFile:
    """The site of a valid text."""
    loaded, problems = read_site(text, "f")
    assert loaded, problems
    return loaded.site


def problems(*texts: str) -> list[str]:
    """What is wrong with files a.yaml, b.yaml, ..."""
    named = [(f"{chr(97 + number)}.yaml", text) for number, text in enumerate(texts)]
    return [str(problem) for problem in check(named, Limits()).problems]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [a\n", "a.yaml:2:1: expected ',' or ']', but got '<stream end>'"),
        ("- a\n", "a.yaml:1:1: must be a mapping that begins with the site's name"),
        ("name: A\nname: B\n", "a.yaml:2:1: 'name' stands here twice"),
        ("name: A\nadmin: me\n", "a.yaml:2:1: admin: there is no such key here"),
        ("name: A\nprivate: 1\n", "a.yaml:2:1: private: must be true or false"),
        ("hosts: []\n", "a.yaml:1:1: name: is missing"),
        ("name: A\nx: [&y 1, &y 2]\n", "a.yaml:2:5: anchors and aliases are not supported; write it out"),
        ("name: A\nx: &y 1\n", "a.yaml:2:4: anchors and aliases are not supported; write it out"),
        ("name: !!python/name:os.system\n", "the tag tag:yaml.org,2002:python/name:os.system is not supported"),
        (
            "name: A\nhosts:\n- name: h\n  country: UK\n",
            "a.yaml:4:3: country: 'UK' is not a country code (ISO 3166-1, two letters); did you mean GB?",
        ),
        (
            "name: A\nhosts:\n- {name: h, netblocks: [8.8.8.0/24, 300.1.1.1]}\n",
            "a.yaml:3:37: netblock: '300.1.1.1' is neither a network such as 192.0.2.0/24 nor a DNS name",
        ),
        (
            "name: A\nhosts:\n- {name: h, netblocks: [8.8.8.1/24, 8.8.8.2/24]}\n",
            "netblock 8.8.8.0/24 stands here twice",
        ),
        ("name: A\nhosts:\n- {name: h}\n- {name: h}\n", "host h stands here twice"),
        (
            "name: A\nhosts:\n- {name: h, categories: [{category: C, urls: ['ftp://u:p@x.org/']}]}\n",
            "holds a user name or password; everybody would see it",
        ),
    ],
)
def test_a_problem_is_told_with_its_line_and_column(text: str, message: str) -> None:
    [found] = problems(text)
    assert message in found


def test_two_files_cannot_claim_one_url_or_one_name() -> None:
    one = "name: {}\nhosts:\n- name: h\n  categories: [{{category: C, urls: [https://x.org/c]}}]\n"
    assert problems(one.format("A"), one.format("B")) == [
        "b.yaml:2:1: https://x.org/c belongs to A (a.yaml:1), too",
    ]
    assert problems("name: A\n", "name: a\n") == ["b.yaml:1:1: 'a' is described in a.yaml:1, too"]


def test_what_only_administrators_may_enter_is_a_warning() -> None:
    checked = check([("f", "name: A\nhosts:\n- name: h\n  netblocks:\n  - 8.0.0.0/8\n")], Limits())
    assert not checked.problems
    assert [str(one) for one in checked.warnings] == [
        "f:5:5: 8.0.0.0/8 is larger than /16, the most that owners may claim"
    ]


PIECES = st.sampled_from(
    ["name: ", "hosts:\n", "- ", "  ", "\n", "country: ", "urls: [", "]", "{", "}", "netblocks:", "A", "1", ":", "#",
     "'", "&a ", "maintenance: [{starts_at: 2026-01-01T00:00:00Z, ends_at: ", "2026-13-01",
     "coordinates: {latitude: .nan, longitude: ", "members: {a: owner}", "9" * 400, "\\U", '"',
     "!!binary ", "\ufeff", "- name: h\n", "true", "null", "? ", "|", ">", "%"]
)  # fmt: skip


@settings(max_examples=100)
@given(st.lists(PIECES | st.text(max_size=3), max_size=30))
def test_no_text_makes_reading_fail(pieces: list[str]) -> None:
    loaded, found = read_site("name: A\n" + "".join(pieces), "f")
    assert (loaded is None) == bool(found)


# -- writing


def test_what_says_the_same_is_not_touched() -> None:
    assert update(TEXT, "f", site(TEXT)) == TEXT


def test_changes_keep_comments_order_and_spelling() -> None:
    values = plain(site(TEXT))
    first, second = values["hosts"]
    first |= {"comment": "new", "bandwidth_mbps": 500, "netblocks": ["192.0.2.0/24", "203.0.113.0/24"]}
    second["own_asns"] = [64500, 64501]
    values["hosts"].append({"name": "new.example.edu", "country": "FR"})
    changed = update(TEXT, "f", SiteFile.model_validate(values))
    expected = (
        TEXT.replace("1000", "500")
        .replace("  - 198.51.100.0/24\n", "  - 203.0.113.0/24\n  comment: new\n")
        .replace("[64500]\n", "[64500, 64501]\n- name: new.example.edu\n  country: FR\n")
    )
    assert changed == expected


def test_an_export_leaves_what_a_file_says_of_address_families_and_leaves_to_others() -> None:
    text = "name: A\nhosts:\n- name: h\n  has_ipv6: true\n"
    exported = SiteFile.model_validate({"name": "A", "members": {"alice": "owner"}, "hosts": [{"name": "h"}]})
    assert update(text, "f", exported) == text


def test_comments_on_what_is_gone_move_to_the_end() -> None:
    values = plain(site(TEXT))
    del values["hosts"][0]
    changed = update(TEXT, "f", SiteFile.model_validate(values))
    assert plain(site(changed)) == plain(SiteFile.model_validate(values))
    assert [comment for comment in ("# fast", "# ask Bob", "# the CDN", "# slow", "# campus", "# the old one",
                                    "# since 2001") if comment not in changed] == []  # fmt: skip


NAMES = st.sampled_from(["a.org", "b.org", "c.org"])
HOSTS = st.builds(
    lambda name, country, blocks, asns: {"name": name, "country": country, "netblocks": blocks, "own_asns": asns},
    NAMES,
    st.sampled_from(["DE", "FR"]),
    st.lists(st.sampled_from(["8.8.8.0/24", "9.9.9.0/24", "x.org"]), unique=True),
    st.lists(st.integers(1, 3), unique=True),
)
SITES = st.lists(HOSTS, unique_by=lambda host: host["name"]).map(
    lambda hosts: SiteFile.model_validate({"name": "A", "hosts": hosts})
)


@settings(max_examples=40)
@given(SITES, SITES)
def test_an_updated_text_says_what_it_should_and_keeps_every_comment(old: SiteFile, new: SiteFile) -> None:
    text = "".join(f"{line}  # comment {number}\n" for number, line in enumerate(write(old).splitlines()))
    changed = update(text, "f", new)
    assert plain(site(changed)) == plain(new)
    assert [n for n in range(text.count("\n")) if f"# comment {n}\n" not in f"{changed}\n"] == []
    assert update(changed, "f", new) == changed


def test_a_folder_gets_a_file_per_site_and_keeps_names_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "friends.yaml").write_text(TEXT)
    sites = {"Example University": site(TEXT), "Ü & Co": SiteFile(name="Ü & Co"), "co": SiteFile(name="co")}
    done = files.export(tmp_path, sites, prune=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["co-2.yaml", "co.yaml", "friends.yaml"]
    assert (len(done.written), done.unchanged) == (2, 1)
    assert files.export(tmp_path, sites, prune=False).written == []
    done = files.export(tmp_path, {"co": SiteFile(name="co")}, prune=True)
    assert [path.name for path in tmp_path.iterdir()] == ["co-2.yaml"]
    assert len(done.stale) == 2


def test_a_folder_with_an_invalid_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("name: [")
    with pytest.raises(InvalidValue, match="nothing was written"):
        files.export(tmp_path, {"A": SiteFile(name="A")}, prune=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.yml"]


def test_bytes_that_are_no_text_are_told_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"name: A\norg_url: \xff")
    _, [problem] = files.read(files.find([tmp_path]))
    assert str(problem) == f"{tmp_path}/a.yaml:2:10: is not UTF-8"


# What a file does not hold as it is: found out by programs, secret, history, or under another name.
ELSEWHERE = {"id", "site_id", "created_at", "updated_at", "created_by", "deleted_at", "deleted_by"}
STATE = {"state", "state_reason", "state_since", "state_by"}  # "disabled"
CRAWLED = {"last_checked_in_at", "last_crawled_at", "last_crawl_seconds"}
PLACE = {"latitude", "longitude"}  # "coordinates"
TABLES = {"host_netblock", "host_asn", "host_country", "host_acl_address", "host_location", "maintenance",
          "directory_host", "host_category", "host_category_url", "site_member", "site_upstream", "host"}  # fmt: skip
NO_REGISTRY = {"api_token", "audit_event", "site_invitation", "site_join_request", "site_password", "event", "webhook",
               "host_category_state", "host_category_crawl", "crawl_schedule", "host_category_health", "health_change",
               "repository_mirror_state", "crawl_result", "job"}  # fmt: skip


def test_a_new_column_or_table_of_hosts_and_sites_is_either_in_files_or_left_out_on_purpose() -> None:
    assert set(Host.__table__.columns.keys()) - set(HostEntry.model_fields) <= ELSEWHERE | STATE | CRAWLED | PLACE
    assert set(Site.__table__.columns.keys()) - set(SiteFile.model_fields) <= ELSEWHERE | STATE
    owners = {"host", "site", "host_category"}
    below = {
        table.name
        for table in metadata.tables.values()
        if {key.column.table.name for key in table.foreign_keys} & owners
    }
    assert below == TABLES | NO_REGISTRY


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (ROOT / "docs/schemas/site.schema.json").read_text()
    assert published == schema.text(), "mm-admin validate --schema > docs/schemas/site.schema.json"
