"""The report in a real browser: nothing wider than a phone, nothing asked for, nothing wrong, in light and dark.

Needs Chromium (on Debian: ``apt install chromium``); nothing is downloaded.
"""

import base64
import re

import pytest
from browser import Browser, find_chromium
from report_run import make_run

from sciimg.report import html
from sciimg.report.build import report_of_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed here")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report = report_of_run(make_run(folder / "run"))
    title = "Immunohistochemistry of hepatocellular cholangiocarcinoma"  # one word is wider than a small phone
    (folder / "report.html").write_bytes(html.render(report.model_copy(update={"title": title})))
    return f"file://{folder}/report.html"


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_only_tables_scroll_sideways(browser, address, width):
    page = browser.page(width, 844, touch=width < 1000)
    page.goto(address)
    assert page.run("document.querySelector('h1').textContent.includes('cholangio')")
    assert page.run("document.documentElement.scrollWidth") <= width
    clipped = """[...document.querySelectorAll('h1, h2, h3, p, li, dd, figcaption')].filter(e => e.scrollWidth > e.clientWidth + 1
        && getComputedStyle(e).display !== 'inline' && !e.closest('.scroll')).map(e => e.textContent.slice(0, 60))"""
    assert page.run(clipped) == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == [] and page.errors == []
    page.close()


def test_it_can_be_printed(browser, address):
    """On paper nothing is cut off at the right, nothing is left to a click, and no page is dark."""
    page = browser.page(794, 1123)  # A4 at 96 dots an inch
    page.goto(address)
    page.send("Emulation.setEmulatedMedia", media="print")
    assert page.run("document.documentElement.scrollWidth") <= 794
    scrolls = "e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible'"
    cut_off = f"[...document.querySelectorAll('.scroll')].filter(e => {scrolls})"
    assert page.run(f"{cut_off}.length") == 0
    assert page.run("[...document.querySelectorAll('details:not([open])')].length") == 0
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    assert colour == "rgba(0, 0, 0, 0)" or min(map(int, re.findall(r"\d+", colour)[:3])) > 240
    printed = base64.b64decode(page.send("Page.printToPDF", printBackground=True)["data"])
    assert (
        printed.startswith(b"%PDF-")
        and 3 < printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page/") + printed.count(b"/Type /Page ") < 200
    )
    page.close()


def test_what_scrolls_can_be_reached_by_keyboard(browser, address):
    page = browser.page(390, 844)
    page.goto(address)
    unreachable = """[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth && e.tabIndex < 0).length"""
    assert page.run("document.querySelectorAll('.scroll').length") > 0
    assert page.run(unreachable) == 0
    page.close()
