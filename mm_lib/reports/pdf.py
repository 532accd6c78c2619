"""A report as PDF, with bookmarks, text alternatives, and tables whose heads come again on each page."""

from __future__ import annotations

import logging

from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from mm_lib.reports import charts
from mm_lib.reports.document import Block, Bullets, Chart, Document, Table, Text
from mm_lib.reports.rendering import one_line

FONT = "DejaVu"
SIZES = {1: 20, 2: 15, 3: 12}
BODY, SMALL, LINE = 10, 8.5, 5.5
CHART = 0.8  # of the width: letters in it are about as large as those around it


class _Paper(FPDF):
    """Pages with a number below."""

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font(FONT, size=SMALL)
        self.cell(0, LINE, f"{self.page_no()}", align="C")


def render(document: Document) -> bytes:
    """The same report, the same bytes: the end of its period stands where others write the time."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every table of a font
    paper = _Paper(format="A4")
    normal, bold = charts.fonts()
    paper.add_font(FONT, fname=normal)
    paper.add_font(FONT, style="B", fname=bold)
    try:
        return _filled(paper, document)
    finally:
        for font in paper.fonts.values():  # the library leaves their files open
            if isinstance(font, TTFFont):
                font.ttfont.close()


def _filled(paper: FPDF, document: Document) -> bytes:
    paper.set_title(one_line(document.title))
    paper.set_lang("en")
    paper.set_creation_date(document.ends_at)
    paper.set_producer("MirrorManager")
    paper.add_page()
    _heading(paper, document.title, 1)
    for block in document.introduction:
        _put(paper, block)
    for section in document.sections:
        _heading(paper, section.title, section.level)
        for block in section.blocks:
            _put(paper, block)
    return bytes(paper.output())


def _heading(paper: FPDF, title: str, level: int) -> None:
    paper.ln(2)
    paper.set_font(FONT, style="B", size=SIZES[level])
    _keep_together(paper, 4 * LINE)
    paper.start_section(one_line(title), level=level - 1)
    _lines(paper, title, SIZES[level] / 2)


def _keep_together(paper: FPDF, height: float) -> None:
    """A heading or caption never stands alone at the foot of a page."""
    if paper.will_page_break(height):
        paper.add_page()


def _put(paper: FPDF, block: Block) -> None:
    paper.set_font(FONT, size=BODY)
    if isinstance(block, Text):
        _lines(paper, block.text, LINE)
    elif isinstance(block, Bullets):
        for item in block.items:
            _lines(paper, f"• {item}", LINE)
    elif isinstance(block, Table):
        _table(paper, block)
    else:
        _chart(paper, block)
    paper.ln(2)


def _lines(paper: FPDF, text: str, height: float) -> None:
    paper.multi_cell(0, height, one_line(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _table(paper: FPDF, block: Table) -> None:
    paper.set_font(FONT, style="B", size=BODY)
    _keep_together(paper, 4 * LINE)
    _lines(paper, block.caption, LINE)
    paper.set_font(FONT, size=SMALL)
    aligns = tuple("RIGHT" if place in block.numbers else "LEFT" for place in range(len(block.columns)))
    widths = _widths(block)
    heads = FontFace(emphasis="BOLD")
    layout = TableBordersLayout.HORIZONTAL_LINES
    paper.set_draw_color(170)
    with paper.table(
        text_align=aligns,
        col_widths=widths,
        headings_style=heads,
        borders_layout=layout,
        line_height=LINE - 1,
        padding=(0, 1.5),
    ) as table:
        for row in (block.columns, *block.rows):
            cells = table.row()
            for cell in row:
                cells.cell(one_line(cell))


def _widths(block: Table) -> tuple[int, ...]:
    """By the longest text of each column, within limits."""
    rows = (block.columns, *block.rows)
    return tuple(max(10, min(50, max(len(row[place]) for row in rows))) for place in range(len(block.columns)))


def _chart(paper: FPDF, block: Chart) -> None:
    width, height = charts.INCHES
    wide = CHART * paper.epw
    _keep_together(paper, LINE + wide * height / width)
    _lines(paper, block.caption, LINE)
    paper.image(charts.png(block), w=wide, alt_text=one_line(block.alternative))
