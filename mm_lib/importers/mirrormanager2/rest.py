"""Geography and statistics, and by name whatever has no place with us."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import Any

from mm_lib.importers.mirrormanager2.hosts import country
from mm_lib.importers.mirrormanager2.source import Source, day, moment, text
from mm_lib.importers.mirrormanager2.writer import Ids, Keys, Writer
from mm_lib.importers.report import Outcome
from mm_lib.model.geography import CONTINENTS, CountryContinent, EmbargoedCountry, NetblockCountry
from mm_lib.model.statistics import (
    AccessDimension,
    AccessStatistic,
    PropagationStatistic,
    StatisticLevel,
)
from mm_lib.rules.netblocks import parse_network

_COUNTED = {kind.value: kind for kind in (AccessDimension.COUNTRY, AccessDimension.ARCH, AccessDimension.REPOSITORY)}

# What is in MirrorManager2 and has no place here, and why nothing is missed.
LEFT_TABLES = {
    "host_stats": "was not used any more: crawls have results of their own",
    "file_group": "was not used any more",
    "file_detail_file_group": "was not used any more",
    "mm_user_visit": "are sign-ins: people sign in anew",
}
LEFT_COLUMNS = {
    ("site", "email_on_drop"): "was never acted on; messages have settings of their own",
    ("site", "email_on_add"): "was never acted on; messages have settings of their own",
    ("host", "config"): "is a copy of what report_mirror sent last: the next check-in brings it",
    ("host", "last_crawls"): "is a list of old logs",
    ("host", "internet2"): "is not used: no redirector reads it any more",
    ("host", "internet2_clients"): "is not used: no redirector reads it any more",
    ("host", "push_ssh_private_key"): "mirrors are not pushed to, and private keys belong nowhere else",
    ("host", "push_ssh_host"): "mirrors are not pushed to",
    ("host", "push_ssh_command"): "mirrors are not pushed to",
    ("category", "geo_dns_domain"): "was shown only",
    ("version", "ordered_mirrorlist"): "was not used any more",
    ("mm_user", "token"): "is a link in a mail that was sent long ago",
}


def take_geography(source: Source, writer: Writer) -> None:
    """What operators of the source knew better than the databases of addresses and countries."""
    report = writer.report
    rows: list[dict[str, Any]] = []
    met = Keys(report, "country_continent_redirect")
    for row in source.rows("country_continent_redirect", "id", "country", "continent"):
        where, continent = f"country_continent_redirect {row.id}", text(row.continent).upper()
        code = country(row.country, where, str(row.country), report)
        if code and continent not in CONTINENTS:
            report.refused("country_continent_redirect", where, code, f"{continent} is no continent")
        elif code and met.free((code,), where, code):
            rows.append({"country": code, "continent": continent})
    writer.put("country_continent_redirect", CountryContinent, ["country"], rows)
    _netblocks(source, writer)
    met, rows = Keys(report, "embargoed_country"), []
    for row in source.rows("embargoed_country", "id", "country_code"):
        code = country(row.country_code, f"embargoed_country {row.id}", str(row.country_code), report)
        if code and met.free((code,), f"embargoed_country {row.id}", code):
            rows.append({"country": code})
    writer.put("embargoed_country", EmbargoedCountry, ["country"], rows)


def _netblocks(source: Source, writer: Writer) -> None:
    met, rows = Keys(writer.report, "netblock_country"), []
    for row in source.rows("netblock_country", "id", "netblock", "country"):
        where = f"netblock_country {row.id}"
        code = country(row.country, where, str(row.netblock), writer.report)
        try:
            found = parse_network(str(row.netblock or ""))
        except ValueError as error:
            writer.report.refused("netblock_country", where, str(row.netblock), str(error))
            continue
        if code and met.free((found.text,), where, found.text):
            if found.text != row.netblock:
                writer.report.repaired("netblock_country", where, str(row.netblock), f"is {found.text}")
            bounds = {"family": found.family, "first_address": found.first, "last_address": found.last}
            rows.append({"netblock": found.text, "country": code, **bounds})
    writer.put("netblock_country", NetblockCountry, ["netblock"], rows)


# -- statistics


def take_statistics(source: Source, writer: Writer, repositories: Ids) -> None:
    """Requests by day, with their sums; and how fast updates spread."""
    _requests(source, writer)
    met, rows = Keys(writer.report, "propagation_stat"), []
    columns = ("repository_id", "datetime", "same_day", "one_day", "two_day", "older", "no_info")
    for row in source.rows("propagation_stat", *columns, order_by=("repository_id", "datetime")):
        where, at, repository = f"propagation_stat {row.repository_id}", moment(row.datetime), repositories.get(row[0])
        if repository is None or at is None:
            writer.report.refused("propagation_stat", where, str(row.datetime), "its repository is not there")
        elif met.free((repository, at), where, str(at)):
            counts = [max(value or 0, 0) for value in row[2:]]
            names = ("same_day", "one_day", "two_days", "older", "unknown")
            rows.append({"repository_id": repository, "at": at, **dict(zip(names, counts, strict=True))})
    writer.put("propagation_stat", PropagationStatistic, ["repository_id", "at"], rows)


_Figures = dict[tuple[StatisticLevel, AccessDimension, date, str], int]
_KEY = ("level", "dimension", "start", "name")


def _requests(source: Source, writer: Writer) -> None:
    """Days that our own logs have counted stay as they are; sums of longer periods grow by what is new."""
    found = _days(source, writer)
    before = {row[:4]: row.requests for row in writer.known(AccessStatistic, *_KEY, "requests")}
    whole: _Figures = defaultdict(int)
    for (level, dimension, on, _), requests in found.items():
        if dimension is AccessDimension.COUNTRY:  # each request came from one
            whole[level, AccessDimension.ALL, on, ""] += requests
    sums: _Figures = {}
    for key, requests in (found | whole).items():
        _, dimension, on, name = key
        for level in (StatisticLevel.WEEK, StatisticLevel.MONTH, StatisticLevel.YEAR):
            period = level, dimension, _start(level, on), name
            grown = requests - before.get(key, 0)
            sums[period] = sums.get(period, before.get(period, 0)) + grown
    writer.put("access_stat", AccessStatistic, _KEY, _rows(found), keep=["clients"])
    writer.put("access_stat (sums)", AccessStatistic, _KEY, _rows(whole | sums), keep=["clients"])


def _days(source: Source, writer: Writer) -> _Figures:
    kinds = {row.id: str(row.name) for row in source.rows("access_stat_category", "id", "name")}
    ours = {row.start for row in writer.known(AccessStatistic, "start", "clients") if row.clients}
    found: _Figures = {}
    order = ("category_id", "date", "name")
    for row in source.rows("access_stat", "category_id", "date", "name", "requests", order_by=order):
        where, kind, on = f"access_stat {row.category_id} {row.date}", kinds.get(row.category_id, ""), day(row.date)
        if kind not in _COUNTED or on is None:
            reason = f"{kind or 'its category'} is none of {', '.join(_COUNTED)}"
            writer.report.refused("access_stat", where, str(row.name), reason)
        elif on in ours:
            writer.report.count(Outcome.UNCHANGED, "access_stat")
        else:
            found[StatisticLevel.DAY, _COUNTED[kind], on, text(row.name)[:255]] = max(row.requests or 0, 0)
    return found


def _rows(figures: _Figures) -> list[dict[str, Any]]:
    return [dict(zip(_KEY, key, strict=True)) | {"requests": number, "clients": 0} for key, number in figures.items()]


def _start(level: StatisticLevel, on: date) -> date:
    """The first day of the period; weeks begin on Monday."""
    if level is StatisticLevel.WEEK:
        return on - timedelta(days=on.weekday())
    if level is StatisticLevel.MONTH:
        return on.replace(day=1)
    return on.replace(month=1, day=1) if level is StatisticLevel.YEAR else on


# -- what is left


def tell_what_is_left(source: Source, writer: Writer) -> None:
    """Nothing is dropped without a word: a note for each table and column that has no place here and says something."""
    for name, reason in LEFT_TABLES.items():
        if rows := source.count(name):
            writer.report.count(Outcome.REFUSED, name, rows - 1)
            writer.report.refused(name, name, f"{rows} rows", reason)
    for (name, column), reason in LEFT_COLUMNS.items():
        if rows := source.count(name, column):
            writer.report.count(Outcome.REFUSED, f"{name}.{column}", rows - 1)
            writer.report.refused(f"{name}.{column}", name, f"{rows} rows", reason)
