"""Drawings: same bytes, nothing of the machine in them, colours by meaning, and strips in which rows align."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from sciimg.report import figures, outlines, palette, plates
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


def points(picture):
    """Return the corners of every bright line of a drawing as (x, y)."""
    paths = re.findall(r'<path d="([^"]+)" stroke="#00e896"', picture.data)
    return [np.array([[float(v) for v in p.split()] for p in re.split("[ML]", path.strip("MZ"))]) for path in paths]


@pytest.mark.parametrize("side", [64, 300])
def test_outlines_lie_on_the_borders_of_their_objects(side):
    labels = np.zeros((3, side, side), np.int32)
    a, b = side // 4, side // 2
    labels[1, a:b, a:b] = 7
    strip = plates.image_strip(np.zeros((3, 1, side, side)), GREY, "plain")
    drawn = outlines.outlines([outlines.Layer(labels, outlines.ASKED)], GREY, "instances", "square")
    assert (drawn.width, drawn.height) == (strip.width, strip.height)
    (corners,) = points(drawn)
    times = plates.reduction(side)
    tile = (strip.width - 2 * plates.gap_of(-(-side // times))) / 3
    left = tile + plates.gap_of(-(-side // times))
    assert corners[:, 0].min() == pytest.approx(left + a / times, abs=0.3)
    assert corners[:, 0].max() == pytest.approx(left + b / times, abs=0.3)
    assert (corners[:, 1].min(), corners[:, 1].max()) == (pytest.approx(a / times, abs=0.3), pytest.approx(b / times, abs=0.3))


def test_touching_objects_each_have_their_line():
    labels = np.zeros((1, 64, 64), np.int32)
    labels[0, 10:30, 10:20], labels[0, 10:30, 20:30] = 1, 2
    drawn = outlines.outlines([outlines.Layer(labels, outlines.ASKED)], GREY, "instances", "two")
    assert len(points(drawn)) == 2


def test_classes_have_their_own_colours_and_found_masks_are_dashed():
    labels = np.zeros((1, 64, 64), np.int32)
    labels[0, 10:30, 10:20], labels[0, 10:30, 30:40] = 1, 2
    layers = [outlines.Layer(labels, outlines.ASKED), outlines.Layer(labels, outlines.FOUND, dashed=True)]
    svg = outlines.outlines(layers, GREY, "classes", "classes").data
    assert len(set(re.findall(r'stroke="(#[0-9a-f]{6})" stroke-width="0.7"', svg))) == 2
    assert svg.count("stroke-dasharray") == 2


def test_outlines_of_volumes_cover_the_stacked_planes():
    cube = presentation_of(np.zeros((1, 1, 16, 16, 16)), ("t1",), Spacing((1.0, 1.0, 1.0), "millimeter"))
    labels = np.zeros((2, 16, 16, 16), np.int32)
    labels[:, 6:10, 6:10, 6:10] = 1
    strip = plates.image_strip(np.zeros((2, 1, 16, 16, 16)), cube, "volume")
    drawn = outlines.outlines([outlines.Layer(labels, outlines.ASKED)], cube, "instances", "cube")
    assert (drawn.width, drawn.height) == (strip.width, strip.height)
    assert [c[:, 1].mean() // 18 for c in points(drawn)[:3]] == [0, 1, 2]


def test_large_tiles_are_reduced_and_volumes_stacked():
    assert plates.image_strip(np.zeros((2, 1, 300, 300)), GREY, "large").height <= plates.TILE_PX
    cube = presentation_of(np.zeros((1, 1, 16, 16, 16)), ("t1",), Spacing((1.0, 1.0, 1.0), "millimeter"))
    assert plates.image_strip(np.zeros((2, 1, 16, 16, 16)), cube, "volume").height == 3 * 16 + 2 * 2


def test_heat_grows_lighter():
    shades = plates.heat(np.linspace(0, 1, 50)[None])[0].astype(int) @ [299, 587, 114]
    assert np.all(np.diff(shades) >= 0)
    assert np.array_equal(plates.heat(np.array([[np.nan]])), plates.heat(np.array([[1.0]])))  # what cannot be told is not hidden
