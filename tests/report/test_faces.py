"""HTML and PDF: self-contained, accessible, equal bytes, and nothing interpreted that should be text."""

import base64
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from report_run import STUDY

from sciimg.protocol import parse_study
from sciimg.report import html, palette, pdf
from sciimg.report.build import plan_of_study, report_of_run, write_report
from sciimg.review.typesetting import templates

HOSTILE = '</style><script>alert(1)</script> #read("data.json") $x$ *b* <img src=x onerror=y> & "q" \\'


class Page(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(refused):
    return Page(html.render(refused).decode())


@pytest.fixture(scope="module")
def hostile():
    study = parse_study(STUDY.encode(), "s.yaml").study
    changed = study.model_copy(update={"title": HOSTILE, "question": HOSTILE, "limits": (HOSTILE,)})
    return plan_of_study(changed)


def test_both_faces_have_equal_bytes_each_time(refused, refused_run):
    again = report_of_run(refused_run)
    assert html.render(again) == html.render(refused)
    assert pdf.render(again) == pdf.render(refused)


def test_both_faces_have_equal_bytes_in_every_process(refused_run, tmp_path):
    """Order of sets and dictionaries, locale and zone of the clock are other ones in another process."""
    script = "import sys; from pathlib import Path as P; from sciimg.report.build import *; "
    script += "write_report(report_of_run(P(sys.argv[1])), P(sys.argv[2]))"
    for seed, zone in (("1", "UTC"), ("2", "Asia/Kathmandu")):
        (tmp_path / seed).mkdir()
        settings = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone}
        subprocess.run([sys.executable, "-c", script, str(refused_run), str(tmp_path / seed)], env=settings, check=True, timeout=300)
    for name in ("report.html", "report.pdf"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
        assert (tmp_path / "1" / name).stat().st_size < 5_000_000


def test_the_example_is_complete_and_as_the_code_makes_it(refused):
    """A real study, both faces about one payload, no larger than may be sent; with another template it is to be made anew."""
    folder = Path(__file__).parents[2] / "reports/examples/tissue-demo"
    page, paper = (folder / "report.html").read_text(), (folder / "report.pdf").read_bytes()
    assert max(len(page.encode()), len(paper)) < 5_000_000
    (payload,) = set(re.findall(rb"sha256:([0-9a-f]{64})", paper))
    assert payload.decode() in re.sub(r"<wbr>", "", page)
    style, now = (re.search(r"<style>(.*?)</style>", text, re.S)[1] for text in (page, html.render(refused).decode()))
    assert style == now, "the page looks otherwise today: render reports/examples again"
    ids = re.findall(r'<h2 id="([a-z-]+)"', page)
    for name in (
        "question",
        "registered",
        "done",
        "pictures",
        "gates",
        "measured",
        "use",
        "machinery",
        "review",
        "conclusions",
        "limits",
        "checking",
        "appendix",
    ):
        assert name in ids


def test_the_page_needs_nothing_but_itself(page, refused):
    text = html.render(refused).decode()
    assert len(text) < 5_000_000
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    for _, attributes in page.attributes:
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attributes)
    css = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert "url(" not in css and "@import" not in css and "@font-face" not in css


def test_every_picture_has_words(page):
    images = [a for tag, a in page.attributes if tag == "img"]
    drawings = [a for _, a in page.attributes if a.get("role") == "img"]
    assert images and drawings
    assert all(len(a["alt"]) > 10 for a in images)
    assert all(len(a["aria-label"]) > 10 for a in drawings)


def test_headings_begin_at_one_and_skip_no_level(page):
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_ids_are_unique_and_every_link_arrives(page):
    ids = [a["id"] for _, a in page.attributes if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for tag, a in page.attributes if tag == "a"]
    assert set(links) <= set(ids) and len(links) > 10
    assert all(a["aria-labelledby"] in ids for _, a in page.attributes if "aria-labelledby" in a)


def test_verdict_and_outcomes_are_words_not_colours_alone(page):
    text = " ".join(page.text)
    assert "Refused" in text
    for word in ("failed", "passed", "inconclusive"):
        assert word in text


def test_tables_name_their_columns_and_can_be_scrolled_by_keyboard(page):
    assert page.tags.count("caption") == page.tags.count("table") == page.tags.count("thead")
    regions = [a for _, a in page.attributes if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)


def test_text_stays_text_in_html(hostile):
    text = html.render(hostile).decode()
    page = Page(text)
    assert "script" not in page.tags
    assert not any("onerror" in a for _, a in page.attributes)
    assert "alert(1)" in " ".join(page.text)


def test_text_stays_text_in_pdf(hostile):
    assert pdf.render(hostile).startswith(b"%PDF-")


def test_pdf_is_tagged_titled_and_dated_by_the_study(refused):
    data = pdf.render(refused)
    for mark in (b"/MarkInfo", b"/StructTreeRoot", b"pdfuaid:part>1<", b"2026-01-15"):
        assert mark in data
    assert b"Refused: Fixture study" in data or b"Refused" in data


def test_letters_that_the_own_fonts_lack_do_not_stop_the_pdf(refused):
    title = "\u7d30\u80de and \u6838"  # as a study in another script would have
    assert pdf.render(refused.model_copy(update={"title": title})).startswith(b"%PDF-")


def test_files_are_written_side_by_side(accepted, tmp_path):
    paths = write_report(accepted, tmp_path)
    assert [p.name for p in paths] == ["report.html", "report.pdf"]
    plan = write_report(plan_of_study(parse_study(STUDY.encode(), "s.yaml").study), tmp_path)
    assert [p.name for p in plan] == ["plan.html", "plan.pdf"]


def test_the_model_is_one_json_value(refused):
    from sciimg.report.model import ReportModel

    assert ReportModel.model_validate(refused.as_json()) == refused
    rows = [row for s in refused.sections for b in s.blocks if b.kind == "plate" for row in b.rows]
    assert all(base64.b64decode(row.picture.data)[:4] == b"\x89PNG" for row in rows)


# ---------------------------------------------------------------- contrast


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a, b):
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_colours_have_contrast(theme):
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 for text, on the page and on panels, light and dark."""
    css = (templates() / "report.css").read_text()
    colours = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", css.split(":root {")[theme + 1].split("}")[0]))
    for ground in ("ground", "panel"):
        for ink in ("ink", "quiet", "good", "bad", "open", "note", "s1", "s2", "s3", "s4"):
            assert _contrast(colours[ink], colours[ground]) >= 4.5, (theme, ink, ground)


def test_printed_colours_have_contrast():
    for name, colour in palette.paper_colours().items():
        if name not in ("line", "band"):
            assert _contrast(colour, "#ffffff") >= 4.5, name
