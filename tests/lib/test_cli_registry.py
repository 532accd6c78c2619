"""mm-admin export, plan, apply, validate, import and export-list, as people and CI use them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mm_lib.cli.common import Failure, Program
from mm_lib.cli.registry import frozen
from mm_lib.registry import schema
from mm_lib.registry.carry_out import Powers
from mm_lib.registry.current import read_sites
from mm_lib.registry.documents import SiteFile
from mm_lib.registry.planning import Wish, carry_out_plan
from mm_lib.services.sites import find_site
from tests.lib.test_cli import Admin, _logging_as_it_was  # noqa: F401 # a fixture that every test uses

SITE = """\
# us
name: Example University
hosts:
- name: m.example.edu
  country: DE
  categories:
  - category: Debian
    urls: [https://m.example.edu/debian]
"""


@pytest.fixture
def admin(sqlite_template: Path, tmp_path: Path) -> Admin:
    """A database with a category, and a folder with a site."""
    shutil.copy(sqlite_template, tmp_path / "test.sqlite")
    admin = Admin(tmp_path, f"sqlite:///{tmp_path / 'test.sqlite'}")
    admin.ok("product", "add", "Debian")
    admin.ok("category", "add", "Debian", "--product", "Debian")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/example.yaml").write_text(SITE)
    return admin


def ended(admin: Admin, code: int, *arguments: str) -> str:
    """What a command says that ends with this exit code."""
    result = admin(*arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_plan_ends_with_2_for_changes_0_for_none_and_1_for_refusals(admin: Admin) -> None:
    folder = str(admin.folder / "sites")
    assert "4 to add, 0 to change, 0 to delete." in ended(admin, 2, "plan", folder)
    assert "4 to add" in admin.ok("apply", folder)
    assert "Nothing to do" in ended(admin, 0, "plan", folder)
    (admin.folder / "sites/example.yaml").write_text(SITE.replace("Debian\n", "Nope\n"))
    said = ended(admin, 1, "plan", folder)
    assert "would be refused: There is no category 'Nope'" in said
    assert f"{folder}/example.yaml:7" in said
    assert "Error: category Nope" in ended(admin, 1, "apply", folder)


def test_plan_ends_with_1_for_wrong_usage_since_2_means_changes(admin: Admin) -> None:
    ended(admin, 1, "plan", "--nope")
    ended(admin, 1, "plan")
    (admin.folder / "empty").mkdir()
    assert "There is no YAML file." in ended(admin, 1, "plan", str(admin.folder / "empty"), "--delete")
    ended(admin, 2, "apply")


def test_a_saved_plan_is_applied_once(admin: Admin) -> None:
    folder, saved = str(admin.folder / "sites"), str(admin.folder / "plan.json")
    ended(admin, 2, "plan", folder, "--out", saved)
    assert "Publish it with `mm-admin cache build`." in admin.ok("apply", "--plan", saved)
    assert "was changed after the plan was made" in ended(admin, 1, "apply", "--plan", saved)


def test_deleting_needs_its_option(admin: Admin) -> None:
    folder = str(admin.folder / "sites")
    admin.ok("apply", folder)
    (admin.folder / "sites/example.yaml").write_text(SITE.replace(", rsync", "").split("  categories")[0])
    assert "- category Debian and 1 URL(s)   (left alone without --delete)" in ended(admin, 0, "plan", folder)
    changes = json.loads(ended(admin, 2, "plan", folder, "--delete", "--json"))["changes"]
    assert [(one["action"], one["kind"], one["subject"], one["refused"]) for one in changes] == [
        ("remove", "category", "Debian", "")
    ]
    admin.ok("apply", folder, "--delete")
    assert admin.rows("url", "list") == []


def test_what_somebody_else_changes_meanwhile_is_not_overwritten(tmp_path: Path, database_url: str) -> None:
    admin = Admin(tmp_path, database_url)
    admin.ok("site", "add", "Example")
    wish = Wish([SiteFile(name="Example", org_url="https://ours.example.org")], complete=False, delete=False)
    program = Program(admin.config)

    def apply() -> None:
        with frozen(program, write=True) as session:
            read_sites(session, datetime.now(UTC))
            with program.transaction() as other:
                find_site(other, "Example").org_url = "https://theirs.example.org"
            carry_out_plan(session, wish, Powers("tester", datetime.now(UTC)), None)

    with pytest.raises(Failure, match="Somebody else changed the registry right now"):
        apply()
    assert [row["org_url"] for row in admin.rows("site", "list")] == ["https://theirs.example.org"]
    program.engine.dispose()


def test_every_change_is_an_event(admin: Admin) -> None:
    admin.ok("apply", str(admin.folder / "sites"))
    actions = [row["action"] for row in admin.rows("events", "--limit", "4")]
    assert actions == ["add host_category_url", "add host_category", "add host", "add site"]


def test_export_updates_files_where_they_are(admin: Admin) -> None:
    folder = admin.folder / "sites"
    admin.ok("apply", str(folder))
    assert "Wrote 0 files; 1 were right already." in admin.ok("export", str(folder))
    admin.ok("host", "set", "m.example.edu", "--bandwidth", "1000")
    assert "Wrote 1 files" in admin.ok("export", str(folder))
    assert (folder / "example.yaml").read_text() == SITE + "  bandwidth_mbps: 1000\n"


def test_validate_needs_no_database_and_says_file_line_and_column(tmp_path: Path) -> None:
    admin = Admin(tmp_path, "postgresql://nobody@127.0.0.1:9/none")
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SITE)
    bad.write_text(SITE.replace("DE", "UK").replace("University", "College"))
    assert admin.ok("validate", str(good)) == "1 sites are valid.\n"
    said = ended(admin, 1, "validate", str(good), str(bad))
    assert f"{bad}:5:3: country: 'UK' is not a country code" in said
    [problem] = json.loads(ended(admin, 1, "validate", str(bad), "--json"))
    assert (problem["level"], problem["line"], problem["column"]) == ("error", 5, 3)
    assert admin.ok("validate", "--schema") == schema.text()


# -- import


def test_an_import_is_looked_at_done_and_repeated(admin: Admin) -> None:
    source = admin.folder / "list.mirrors"
    source.write_text("#LOC:UK\nhttp://a.org/debian/\nhttp://10.0.0.1/debian\n")
    arguments = ("import", "apt-list", str(source), "--category", "Debian")
    assert "Dry run: nothing was changed." in admin.ok(*arguments, "--dry-run")
    assert admin.rows("host", "list") == []
    report = json.loads(admin.ok(*arguments, "--json"))
    assert report["counts"]["host"] == {"taken": 1, "changed": 0, "unchanged": 0, "repaired": 0, "refused": 0}
    assert [(note["outcome"], note["kind"], note["where"]) for note in report["notes"]] == [
        ("repaired", "country", f"{source}:2"),
        ("refused", "url", f"{source}:3"),
    ]
    assert [(row["name"], row["country"]) for row in admin.rows("host", "list")] == [("a.org", "GB")]
    again = json.loads(admin.ok(*arguments, "--json"))
    assert again["counts"]["host"]["unchanged"] == 1
    assert len(admin.rows("host", "list")) == 1


def test_an_import_of_nothing_useful_fails(admin: Admin) -> None:
    source = admin.folder / "list"
    source.write_text("#LOC:DE\ngopher://a.org/\n")
    assert "Nothing could be taken." in ended(admin, 1, "import", "apt-list", str(source), "--category", "Debian")
    assert "no category 'X'" in ended(admin, 1, "import", "apt-list", str(source), "--category", "X")


def test_a_site_of_its_own_and_no_limits_when_asked_for(admin: Admin) -> None:
    source = admin.folder / "list.csv"
    source.write_text("host,site,category,url,netblocks\nm,We,Debian,http://10.0.0.1/d,10.0.0.0/8\n")
    admin.ok("import", "csv", str(source), "--site", "Lab", "--unlimited")
    assert [(row["site"], row["netblock"]) for row in admin.rows("netblock", "list")] == [("Lab", "10.0.0.0/8")]


def test_a_list_is_exported_and_what_it_cannot_say_is_told(admin: Admin) -> None:
    admin.ok("apply", str(admin.folder / "sites"))
    assert admin.ok("export-list", "apt-list", "--category", "Debian") == "#LOC:DE\nhttps://m.example.edu/debian/\n"
    admin.ok("host", "set", "m.example.edu", "--private")
    said = admin.ok("export-list", "apt-list", "--category", "Debian")
    assert said == "left out: m.example.edu (Example University): is private; the format has public mirrors only\n"
