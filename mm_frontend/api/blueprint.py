"""The JSON API as one part of the application: version 1, and the two addresses that MirrorManager had before."""

from __future__ import annotations

from flask import Blueprint

from mm_frontend.guards import limiter
from mm_frontend.security import csrf

VERSION = "1.0.0"
PREFIX = "/api/v1"
REQUESTS = "1200 per minute"  # from one address, as all limits are
CHANGES = "240 per minute"

blueprint = Blueprint("api", __name__, url_prefix=PREFIX)
old = Blueprint("api_old", __name__, url_prefix="/api")

limiter.limit(REQUESTS)(blueprint)
limiter.limit(CHANGES, methods=["POST", "PUT", "PATCH", "DELETE"])(blueprint)
limiter.limit(REQUESTS)(old)
csrf.exempt(blueprint)  # programs with tokens have none; calling.py asks browsers for it
