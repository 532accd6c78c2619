"""Years of statistics in PostgreSQL, made by the server itself: requests, mirrors, and how updates and health went.

Three years of requests by 250 countries, 1,500 repositories and 700 mirrors; 600 of these are public. Ninety days of
propagation of all 1,500 repositories, measured every three hours, with 100 versions of each, and what each mirror has
of each; a year of health, in which every category of every mirror changed sixty times.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, Engine, text

from mm_lib.services import schema

FIRST, LAST = date(2023, 11, 30), date(2026, 11, 29)
MIRRORS, PRIVATE, REPOSITORIES = 700, 100, 1_500
COUNTRIES = [f"{one}{other}" for one in "ABCDEFGHIJ" for other in "ABCDEFGHIJKLMNOPQRSTUVWXY"]  # 250
PREFIXES = [f"{kind}-{number}" for kind in ("fedora", "updates-released-f", "epel") for number in range(500)]
ARCHES = ["x86_64", "aarch64", "ppc64le", "s390x", "i386"]
HOSTS = [f"mirror{number}.example.org" for number in range(1, MIRRORS + 1)]
NAMES = {"all": [""], "countries": COUNTRIES, "repositories": PREFIXES, "archs": ARCHES, "hosts": HOSTS}

_REQUESTS = """
INSERT INTO access_statistic (level, dimension, start, name, requests, clients)
SELECT 'day', :dimension, day::date, name, 1000 + abs(hashtext(name || day)) % 100000, 100
FROM generate_series(CAST(:first AS date), CAST(:last AS date), interval '1 day') AS day, unnest(:names) AS name
"""
_ROLL_UP = """
INSERT INTO access_statistic (level, dimension, start, name, requests, clients)
SELECT CAST(:level AS varchar), dimension, date_trunc(:level, start)::date, name, sum(requests), sum(clients)
FROM access_statistic WHERE level = 'day' GROUP BY dimension, date_trunc(:level, start), name
"""
# Real countries, that the map can show; each mirror has a place, and one in ten is somewhere that nobody knows.
_WORLD = f"""
INSERT INTO product (id, name, public, sort_order)
SELECT n, (ARRAY['Fedora', 'Fedora Updates', 'EPEL'])[n], true, n FROM generate_series(1, 3) n;
INSERT INTO version (id, product_id, name, display_name, codename, is_test, display, sort_order)
SELECT n, 1 + (n - 1) / 50, 'v' || n % 50, '', '', false, true, 0 FROM generate_series(1, 150) n;
INSERT INTO arch (id, name, public, primary_arch) VALUES (1, 'x86_64', true, true);
INSERT INTO category (id, product_id, name, topdir, public, admin_only, canonical_host, source, sentinels, vanished,
    created_at, updated_at)
SELECT n, n, 'Category ' || n, 'pub/' || n, true, false, '', '{{}}', '{{}}', 0, now() - interval '3 years', now()
FROM generate_series(1, 3) n;
INSERT INTO directory (id, category_id, path, readable, mtime, file_count, sample, created_at, changed_at)
SELECT n, 1 + (n - 1) / 500, 'pub/' || n || '/repodata', true, 0, 10, '[]', now(), now()
FROM generate_series(1, {REPOSITORIES}) n;
INSERT INTO repository (id, prefix, version_id, arch_id, category_id, directory_id, enabled, pinned, created_at,
    updated_at)
SELECT n, (ARRAY['fedora', 'updates-released-f', 'epel'])[1 + (n - 1) / 500] || '-' || (n - 1) % 500,
    1 + (n - 1) / 10, 1, 1 + (n - 1) / 500, n, true, false, now(), now() FROM generate_series(1, {REPOSITORIES}) n;
INSERT INTO file_detail (id, directory_id, filename, content_id, timestamp, size, md5, first_seen_at)
SELECT 10 * d + n, d, 'repomd.xml', 'md5:' || n, 1790000000 + n * 86400, 3000, md5(n::text),
    now() - n * interval '1 day'
FROM generate_series(1, {REPOSITORIES}) d, generate_series(0, 9) n;
INSERT INTO site (id, name, org_url, private, all_sites_can_pull, downstream_comments, weekly_report, created_by,
    state, state_reason, state_by, deleted_by, created_at, updated_at)
SELECT n, 'Site ' || n, 'https://site' || n || '.example.org', false, false, '', false, '', 'active', '', '', '', now(),
    now()
FROM generate_series(1, {MIRRORS}) n;
INSERT INTO host (id, site_id, name, country, bandwidth_mbps, max_connections, private, crawl_private, asn_clients,
    latitude, longitude, comment, robot_email, state, state_reason, state_by, deleted_by, created_at, updated_at)
SELECT n, n, 'mirror' || n || '.example.org',
    (ARRAY['DE', 'US', 'FR', 'BR', 'JP', 'CN', 'IN', 'AU', 'GB', 'NL', 'PL', 'SE', 'ZA', 'CA', 'IT'])[1 + n % 15],
    (ARRAY[100, 1000, 10000, 40000])[1 + n % 4], 1, n > {MIRRORS - PRIVATE}, false, true,
    CASE WHEN n % 10 > 0 THEN hashtext('x' || n) % 60 END, CASE WHEN n % 10 > 0 THEN hashtext('y' || n) % 170 END,
    '', '', 'active', '', '', '', now(), now()
FROM generate_series(1, {MIRRORS}) n;
INSERT INTO host_asn (host_id, asn, kind, name)
SELECT n, 64500 + n % 300, 'own', '' FROM generate_series(1, {MIRRORS}) n;
INSERT INTO host_category (id, host_id, category_id, always_up_to_date, created_at, updated_at)
SELECT 3 * n + c, n, c, false, now() - interval '2 years', now()
FROM generate_series(1, {MIRRORS}) n, generate_series(1, 3) c WHERE c <= 1 + n % 3;
INSERT INTO host_category_url (host_category_id, url, private, problem, created_at)
SELECT id, scheme || '://mirror' || host_id || '.example.org/' || category_id, false, '', now()
FROM host_category, unnest(ARRAY['https', 'http', 'rsync']) scheme;
INSERT INTO host_category_state (host_category_id, up_to_date, directories_up_to_date, directories_total,
    established_at, source)
SELECT id, '', 500 - id % 2, 500, now(), 'crawl' FROM host_category;
INSERT INTO health_change (host_category_id, at, health, reason)
SELECT c.id,
    now() - interval '365 days' + n * interval '6 days' + abs(hashtext(c.id::text || n)) % 86400 * interval '1 s',
    (ARRAY['suspect', 'quarantined', 'probation', 'active'])[1 + n % 4], 'HTTP 503'
FROM host_category c, generate_series(0, 59) n ORDER BY n, c.id;
INSERT INTO host_category_health (host_category_id, health, reason, since, failures, successes)
SELECT DISTINCT ON (host_category_id) host_category_id, health, reason, at, 0, 0
FROM health_change ORDER BY host_category_id, at DESC;
INSERT INTO repository_mirror_state (host_category_id, repository_id, file_detail_id, verdict, lag_seconds, checked_at)
SELECT c.id, r.id, 10 * r.directory_id + v, (ARRAY['ok', 'ok', 'alternate', 'stale'])[1 + v], v * 86400, now()
FROM host_category c JOIN repository r USING (category_id), abs(hashtext(c.id || '/' || r.id)) h, mod(h, 4) v;
INSERT INTO propagation_statistic (repository_id, at, same_day, one_day, two_days, older, unknown, mirrors_mean)
SELECT r, now() - n * interval '3 hours', 300 + n % 50, 60, 30, 20, 10, 440 + r % 20
FROM generate_series(719, 0, -1) n, generate_series(1, {REPOSITORIES}) r;
INSERT INTO propagation_version (repository_id, timestamp, published_at, measured_at, mirrors, mirrors_reached,
    requests_reached, mirrors_50, mirrors_80, mirrors_90, mirrors_95, requests_50, requests_80, requests_90)
SELECT r, 1790000000 + (100 - n) * 86400, now() - n * interval '1 day', now() - n * interval '20 hours', 420, 400, 0.94,
    7200, 21600, 43200, 86400, 3600, 10800, 36000
FROM generate_series(99, 0, -1) n, generate_series(1, {REPOSITORIES}) r;
"""


def fill(engine: Engine) -> int:
    """Make the schema and all that is in it; the number of figures of requests."""
    schema.upgrade(engine)
    with engine.begin() as connection:
        _requests(connection)
        connection.execute(text(_WORLD))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))  # as PostgreSQL does by itself
        return int(connection.scalar(text("SELECT count(*) FROM access_statistic")) or 0)


def _requests(connection: Connection) -> None:
    for dimension, names in NAMES.items():
        values = {"dimension": dimension, "names": names, "first": FIRST, "last": LAST}
        connection.execute(text(_REQUESTS), values)
    for level in ("week", "month", "year"):
        connection.execute(text(_ROLL_UP), {"level": level})
