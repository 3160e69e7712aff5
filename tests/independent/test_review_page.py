"""The readers' page in a real browser: by keyboard alone, by touch, after a reload, after a killed server, and silent to everybody else.

Needs Chromium (on Debian: ``apt install chromium``); nothing is downloaded.
"""

import json
import re

import numpy as np
import pytest
import reading
from browser import Browser, find_chromium

from sciimg.review.book import read_book
from sciimg.review.presentation import presentation_of

pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed here")]


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(**more):
        servers.append(reading.Server(tmp_path, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def begin(browser, link, *, width=1280, height=800, touch=False):
    page = browser.page(width, height, touch=touch)
    page.goto(link)
    page.wait("document.querySelector('#go')")
    page.press("Enter")
    shown(page)
    return page


def shown(page):
    """Wait until an item is on the page and answers about it are taken."""
    page.wait("document.querySelector('#form[data-item]')")


def saved(page, n):
    page.wait(f"document.querySelector('#count').textContent.startsWith('{n} of')")


def test_a_session_by_keyboard_alone(browser, serve, tmp_path):
    server = serve(minimum_seconds=0.3, items=6)
    page = begin(browser, server.links[0])
    total = int(re.match(r"0 of (\d+)", page.text("#count"))[1])
    page.press("Enter")
    page.wait("document.querySelector('#missing').textContent.includes('Still to answer')")
    page.press("s", "4", "2", "3", "a", "3", "c")  # answer, confidence, two criteria, an artefact, and a comment
    page.press(*"naive")
    page.press("Enter", "x", "Escape", "l")  # a line break in the comment does not save; then: later, after all
    page.wait("document.querySelector('#count').textContent.includes('1 for later')")
    shown(page)
    page.press("s", "4", "2", "3", "a", "3", "c")
    page.press(*"seen")
    page.press("Escape", "+", "b", "m", "p", "u", "v")
    page.wait("!document.querySelector('#save.waiting')")  # a fast machine has pressed all keys before the shortest time is over
    page.press("Enter")
    for n in range(1, total):
        saved(page, n)
        shown(page)
        page.wait("!document.querySelector('#save.waiting')")  # the shortest time to look at an item is over
        page.press("r", "1", "5", "4", "Enter")
    page.wait("document.querySelector('#cover').textContent.includes('Thank you')")
    assert page.errors == []
    answers = [a for a in read_book(tmp_path / "session.sqlite").answers if a.reader == "reader-1"]
    assert len(answers) == total
    first = answers[0]
    assert (first.item, first.answer, first.confidence, first.artefacts) == ("r1-002", "synthetic", 4, ("repeated-texture",))
    assert (first.ratings, first.comment) == ({"sharpness": 2, "plausibility": 3}, "seen")
    assert answers[-1].item == "r1-001"
    assert {(a.answer, a.confidence, a.ratings["plausibility"], a.comment) for a in answers[1:]} == {("real", 1, 4, "")}
    assert all(a.seconds >= 0.3 for a in answers)
    assert {"/".join(url.split("/")[:3]) for url in page.requests if url != "about:blank"} == {server.links[0].split("/#")[0]}
    assert not any("secret" in url for url in page.requests if "#" not in url)  # the token is in no address that is sent
    page.close()


def test_every_action_has_a_key_that_the_page_shows(browser, serve):
    page = begin(browser, serve(task="2afc", kind="brain", items=4).links[0])
    buttons = page.run(
        "[...document.querySelectorAll('button, label.slider, .scale')].filter(b => !b.closest('#cover, .scale .choices')).length"
    )
    keyed = page.run(
        "[...document.querySelectorAll('button, label.slider, .scale')].filter(b => !b.closest('#cover, .scale .choices'))"
        ".filter(b => b.querySelector('kbd') || /^[1-9]/.test(b.querySelector('button')?.textContent)).length"
    )
    assert buttons == keyed > 15
    page.press("?")
    assert page.run("document.querySelector('#keys').open")
    listed = page.run("[...document.querySelectorAll('#keys dt kbd')].map(k => k.textContent)")
    on_page = page.run("[...document.querySelectorAll('#tools kbd, #do kbd, .answer kbd')].map(k => k.textContent)")
    assert set(on_page) <= set(listed)
    page.close()


def test_a_reload_and_a_killed_server_lose_nothing(browser, serve, tmp_path):
    server = serve(items=6)
    page = begin(browser, server.links[0])
    page.press("r", "3", "1", "1", "Enter")
    saved(page, 1)
    page.press("l")
    page.wait("document.querySelector('#count').textContent.includes('1 for later')")
    page.reload()
    page.wait("document.querySelector('#go')")
    assert page.text("#cover h2") == "Welcome back: 1 of 8 answered."
    assert "1 for later" in page.text("#count")
    page.press("Enter")
    shown(page)
    server.kill()
    page.press("s", "5", "2", "2", "Enter")
    page.wait("!document.querySelector('#notice').hidden")
    assert "Not saved yet" in page.text("#notice")
    page.press("r", "1")  # too late: what is on its way is what was saved with Enter
    server.start()
    saved(page, 2)
    shown(page)
    assert page.run("document.querySelector('#notice').hidden")
    answers = read_book(tmp_path / "session.sqlite").answers
    assert [(a.item, a.answer, a.confidence) for a in answers] == [("r1-001", "real", 3), ("r1-003", "synthetic", 5)]
    page.close()


def test_a_second_reader_and_a_second_window(browser, serve, tmp_path):
    server = serve(items=6)
    one, two = begin(browser, server.links[0]), begin(browser, server.links[1])
    again = begin(browser, server.links[0])
    one.press("r", "3", "1", "1", "c", *"mine", "Escape", "Enter")
    saved(one, 1)
    assert two.text("#count").startswith("0 of")
    assert "reader-1" not in two.run("document.documentElement.outerHTML")
    status = "fetch('/api/items/r1-002/0', {headers: {Authorization: 'Bearer reader-2-secret'}}).then(r => r.status)"
    assert two.run(status) == 404
    again.press("s", "3", "1", "1", "Enter")  # the same item in another window: the first answer stands
    again.wait("document.querySelector('#notice').textContent.includes('another window')")
    saved(again, 1)
    assert [a.answer for a in read_book(tmp_path / "session.sqlite").answers] == ["real"]
    nobody = browser.page()
    nobody.goto(server.links[0] + "x")
    nobody.wait("document.querySelector('#cover').textContent.includes('not valid')")
    for page in (one, two, again, nobody):
        page.close()


def test_a_pair_on_a_tablet_by_touch(browser, serve, tmp_path):
    page = begin(browser, serve(task="2afc", items=4, criteria=[]).links[0], width=820, height=1180, touch=True)
    assert page.run("document.documentElement.scrollWidth") <= 820
    assert page.run("Math.min(...[...document.querySelectorAll('button')].filter(b => b.offsetHeight).map(b => b.offsetHeight))") >= 44
    before = page.run("document.querySelector('#canvas').toDataURL()")
    page.touch("touchStart", (150, 300), (250, 300))
    for i in range(1, 6):
        page.touch("touchMove", (150 - 10 * i, 300), (250 + 10 * i, 300))
    page.touch("touchEnd")
    page.wait(f"document.querySelector('#canvas').toDataURL() !== {json.dumps(before)}")
    for selector in ("[data-choice=b]", "[data-choice='4']", "#save"):
        x, y = page.run(f'(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector("{selector}").getBoundingClientRect())')
        page.touch("touchStart", (x, y))
        page.touch("touchEnd")
    saved(page, 1)
    (answer,) = read_book(tmp_path / "session.sqlite").answers
    assert (answer.answer, answer.confidence) == ("b", 4)
    assert page.errors == []
    page.close()


def test_a_volume_by_mouse(browser, serve):
    page = begin(browser, serve(kind="brain", items=4).links[0])

    def tools():
        return page.run("[slice.value, level.value, document.querySelector('#window').value].map(Number)")

    middle, (x, y) = tools(), (300, 350)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=100)
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=100)
    page.wait(f"Number(slice.value) === {middle[0] + 2}")
    page.mouse("mousePressed", x, y, button="right", buttons=2, clickCount=1)
    page.mouse("mouseMoved", x - 60, y - 60, button="right", buttons=2)
    page.mouse("mouseReleased", x - 60, y - 60, button="right", clickCount=1)
    page.wait(f"Number(level.value) < {middle[1]}")  # up is a higher level, which is darker, as in other viewers
    assert tools()[2] > middle[2]
    page.press("v")
    page.wait(f"Number(level.value) === {middle[1]}")
    small = page.run("(c => [c.clientWidth - 100, 60])(canvas)")  # high up in a small plane across y: z near its beginning
    page.mouse("mousePressed", small[0], small[1] + 49, button="left", buttons=1, clickCount=1)
    page.mouse("mouseReleased", small[0], small[1] + 49, button="left", clickCount=1)
    page.wait("Number(slice.value) < 10")
    page.run("document.querySelector('#tools button').focus()")
    page.press("Enter")  # a button that has the focus does what it says
    assert page.text("#missing") == ""
    page.close()


SEEN = "document.querySelector('#canvas').toDataURL()"


def changes(page, *keys, shift=False):
    """Press keys one by one; each must change what is seen. Return what is seen at the end."""
    for key in keys:
        before = page.run(SEEN)
        page.press(key, shift=shift)
        page.wait(f"{SEEN} !== {json.dumps(before)}")
    return page.run(SEEN)


def undo(page, first, second, shift=False):
    """The second key takes back what the first did."""
    before = page.run(SEEN)
    changes(page, first, shift=shift)
    page.press(second, shift=shift)
    page.wait(f"{SEEN} === {json.dumps(before)}")


def test_every_key_of_the_view_does_what_it_says(browser, serve):
    page = begin(browser, serve(items=4).links[0])
    whole = page.run(SEEN)
    for key, other in (("b", "d"), ("+", "-"), ("p", "p"), ("u", "u")):
        undo(page, key, other)
    assert changes(page, "m", "f", "f", "v") == whole  # more contrast, back, flatter, as at first
    for channel in ("1", "2"):  # haematoxylin and DAB, one after the other
        undo(page, channel, channel, shift=True)
        page.press(channel, shift=True)
        page.wait(f"document.querySelector('#channel-{int(channel) - 1}').getAttribute('aria-pressed') === 'false'")
    page.run("document.querySelector('#channel-0').click()")
    page.press("v")
    page.wait(f"{SEEN} === {json.dumps(whole)}")
    changes(page, "+", "+", "+")
    for key, other in (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown")):
        undo(page, key, other, shift=True)
    before = page.run(SEEN)
    page.mouse("mousePressed", 300, 350, button="left", buttons=1, clickCount=1)
    page.mouse("mouseMoved", 340, 330, button="left", buttons=1)
    page.mouse("mouseReleased", 340, 330, button="left", clickCount=1)
    page.wait(f"{SEEN} !== {json.dumps(before)}")
    assert changes(page, "0") == whole
    x, y, wide = page.run("(r => [r.x, r.y + r.height / 2, r.width])(document.querySelector('#level').getBoundingClientRect())")
    page.mouse("mousePressed", x + wide / 2, y, button="left", buttons=1, clickCount=1)
    page.mouse("mouseMoved", x + 0.6 * wide, y, button="left", buttons=1)
    page.mouse("mouseReleased", x + 0.6 * wide, y, button="left", clickCount=1)
    page.wait(f"{SEEN} !== {json.dumps(whole)}")
    assert page.errors == []
    page.close()


def test_every_key_of_the_slices_does_what_it_says(browser, serve):
    page = begin(browser, serve(kind="brain", items=4).links[0])
    first = page.run("Number(slice.value)")
    for key, other, far in (("ArrowUp", "ArrowDown", 1), ("PageUp", "PageDown", 10)):
        page.press(key)
        page.wait(f"Number(slice.value) === {first + far}")
        page.press(other)
        page.wait(f"Number(slice.value) === {first}")
    lengths = set()
    for key in ("y", "x", "z"):  # z is how it begins
        changes(page, key)
        lengths.add(page.run("Number(slice.max)"))
    assert lengths == {39, 63}  # blocks of 40 x 64 x 64
    x, y, wide = page.run("(r => [r.x, r.y + r.height / 2, r.width])(document.querySelector('#slice').getBoundingClientRect())")
    page.mouse("mousePressed", x + 0.9 * wide, y, button="left", buttons=1, clickCount=1)
    page.mouse("mouseReleased", x + 0.9 * wide, y, button="left", clickCount=1)
    page.wait("Number(slice.value) > 30")
    page.close()


def test_two_pictures_are_seen_alike(browser, serve):
    """What a key does to one picture of a pair it does to the other: no side can look better."""
    page = begin(browser, serve(task="2afc", kind="noise", items=4).links[0])
    halves = (
        "(c => [0, 1].map(i => [...c.getContext('2d').getImageData(i * c.width / 2, 0, c.width / 2, c.height).data]"
        ".reduce((a, v) => a + v, 0)))(document.querySelector('#canvas'))"
    )
    before = page.run(halves)
    changes(page, "d", "d", "d")
    after = page.run(halves)
    shares = [now / then for now, then in zip(after, before, strict=True)]
    assert max(shares) < 0.95 and shares[0] == pytest.approx(shares[1], rel=0.1)
    page.close()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1024, 768), (820, 1180), (390, 844)])
def test_all_that_is_needed_is_in_sight_and_dark(browser, serve, width, height):
    page = begin(browser, serve(items=4).links[0], width=width, height=height)
    seen = page.run(
        "['#canvas', '#save', '#later', '[data-choice=real]'].map(s => document.querySelector(s).getBoundingClientRect())"
        ".map(r => [r.x, r.y, r.right, r.bottom, r.width])"
    )
    assert all(x >= 0 and y >= 0 and right <= width and bottom <= height for x, y, right, bottom, _ in seen), seen
    assert seen[0][4] > 0.4 * width and page.run("document.documentElement.scrollWidth") <= width
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", colour)[:3])) < 64
    page.close()


def test_the_page_paints_what_a_sheet_prints(browser, serve):
    """The colours of the page are those of the printed sheet; planes of a volume are cut and scaled as its spacing says."""
    page = begin(browser, serve(kind="noise", items=4).links[0])
    rng = np.random.default_rng(5)
    for channels in (1, 3):
        volume = rng.integers(0, 65536, (4, channels, 5, 6, 7), dtype=np.uint16)
        spacing = reading.Spacing((3.0, 1.0, 2.0), "micrometer")
        show = presentation_of(volume, [f"c{i}" for i in range(channels)], spacing)
        about = reading.Exhibit({"s": volume[0], "t": volume[1]}, show).about()
        page.run(
            f"import('/viewer.js').then(({{Viewer}}) => {{ const canvas = document.createElement('canvas'); document.body.append(canvas);"
            f"const about = {json.dumps(about)}; window.made = new Viewer(canvas, about, () => {{}});"
            f"made.width = 800; made.height = 400; made.show([Uint16Array.from({volume[0].ravel().tolist()})]); made.layOut(); }})"
        )
        for plane, index in ((0, 3), (1, 2), (2, 6)):
            page.run(f"made.moveTo({plane}, {index})")
            drawn = page.run(
                f"(c => [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]])(made.paint(0, {plane}))"
            )
            expected = show.render(np.take(volume[0], index, axis=plane + 1)).astype(int)
            assert tuple(drawn[:2]) == expected.shape[:2]
            assert np.abs(np.reshape(drawn[2], (*drawn[:2], 4))[..., :3] - expected).max() <= 1
        # A whole plane fits its tile, and one unit of length is as long across as down.
        fits = page.run("made.tiles.map(t => [t.plane, t.w, t.h, made.scale(t)])")
        lengths = {0: (6 * 1.0, 7 * 2.0), 1: (5 * 3.0, 7 * 2.0), 2: (5 * 3.0, 6 * 1.0)}
        for plane, w, h, scale in fits:
            high, wide = lengths[plane]
            assert max(high * scale - h, wide * scale - w) == pytest.approx(-4)
    page.close()
