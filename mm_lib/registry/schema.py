"""The JSON Schema of a file of the registry, made from its model; docs/schemas/ holds a copy for editors and CI."""

from __future__ import annotations

import json

from mm_lib.registry.documents import SiteFile


def text() -> str:
    """The schema as JSON."""
    values = SiteFile.model_json_schema(mode="validation")
    values["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
