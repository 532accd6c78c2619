"""The check-in of private mirrors as the report_mirror client speaks it: XML-RPC, as one part of the application."""

from __future__ import annotations

from flask import Blueprint

from mm_frontend.security import csrf

blueprint = Blueprint("checkin", __name__)
csrf.exempt(blueprint)  # each call brings its own proof; no cookie counts here
