"""The installation's own colours and logo, at addresses that change with them."""

from __future__ import annotations

from flask import Blueprint, Response, abort, send_file

from mm_frontend.settings import brand

blueprint = Blueprint("branding", __name__)

_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}


@blueprint.get("/brand.css")
def colours() -> Response:
    """The accent colours; the style sheet of the pages has all others."""
    rules = []
    if brand().accent:
        rules.append(f":root {{ --accent: {brand().accent}; --accent-hover: {brand().accent}; }}")
    if brand().accent_dark:
        values = f"--accent: {brand().accent_dark}; --accent-hover: {brand().accent_dark};"
        rules.append(f"@media (prefers-color-scheme: dark) {{ :root {{ {values} }} }}")
    return _for_a_day(Response("\n".join(rules) + "\n", content_type="text/css; charset=utf-8"))


@blueprint.get("/brand/logo")
def logo() -> Response:
    """The logo, if there is one."""
    path = brand().logo
    if path is None or path.suffix.lower() not in _TYPES or not path.is_file():
        abort(404)
    return _for_a_day(send_file(path, mimetype=_TYPES[path.suffix.lower()], conditional=True))


def _for_a_day(response: Response) -> Response:
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response
