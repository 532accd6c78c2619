"""A MirrorManager2 database as backend.md 1.1 describes its tables, on a PostgreSQL server of the tests."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  a class

_DATE, _BOOL, _TEXT, _INT, _BYTES, _FLOAT = "timestamp", "boolean", "text", "integer", "bytea", "double precision"


def _columns(kind: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), kind)


TABLES: dict[str, dict[str, str]] = {
    "site": {
        **_columns(_TEXT, "name password org_url created_by downstream_comments"),
        **_columns(_BOOL, "private admin_active user_active all_sites_can_pull_from_me email_on_drop email_on_add"),
        "created_at": _DATE,
    },
    "site_admin": {"username": _TEXT, "site_id": _INT},
    "site_to_site": {**_columns(_INT, "upstream_site_id downstream_site_id"), **_columns(_TEXT, "username password")},
    "host": {
        **_columns(_TEXT, "name robot_email country comment disable_reason"),
        **_columns(_TEXT, "push_ssh_private_key push_ssh_host push_ssh_command"),
        **_columns(_BOOL, "admin_active user_active private internet2 internet2_clients asn_clients"),
        **_columns("bigint", "site_id bandwidth_int asn max_connections last_crawl_duration crawl_failures"),
        **_columns(_DATE, "last_checked_in last_crawled"),
        **_columns(_BYTES, "config last_crawls"),
        **_columns(_FLOAT, "latitude longitude"),
    },
    "host_acl_ip": {"host_id": _INT, "ip": _TEXT},
    "host_country_allowed": {"host_id": _INT, "country": _TEXT},
    "host_netblock": {"host_id": _INT, **_columns(_TEXT, "netblock name")},
    "host_peer_asn": {"host_id": _INT, "asn": "bigint", "name": _TEXT},
    "host_country": _columns(_INT, "host_id country_id"),
    "host_location": _columns(_INT, "host_id location_id"),
    "host_stats": {"host_id": _INT, "timestamp": _DATE, "type": _TEXT, "data": _BYTES},
    "country": {"code": _TEXT},
    "location": {"name": _TEXT},
    "product": {"name": _TEXT, "publiclist": _BOOL},
    "version": {
        "product_id": _INT,
        **_columns(_TEXT, "name codename display_name"),
        **_columns(_BOOL, "is_test display ordered_mirrorlist"),
        "sortorder": _INT,
    },
    "arch": {"name": _TEXT, **_columns(_BOOL, "publiclist primary_arch")},
    "category": {
        **_columns(_INT, "product_id topdir_id"),
        **_columns(_TEXT, "name canonicalhost geo_dns_domain"),
        **_columns(_BOOL, "publiclist admin_only"),
    },
    "directory": {"name": _TEXT, "files": _BYTES, "readable": _BOOL, "ctime": "bigint"},
    "category_directory": _columns(_INT, "category_id directory_id"),
    "repository": {
        **_columns(_TEXT, "name prefix"),
        **_columns(_INT, "category_id version_id arch_id directory_id"),
        "disabled": _BOOL,
    },
    "repository_redirect": _columns(_TEXT, "from_repo to_repo"),
    "file_detail": {
        "directory_id": _INT,
        **_columns(_TEXT, "filename md5 sha1 sha256 sha512"),
        **_columns("bigint", "timestamp size"),
    },
    "file_group": {"name": _TEXT},
    "file_detail_file_group": _columns(_INT, "file_detail_id file_group_id"),
    "directory_exclusive_host": _columns(_INT, "directory_id host_id"),
    "host_category": {**_columns(_INT, "host_id category_id"), "always_up2date": _BOOL},
    "host_category_url": {"host_category_id": _INT, "url": _TEXT, "private": _BOOL},
    "host_category_dir": {"host_category_id": _INT, "path": _TEXT, "up2date": _BOOL, "directory_id": _INT},
    "country_continent_redirect": _columns(_TEXT, "country continent"),
    "netblock_country": _columns(_TEXT, "netblock country"),
    "embargoed_country": {"country_code": _TEXT},
    "access_stat_category": {"name": _TEXT},
    "access_stat": {"category_id": _INT, "date": "date", "name": _TEXT, "percent": _FLOAT, "requests": _INT},
    "propagation_stat": {
        "repository_id": _INT,
        "datetime": _DATE,
        **_columns(_INT, "same_day one_day two_day older no_info"),
    },
    "mm_user": {**_columns(_TEXT, "user_name email_address display_name password token"), "created": _DATE},
    "mm_group": {**_columns(_TEXT, "group_name display_name"), "created": _DATE},
    "mm_user_group": _columns(_INT, "user_id group_id"),
    "mm_user_visit": {"user_id": _INT, "visit_key": _TEXT},
}
_NO_ID = {"category_directory", "access_stat", "propagation_stat", "mm_user_group"}


def create(dsn: str) -> Connection:
    """Make the tables in an empty database; the connection commits by itself."""
    made = psycopg2.connect(dsn)
    made.autocommit = True
    with made.cursor() as cursor:
        for name, columns in TABLES.items():
            first = [] if name in _NO_ID else ["id serial PRIMARY KEY"]
            rest = [f'"{column}" {kind}' for column, kind in columns.items()]
            cursor.execute(f'CREATE TABLE "{name}" ({", ".join(first + rest)})')
        cursor.execute("CREATE INDEX ON host_category_dir (host_category_id, path)")
    return made


def create_sqlite(path: Path) -> None:
    """The same tables in a file, as MirrorManager2 has them where nothing else is configured; one host."""
    with sqlite3.connect(path) as made:
        for name, columns in TABLES.items():
            first = [] if name in _NO_ID else ["id integer PRIMARY KEY"]
            rest = [f'"{column}" {kind}' for column, kind in columns.items()]
            made.execute(f'CREATE TABLE "{name}" ({", ".join(first + rest)})')
        for row in (
            "product (name, publiclist) VALUES ('Fedora', 1)",
            "directory (name, readable, ctime) VALUES ('pub', 1, 5)",
            "directory (name, readable, ctime) VALUES ('pub/a', 1, 5)",
            "category (product_id, name, topdir_id, publiclist) VALUES (1, 'Linux', 1, 1)",
            "category_directory VALUES (1, 1), (1, 2)",
            "site (name, admin_active, user_active, created_at) VALUES ('S', 1, 1, '2020-01-02 03:04:05')",
            "host (name, site_id, user_active, private, last_crawled) VALUES ('h', 1, 0, 0, '2026-11-01 12:00:00.5')",
            "host_category (host_id, category_id, always_up2date) VALUES (1, 1, 0)",
            "host_category_dir (host_category_id, path, up2date, directory_id) VALUES (1, '', 1, 1), (1, 'a', 0, 2)",
        ):
            made.execute(f"INSERT INTO {row}")


def add(connection: Connection, table: str, *rows: dict[str, Any]) -> None:
    """Rows of a table; what they do not name is NULL."""
    with connection.cursor() as cursor:
        for row in rows:
            names, places = ", ".join(f'"{name}"' for name in row), ", ".join("%s" for _ in row)
            cursor.execute(f'INSERT INTO "{table}" ({names}) VALUES ({places})', list(row.values()))
