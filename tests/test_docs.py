"""What the documents say is so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import click
import pytest

from mm_crawler.cli import main as crawler
from mm_lib.cli.main import main as admin
from mm_lib.settings import OidcProvider, load, sections

ROOT = Path(__file__).parent.parent
OPERATIONS = (ROOT / "docs/operations.md").read_text()
KEYS = [
    (name, key, str(info.description)) for name, section in sections() for key, info in section.model_fields.items()
]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(("section", "key", "meaning"), KEYS)
def test_every_setting_is_documented_with_its_meaning(section: str, key: str, meaning: str) -> None:
    assert f"| `{section}.{key}` | {meaning}" in OPERATIONS


def test_no_setting_is_documented_that_does_not_exist() -> None:
    documented = set(re.findall(r"^\| `(\w+\.\w+)` \|", OPERATIONS, re.MULTILINE))
    assert documented == {f"{section}.{key}" for section, key, _ in KEYS}


@pytest.mark.parametrize(
    ("key", "meaning"), [(key, info.description) for key, info in OidcProvider.model_fields.items()]
)
def test_every_key_of_a_provider_is_documented_with_its_meaning(key: str, meaning: str) -> None:
    assert f"| `{key}` | {meaning} (" in OPERATIONS


EXAMPLES = re.findall(r"(?:^    \[(?:ldap|oidc\.providers\.\w+)\]$\n(?:    .+\n)+)", OPERATIONS, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split()[0])
def test_examples_of_sign_in_are_settings(example: str, tmp_path: Path) -> None:
    pages = "[frontend]\npublic_url = 'https://mirrors.example.org'\n"
    path = tmp_path / "mirrormanager.toml"
    path.write_text(pages + "\n".join(line.strip() for line in example.splitlines()))
    settings = load(path, {})
    assert settings.ldap.servers or settings.oidc.providers


def commands(text: str) -> list[str]:
    """Every mm-admin and mm-crawler command that a document shows."""
    code = " ; ".join(inline or block for inline, block in re.findall(r"`([^`]+)`|^    (.+)$", text, re.MULTILINE))
    return sorted(set(re.findall(r"mm-(?:admin|crawler)(?: [a-z][a-z0-9-]*){1,2}", code)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(path: Path) -> None:
    for shown in commands(path.read_text()):
        program, *words = shown.split()
        command: click.Command = {"mm-admin": admin, "mm-crawler": crawler}[program]
        for word in words:
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, shown
            command = command.commands[word]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_make_target_has_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)) - {"system-packages", "bench-packages"}
    assert targets <= {line.split()[0] for line in listed.splitlines()}


def test_the_readme_sets_up_in_under_fifteen_lines() -> None:
    block = (ROOT / "README.md").read_text().split("## First real set-up")[1].split("\n\n")[1]
    assert len(block.splitlines()) < 15
