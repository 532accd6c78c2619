"""The pages for people who run mirrors, as one part of the application."""

from __future__ import annotations

from flask import Blueprint

blueprint = Blueprint("operators", __name__)
