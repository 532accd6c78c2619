"""Bring the catalogues of mm_frontend up to date with the texts in the source: python -m utils.translations

New texts are added without a translation, which `msgid ""` searches find and a test refuses; those that are gone are
taken out. What visitors, people who sign in and operators of mirrors see is translated; pages for administrators are
English.
"""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

FRONTEND = Path(__file__).parent.parent / "mm_frontend"
# Relative to FRONTEND: everything that people meet who look after no mirror.
VISITED = (
    *("public/", "templates/public/", "templates/errors/", "templates/base.html", "templates/_macros.html"),
    *("auth/", "templates/auth/", "operators/", "templates/operators/"),
    *("statistics/", "templates/statistics/"),
)
VISITED_MODULES = ("theme.py", "errors.py", "language.py")
_METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]


def extract() -> Catalog:
    """Every text that is to be translated."""
    catalog = Catalog(project="MirrorManager", charset="utf-8")
    options = {"**.html": {"silent": "false", "encoding": "utf-8"}}
    for name, _line, message, _comments, context in extract_from_dir(FRONTEND, _METHODS, options):
        if name.startswith(VISITED) or name in VISITED_MODULES:
            catalog.add(message, locations=[(name, 0)], context=context)
    return catalog


def catalogues() -> dict[str, Path]:
    """Language -> file."""
    return {path.parent.parent.name: path for path in sorted(FRONTEND.glob("translations/*/LC_MESSAGES/messages.po"))}


def main() -> None:
    """Rewrite every catalogue whose texts changed."""
    template = extract()
    for language, path in catalogues().items():
        with path.open("rb") as source:
            catalog = read_po(source, locale=language)
        if _texts(catalog) != _texts(template):  # else only the date in its head would change
            catalog.update(template, no_fuzzy_matching=True)
            catalog.obsolete.clear()
            with path.open("wb") as target:
                write_po(target, catalog, include_lineno=False, sort_output=True, width=0)
        print(f"{language}: {sum(1 for message in catalog if message.id and not message.string)} to translate")


def _texts(catalog: Catalog) -> set[str]:
    return {str(message.id) for message in catalog if message.id}


if __name__ == "__main__":
    main()
