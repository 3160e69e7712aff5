"""The report as one self-contained page: no script, no request, equal bytes for equal models."""

from markupsafe import Markup

from sciimg.report.model import ReportModel
from sciimg.report.palette import KEY_DASHES, for_screen
from sciimg.review.typesetting import render_html, templates


def render(report: ReportModel) -> bytes:
    """Return the HTML of a report."""
    css = (templates() / "report.css").read_text(encoding="utf-8")
    return render_html("report.html.j2", report=report, css=css, dashes=KEY_DASHES, drawing_of=_drawing)


def _drawing(svg: str) -> Markup:
    return Markup(for_screen(svg))  # drawn by sciimg.report.figures, which escapes every text in it
