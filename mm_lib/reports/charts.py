"""Charts as PNG: the same numbers, the same bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mm_lib.reports.document import Chart

INCHES = (8.0, 3.0)
DOTS = 160  # per inch: twice the width that pages show, for fine screens and paper
COLOUR = "#2b5fa8"


def png(chart: Chart) -> bytes:
    """Dark on white, as paper has it; the picture's text alternative and the tables say the same in words."""
    # Not as somebody's own matplotlibrc says.
    with mpl.rc_context(mpl.rcParamsDefault):
        figure = Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        if chart.bars:
            axes.bar(chart.labels, chart.values, color=COLOUR)
        else:
            places = range(len(chart.labels))
            axes.plot(places, chart.values, color=COLOUR, linewidth=2, marker="o", markersize=3)
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _label(chart, place)))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        found = io.BytesIO()
        figure.savefig(found, format="png", metadata={"Software": None})
    return found.getvalue()


def _label(chart: Chart, place: float) -> str:
    at = round(place)
    return chart.labels[at] if 0 <= at < len(chart.labels) else ""


def data_address(chart: Chart) -> str:
    """The picture itself as an address: a page in one file."""
    return "data:image/png;base64," + base64.b64encode(png(chart)).decode("ascii")


def fonts() -> tuple[Path, Path]:
    """DejaVu Sans, normal and bold, which matplotlib brings along: PDF has letters of most languages with it."""
    folder = Path(mpl.get_data_path()) / "fonts/ttf"
    return folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf"
