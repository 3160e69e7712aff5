"""Drawings: same bytes, nothing of the machine in them, colours by meaning, and strips in which rows align."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from sciimg.report import figures, palette, plates
from sciimg.review.presentation import presentation_of
from sciimg.types import Spacing


def panel(**changes):
    curve = figures.Curve(np.linspace(0, 0.5, 9), np.array([3, 2, 1, np.nan, 1, 0.5, 0.2, 0.1, 0.0]), "s2")
    options = {"title": "Power <&>", "x_label": "cycles", "y_label": "dB", "curves": [curve], "alt": 'a "quoted" alt'}
    return figures.Panel(**(options | changes))


def test_a_panel_has_the_same_bytes_whatever_the_users_settings():
    first = figures.draw(panel())
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        assert figures.draw(panel()) == first
    assert figures.draw(panel(title="other")).data != first.data


def test_a_panel_is_clean_svg():
    svg = figures.draw(panel()).data
    root = ElementTree.fromstring(svg)
    assert root.get("viewBox") == f"0 0 {figures.WIDTH} {figures.HEIGHT}"
    assert "Power <&>" in [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert re.search(r"metadata|<style|DejaVu|matplotlib|\d{4}-\d\d-\d\d|<script|<!DOCTYPE", svg) is None
    ids = re.findall(r' id="([^"]+)"', svg)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    assert set(ids) == used and len(ids) == len(set(ids))


def test_ids_of_two_panels_do_not_meet():
    ids = [set(re.findall(r' id="([^"]+)"', figures.draw(panel(alt=alt)).data)) for alt in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]


def test_tick_labels_keep_their_digits():
    curve = figures.Curve(np.array([0, 1, 2]), np.array([0.0001, 0.00025, 0.0004]), "ink")
    labels = [t.text for t in ElementTree.fromstring(figures.draw(panel(curves=[curve])).data).iter("{http://www.w3.org/2000/svg}text")]
    assert "0.0002" in labels


def test_colours_follow_the_page_or_the_paper():
    svg = figures.draw(panel()).data
    assert "var(--s2)" in palette.for_screen(svg)
    assert palette.paper_colours()["s2"] in palette.for_paper(svg, "Libertinus Serif")
    for face in (palette.for_screen(svg), palette.for_paper(svg, "Libertinus Serif")):
        assert "#0a0a" not in face


@pytest.mark.parametrize(
    ("scale", "left_of_bar"),
    [(figures.Scale(0.5, (0.4, 0.6), (0.2, 0.9), None, 1.0), True), (figures.Scale(3.0, (2.0, 4.0), None, None, 1.0), False)],
)
def test_a_ruler_puts_the_estimate_on_its_side_of_the_bar(scale, left_of_bar):
    root = ElementTree.fromstring(figures.ruler(scale, "passed", "alt").data)
    dot = float(root.find("{http://www.w3.org/2000/svg}circle").get("cx"))
    bar = next(float(e.get("x1")) for e in root if e.tag.endswith("line") and e.get("x1") == e.get("x2"))
    assert (dot < bar) is left_of_bar
    assert all(0 <= float(e.get(k)) <= figures.RULER_WIDTH for e in root for k in ("x1", "x2", "cx") if e.get(k))


def test_a_ruler_survives_equal_numbers():
    assert figures.ruler(figures.Scale(0.0, None, None, None, 0.0), "failed", "alt").data


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data))))


GREY = presentation_of(np.linspace(0, 1000, 4 * 64 * 64).reshape(4, 1, 64, 64), ("t1",), Spacing((1.0, 1.0), "pixel"))


def test_rows_of_a_plate_align_whatever_their_resolution():
    images = np.random.default_rng(0).uniform(0, 1000, (5, 1, 64, 64))
    labels = np.zeros((5, 64, 64), np.int32)
    plain = plates.image_strip(images, GREY, "plain")
    outlined = plates.outlined_strip(images, labels, GREY, "instances", "outlined")
    assert outlined.width == plates.OUTLINE_SCALE * plain.width
    gaps = [np.flatnonzero(pixels(p)[0, :, 3] == 0)[0] / p.width for p in (plain, outlined)]
    assert gaps[0] == pytest.approx(gaps[1])


def test_an_outline_marks_borders_and_leaves_the_rest_alone():
    images = np.full((1, 1, 64, 64), 500.0)
    labels = np.zeros((1, 64, 64), np.int32)
    labels[0, 16:48, 16:48] = 7
    before = pixels(plates.outlined_strip(images, np.zeros_like(labels), GREY, "instances", "none"))
    after = pixels(plates.outlined_strip(images, labels, GREY, "instances", "square"))
    changed = np.any(before != after, axis=-1)
    assert changed[32:96, 32].all() and changed[32, 32:96].all()
    assert not changed[40:88, 40:88].any() and not changed[:30].any()


def test_large_tiles_are_reduced_and_volumes_stacked():
    assert plates.image_strip(np.zeros((2, 1, 300, 300)), GREY, "large").height <= plates.TILE_PX
    cube = presentation_of(np.zeros((1, 1, 16, 16, 16)), ("t1",), Spacing((1.0, 1.0, 1.0), "millimeter"))
    assert plates.image_strip(np.zeros((2, 1, 16, 16, 16)), cube, "volume").height == 3 * 16 + 2 * 2


def test_heat_grows_lighter():
    shades = plates.heat(np.linspace(0, 1, 50)[None])[0].astype(int) @ [299, 587, 114]
    assert np.all(np.diff(shades) >= 0)
    assert np.array_equal(plates.heat(np.array([[np.nan]])), plates.heat(np.array([[1.0]])))  # what cannot be told is not hidden
