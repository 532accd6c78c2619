"""Charts as PNG: the same numbers, the same bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.typing import RcKeyType

from mm_lib.reports.document import Chart

INCHES = (6.4, 2.7)  # small beside its letters, so that these can be read on a phone
DOTS = 200  # per inch: twice the width that pages show, for fine screens and paper
COLOUR, DARK_COLOUR = "#2b5fa8", "#86b4f5"
INK = "#e6e6e6"
PAPER: dict[RcKeyType, Any] = {"font.size": 12}
DARK: dict[RcKeyType, Any] = PAPER | {
    "axes.edgecolor": INK, "grid.color": "#8a8a8a", "text.color": INK, "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip


def png(chart: Chart, *, dark: bool = False) -> bytes:
    """Dark on white, as paper has it; or light on whatever dark ground there is.

    The picture's text alternative and the tables say the same in words.
    """
    # Not as somebody's own matplotlibrc says.
    with mpl.rc_context(mpl.rcParamsDefault), mpl.rc_context(DARK if dark else PAPER):
        figure = Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _draw(axes, chart, DARK_COLOUR if dark else COLOUR)
        axes.spines[["top", "right"]].set_visible(False)
        found = io.BytesIO()
        figure.savefig(found, format="png", metadata={"Software": None}, transparent=dark)
    return found.getvalue()


def _draw(axes: Axes, chart: Chart, colour: str) -> None:
    thousands = FuncFormatter(lambda value, _: f"{value:,.0f}")
    if chart.bars:  # lying, the first above: names have room
        axes.barh(range(len(chart.labels)), chart.values, color=colour)
        axes.set_yticks(range(len(chart.labels)), chart.labels)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_formatter(thousands)
        axes.grid(axis="x", alpha=0.3)
        return
    axes.plot(range(len(chart.labels)), chart.values, color=colour, linewidth=2, marker="o", markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _label(chart, place)))
    axes.set_ylim(0, 1.08 * max(*chart.values, 1))  # the highest point is no part of the frame
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.yaxis.set_major_formatter(thousands)
    axes.grid(axis="y", alpha=0.3)


def _label(chart: Chart, place: float) -> str:
    at = round(place)
    return chart.labels[at] if 0 <= at < len(chart.labels) else ""


def data_address(chart: Chart, *, dark: bool = False) -> str:
    """The picture itself as an address: a page in one file."""
    return "data:image/png;base64," + base64.b64encode(png(chart, dark=dark)).decode("ascii")


def fonts() -> tuple[Path, Path]:
    """DejaVu Sans, normal and bold, which matplotlib brings along: PDF has letters of most languages with it."""
    folder = Path(mpl.get_data_path()) / "fonts/ttf"
    return folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf"
