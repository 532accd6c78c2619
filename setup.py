"""All packaging metadata. Each dependency says why it is here; constraints.txt holds the versions CI runs with."""

import os
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent

# Everything, the redirector included, reads one typed settings file and logs the same way.
BASE = [
    "pydantic>=2.11,<3",  # typed, frozen settings that name the wrong key
    "pydantic-settings>=2.10,<3",  # TOML file, MM_* environment and *_FILE secrets merged in one order
    "python-json-logger>=3.2,<5",  # JSON lines when a service collects the log
    "click>=8.1,<9",  # command lines: help, examples, exit codes
]
# Whatever touches the database: mm-admin, the front end and the crawler.
DATABASE = [
    "maxminddb>=2.6,<4",  # whose country data is in use, and building it
    "sqlalchemy>=2.1,<2.2",  # the model and its queries
    "alembic>=1.14,<2",  # migrations
    "psycopg2-binary>=2.9.10,<3",  # PostgreSQL, what production runs
    "procrastinate>=3.10,<4",  # the job queue in PostgreSQL that crawlers on several machines share
    "psycopg[binary]>=3.2,<4",  # what procrastinate speaks to PostgreSQL with
    "pyroaring>=1.0,<2",  # which directories a mirror has up to date, as one bitmap
    "argon2-cffi>=23.1,<26",  # argon2id for passwords and API tokens
    "pyotp>=2.9,<3",  # one-time codes (TOTP)
    "babel>=2.16,<3",  # the real list of countries and their names
    "rich>=13.9,<16",  # tables and progress bars on a terminal
    "email-validator>=2.2,<3",  # addresses that a mail server would accept
    "google-re2>=1.1,<2",  # repository rules: no regular expression takes more than linear time
    "urllib3>=2.5,<3",  # webhooks: verified TLS to an address that was looked at before
    "ruamel.yaml>=0.18.6,<0.20",  # the registry as files: YAML that keeps comments, and knows where each value stands
    "python-debian>=1.0,<2",  # APT's Release files, Debian's list of mirrors
    "rstr>=3.2,<4",  # paths that a rule matches, to find rules that others hide
]
REDIRECTOR = [
    "granian>=2.8,<2.9",  # the WSGI server that mm-redirector starts; its main loop is ours, so one minor version
    "gunicorn>=23,<28",  # the one that it starts on demand: slower, plain Python
    "prometheus_client>=0.22,<0.27",  # the text format of /metrics
    "maxminddb>=2.6,<4",  # MMDB files, memory-mapped by its C extension
    "jinja2>=3.1,<4",  # the page of /explain
    "numpy>=2.1,<3",  # weighted draws: five times faster than in plain Python
    "iptocc>=3.3,<4",  # countries on a fresh machine, without an account or a download
    "urllib3>=2.5,<3",  # fetches the cache: verified TLS, retries, redirects within limits
    "backports.zstd>=1.2,<2; python_version < '3.14'",  # logs that are replayed may be compressed
]
SIGNING = ["cryptography>=42,<51"]  # Ed25519: mm-admin signs the cache, a fetching redirector checks
CRAWLER = [
    *DATABASE,
    "pycurl>=7.45.6,<8",  # libcurl's multi interface: 17 us of CPU per HEAD
    "lxml>=5.3,<7",  # repomd.xml, parsed without entities or network
    "python-gnupg>=0.5.4,<0.6",  # drives GnuPG, which checks the signatures of metadata
    "prometheus_client>=0.22,<0.27",  # the figures of runs, for monitoring
]
DOWNLOADS = ["urllib3>=2.5,<3"]  # clouds' networks, explanations by the redirector: verified TLS and limits
FRONTEND = [
    *DATABASE,
    *DOWNLOADS,
    "flask>=3.1,<4",  # pages
    "flask-sqlalchemy>=3.1,<4",  # a database session per request
    "flask-login>=0.6.3,<0.7",  # who is signed in
    "flask-wtf>=1.2,<2",  # CSRF tokens
    "wtforms>=3.3,<4",  # forms
    "flask-talisman>=1.1,<2",  # Content-Security-Policy and its relatives
    "flask-limiter>=3.9,<5",  # sign-in attempts per address
    "flask-babel>=4,<5",  # pages in the reader's language
    "defusedxml>=0.7.1,<0.8",  # check-ins by XML-RPC, without entities
    "gunicorn>=23,<28",  # the WSGI server that mm-frontend starts
    "prometheus_client>=0.22,<0.27",  # /metrics
    "segno>=1.6,<2",  # their QR code as SVG, without a picture library
    "feedgenerator>=2.2,<3",  # Atom feeds of state changes
]
PROTOBUF = ["protobuf>=6.31,<8"]  # the mirrorlist cache in MirrorManager's own format; our generated code is of 6.31
GEODATA = ["mmdb-writer>=0.2.5,<0.3", "netaddr>=1.3,<2"]  # mm-admin geodata update: text ranges to MMDB
STATISTICS = [
    "datasketches>=5.2,<6",  # HyperLogLog: clients are counted without being kept, and counts can be merged
    "numpy>=2.1,<3",  # what it works on, and counting by columns
    "backports.zstd>=1.2,<2; python_version < '3.14'",  # logs compressed with zstd, as Python 3.14 reads them itself
]
REPORTS = [
    "jinja2>=3.1,<4",  # mm-admin report: Markdown and HTML
    "matplotlib>=3.10,<4",  # charts as PNG, the same bytes for the same numbers
    "fpdf2>=2.8.4,<3",  # PDF in plain Python, with bookmarks and text alternatives
]
AMQP = ["pika>=1.3,<2"]  # events for a message broker
LDAP = ["python-ldap>=3.4.4,<4"]  # compiled from source, so only where it is wanted
OIDC = ["authlib>=1.9,<2", "requests>=2.32,<3"]  # sign-in by OpenID Connect, and what it speaks HTTP with
COMPILE = ["mypy>=1.14", "setuptools>=77"]  # MIRRORMANAGER_COMPILE=1: mypyc is part of mypy
REDIS = ["redis>=5,<9"]  # login.limits_storage = "redis://..."
TEST = [
    "aiosmtpd>=1.4.6,<2",  # a mail server that keeps what it gets
    "createrepo-c>=1.1,<2",  # real repodata for the demo's and the tests' master trees
    "pyftpdlib>=2,<3",  # an FTP server with MLSD; vsftpd has none
    "oidc-provider-mock>=0.3,<0.5",  # an OpenID provider that is not ours
    "pytest>=8.3,<10",
    "pytest-xdist>=3.6,<4",  # both cores
    "hypothesis>=6.120,<7",  # hostile input
    "schemathesis>=4.32,<5",  # asks the API what its description allows, and other things
    "jsonschema-rs>=0.40,<1",  # documents against their published schemas
    "playwright>=1.49,<2",  # drives Debian's Chromium
    "grafana-foundation-sdk>=1769699998!10.1",  # Grafana's own types, which the dashboard is made with
    "ruff>=0.9",
    "mypy>=1.14",
    "import-linter>=2.1,<3",  # who may import whom
    "setuptools>=77",  # the packaging test builds the wheel without network
]
DEMO = sorted({*REDIRECTOR, *CRAWLER, *FRONTEND, "createrepo-c>=1.1,<2"})

# What every request of the redirector runs through. MIRRORMANAGER_COMPILE=1 makes machine code of it, with mypyc, which
# comes with mypy; the same source runs without (docs/decisions/0014).
COMPILED = [
    "mm_lib/cache/table.py",
    "mm_lib/geo_records.py",
    *[
        f"mm_redirector/{name}.py"
        for name in (
            "access_log", "address", "app", "category", "geo", "index", "location", "lookup", "memory", "metrics",
            "networks", "query", "render", "selection", "settings", "shuffle",
        )
    ],
]  # fmt: skip


def extensions() -> list[Extension]:
    """The compiled modules, if they are wanted. Needs gcc, Python's headers and all that the modules import."""
    if os.environ.get("MIRRORMANAGER_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    found = mypycify(COMPILED, opt_level="3", group_name="mm_redirector")
    for extension in found:  # a warning of another gcc than mypyc knows is no reason to fail
        extension.extra_compile_args = [one for one in extension.extra_compile_args if one != "-Werror"]
    return found


MIGRATIONS = "mm_lib.migrations"  # installed name of the top-level alembic/ folder

setup(
    name="mirrormanager",
    version="0.1.0",
    description="Knows which mirror carries what, checks that it is true, and sends every client to the best one",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[
        "mm_lib",
        "mm_lib.cache",
        "mm_lib.cli",
        "mm_lib.data",
        "mm_lib.importers",
        "mm_lib.importers.mirrormanager2",
        "mm_lib.model",
        "mm_lib.outbox",
        "mm_lib.publish",
        "mm_lib.reports",
        "mm_lib.rules",
        "mm_lib.registry",
        "mm_lib.services",
        "mm_lib.statistics",
        MIGRATIONS,
        f"{MIGRATIONS}.versions",
        "mm_redirector",
        "mm_crawler",
        "mm_crawler.fetch",
        "mm_crawler.master",
        "mm_crawler.output",
        "mm_frontend",
        "mm_frontend.admin",
        "mm_frontend.api",
        "mm_frontend.auth",
        "mm_frontend.checkin",
        "mm_frontend.data",
        "mm_frontend.operators",
        "mm_frontend.public",
        "mm_frontend.statistics",
    ],
    package_dir={MIGRATIONS: "alembic", f"{MIGRATIONS}.versions": "alembic/versions"},
    package_data={
        "mm_lib": ["py.typed"],
        "mm_lib.data": ["*.csv", "*.md", "rules/*.toml"],
        "mm_lib.publish": ["*.proto", "*.pyi"],
        "mm_lib.reports": ["templates/*"],
        MIGRATIONS: ["script.py.mako"],
        "mm_redirector": ["py.typed", "explain.html", "replay.html"],
        "mm_crawler": ["py.typed"],
        "mm_frontend.data": ["schemas/*.json"],
        "mm_frontend.statistics": ["world.json"],
        "mm_frontend": ["py.typed", "templates/*", "templates/*/*", "static/*", "static/*/*", "translations/*/*/*.po"],
    },
    ext_modules=extensions(),
    install_requires=BASE,
    extras_require={
        "admin": [*DATABASE, *GEODATA, *DOWNLOADS, *PROTOBUF, *STATISTICS],
        "protobuf": PROTOBUF,
        "redirector": REDIRECTOR,
        "crawler": CRAWLER,
        "frontend": FRONTEND,
        "geodata": GEODATA,
        "signing": SIGNING,
        "statistics": [*DATABASE, *STATISTICS],
        "reports": [*DATABASE, *REPORTS],
        "amqp": AMQP,
        "ldap": LDAP,
        "oidc": OIDC,
        "redis": REDIS,
        "compile": COMPILE,
        "demo": DEMO,
        "test": sorted(
            {
                *AMQP,
                *DEMO,
                *STATISTICS,
                *GEODATA,
                *DOWNLOADS,
                *LDAP,
                *OIDC,
                *PROTOBUF,
                *REDIS,
                *REPORTS,
                *SIGNING,
                *TEST,
            }
        ),
    },
    entry_points={
        "console_scripts": [
            "mm-admin=mm_lib.cli.main:main",
            "mm-crawler=mm_crawler.cli:main",
            "mm-frontend=mm_frontend.wsgi:main",
            "mm-redirector=mm_redirector.server:main",
        ]
    },
)
