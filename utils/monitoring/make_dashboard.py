"""Write dashboard.json for Grafana anew: `python utils/monitoring/make_dashboard.py`, with the extra [test] installed.

Grafana's own SDK knows which fields a panel has; the file is what it makes of the table below.
"""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

FILE = Path(__file__).with_name("dashboard.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
HEIGHT, WIDTH = 7, 8  # of a panel; a row of Grafana has 24 units


class Panel(NamedTuple):
    """One panel: its queries with the names of their lines."""

    title: str
    meaning: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    single: bool = False  # one number instead of lines over time


ROWS: dict[str, tuple[Panel, ...]] = {
    "Redirectors": (
        Panel(
            "Answers per second",
            "By kind, over all redirectors.",
            "reqps",
            (('sum by (kind) (rate(mm_redirector_requests_total{result="OK"}[5m]))', "{{kind}}"),),
        ),
        Panel(
            "Refusals per second",
            "By reason.",
            "reqps",
            (('sum by (result) (rate(mm_redirector_requests_total{result!="OK"}[5m]))', "{{result}}"),),
        ),
        Panel(
            "Time to answer",
            "Half of the requests and all but one of a hundred are answered faster.",
            "s",
            tuple(
                (
                    f"histogram_quantile({share}, sum by (le) (rate(mm_redirector_request_seconds_bucket[5m])))",
                    f"{name} of requests",
                )
                for share, name in ((0.5, "50 %"), (0.99, "99 %"))
            ),
        ),
        Panel(
            "Which tier answers",
            "Where the first mirror of an answer comes from.",
            "reqps",
            (('sum by (tier) (rate(mm_redirector_requests_total{result="OK"}[5m]))', "{{tier}}"),),
        ),
        Panel(
            "Age of the cache",
            "Since it was built; a line for each redirector.",
            "s",
            (("mm_redirector_cache_age_seconds", "{{instance}}"),),
        ),
        Panel(
            "Memory and CPU",
            "Of all worker processes of a redirector; pages that they share count in each.",
            "short",
            (
                ("mm_redirector_workers", "{{instance}} workers"),
                ('rate(process_cpu_seconds_total{job="mm-redirector"}[5m])', "{{instance}} CPU"),
            ),
        ),
    ),
    "Mirrors": (
        Panel(
            "Hosts",
            "By state.",
            "short",
            (("sum by (state) (mm_hosts)", "{{state}}"),),
        ),
        Panel(
            "Health of what they carry",
            "Categories on hosts; quarantined ones are handed out to nobody.",
            "short",
            (("sum by (state) (mm_host_categories)", "{{state}}"),),
        ),
        Panel(
            "Newest metadata on mirrors",
            "Share of mirrors with the newest version of a repository's metadata.",
            "percentunit",
            (("mm_propagation_mirrors_ratio", "{{repository}}"),),
        ),
        Panel(
            "Since the masters were scanned",
            "By category.",
            "s",
            (("time() - mm_master_scanned_timestamp_seconds", "{{category}}"),),
        ),
        Panel(
            "Since the last run",
            "Of each kind.",
            "s",
            (("time() - max by (kind) (mm_run_finished_timestamp_seconds)", "{{kind}}"),),
        ),
        Panel(
            "Last runs of the crawler",
            "What was counted in the last run of each tier.",
            "short",
            (('mm_crawler_last_run_count{kind="mirrors"}', "{{tier}} {{what}}"),),
        ),
    ),
    "Front end": (
        Panel(
            "Pages per second",
            "By status.",
            "reqps",
            (("sum by (status) (rate(mm_frontend_requests_total[5m]))", "{{status}}"),),
        ),
        Panel(
            "Time to make a page",
            "All but one of twenty are faster.",
            "s",
            (
                (
                    "histogram_quantile(0.95, sum by (le) (rate(mm_frontend_request_seconds_bucket[5m])))",
                    "95 % of pages",
                ),
            ),
        ),
        Panel(
            "Since access logs were read",
            "By mm-admin statistics ingest; the figures on the statistics pages are as old.",
            "s",
            (("time() - mm_access_logs_read_timestamp_seconds", "{{instance}}"),),
        ),
        Panel(
            "Lines of access logs per hour",
            "By whether they could be counted.",
            "short",
            (("delta(mm_access_log_lines[1h])", "{{state}}"),),
        ),
        Panel(
            "Notifications given up",
            "Mails, webhooks and messages that need a person.",
            "short",
            (('sum(mm_outbox_deliveries{state="dead"})', "dead"),),
            single=True,
        ),
    ),
}


def make() -> dashboard.Dashboard:
    """The whole dashboard."""
    made = (
        dashboard.Dashboard("MirrorManager")
        .uid("mirrormanager")
        .tags(["mirrormanager"])
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    ids = count(1)
    for title, panels in ROWS.items():
        made.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            made.with_panel(_panel(panel).id(next(ids)))
    return made


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    made: timeseries.Panel | stat.Panel
    if panel.single:
        made = stat.Panel().graph_mode(BigValueGraphMode.AREA)
    else:
        made = timeseries.Panel().legend(common.VizLegendOptions().show_legend(True)).fill_opacity(8)
    made.title(panel.title).description(panel.meaning).unit(panel.unit).datasource(SOURCE).height(HEIGHT).span(WIDTH)
    for number, (query, name) in enumerate(panel.queries):
        made.with_target(prometheus.Dataquery().expr(query).legend_format(name).ref_id(chr(ord("A") + number)))
    return made


def text() -> str:
    """The file's content."""
    return json.dumps(json.loads(JSONEncoder().encode(make().build())), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
