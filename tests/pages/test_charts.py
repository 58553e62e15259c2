"""Charts: what is drawn where, and that names stay text."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
import torch
from page_fixtures import HOSTILE, HOSTILE_MODEL

from rosetta_lab.pages.axis import Scale, axis, element, shorten, ticks
from rosetta_lab.pages.charts import (
    Interval,
    bars,
    course,
    figure_column,
    intervals,
    meetings,
    parallel,
    parameter_column,
)
from rosetta_lab.pages.histograms import distributions, histograms


def parse(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing)


def numbers(found: ElementTree.Element, *names: str) -> list[float]:
    return [float(found.attrib[name]) for name in names]


def texts(drawing: str) -> list[str]:
    return [found.text or "" for found in parse(drawing).iter("text")]


# What they are made of


def test_text_and_attributes_are_escaped_and_elements_kept() -> None:
    inner = element("b", HOSTILE)
    outer = parse(element("a", inner, "x<y", title=HOSTILE_MODEL, text_anchor="end", x=1.25, y=2))
    assert outer.find("b").text == HOSTILE
    assert outer.find("b").tail == "x<y"
    assert outer.attrib == {"title": HOSTILE_MODEL, "text-anchor": "end", "x": "1.2", "y": "2"}


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 1.0) == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert ticks(-3.0, 117.0) == pytest.approx([0.0, 25.0, 50.0, 75.0, 100.0])
    assert ticks(2.0, 2.0) == [2.0]


@pytest.mark.parametrize("upright", [False, True])
def test_axis_writes_marks_where_the_scale_puts_them(upright: bool) -> None:
    scale = Scale(-1.0, 1.0, 100.0, 20.0)
    drawn = parse(axis(scale, [(-1.0, "a"), (0.0, ""), (0.5, "b")], 50.0, upright=upright,
                       reach=90.0, title="what (unit)"))  # fmt: skip
    along, across = ("y", "x") if upright else ("x", "y")
    lines = list(drawn.iter("line"))
    assert [numbers(line, f"{along}1", f"{along}2") for line in lines] == [
        [100.0, 100.0], [60.0, 60.0], [40.0, 40.0],
    ]  # fmt: skip
    assert {tuple(numbers(line, f"{across}1", f"{across}2")) for line in lines} == {(50.0, 90.0)}
    assert [line.attrib["class"] for line in lines] == ["grid", "axis", "grid"]
    a, b, title = drawn.iter("text")
    assert (a.text, b.text, title.text) == ("a", "b", "what (unit)")
    assert abs(float(a.attrib[along]) - 100.0) <= 4 and abs(float(b.attrib[along]) - 40.0) <= 4


def test_long_names_keep_both_ends_and_tell_the_whole() -> None:
    name = "visual.very.long.module.path.layer4.act3"
    assert len(shorten(name)) == 22
    (text,) = parse(axis(Scale(0, 1, 0, 1), [(0, name)], 0.0)).iter("text")
    assert text.find("title").text == name
    assert text.find("title").tail == shorten(name) == "visual.ver…layer4.act3"


# Histograms


def test_histograms_draw_the_bins_in_use_on_the_same_scales() -> None:
    counts, others = [0] * 40, [0] * 40
    counts[29], counts[33], others[30] = 4, 8, 2  # r from 0.45, 0.65 and 0.5
    drawn = histograms({"a": counts, "b": others, "c": [0] * 40})
    assert list(drawn) == ["a", "b", "c"]
    bars = {name: list(parse(drawing).iter("rect")) for name, drawing in drawn.items()}
    first, second = (float(bar.attrib["height"]) for bar in bars["a"])
    (other,) = bars["b"]
    assert second == pytest.approx(2 * first, rel=0.01)
    assert float(other.attrib["height"]) == pytest.approx(first / 2, rel=0.01)
    assert bars["c"] == []
    x = [float(bar.attrib["x"]) for bar in (bars["a"][0], other, bars["a"][1])]
    assert x[1] - x[0] == pytest.approx((x[2] - x[0]) / 4, abs=0.11)
    assert "r from 0.45 to 0.50: 4" in drawn["a"]
    for drawing in drawn.values():
        assert texts(drawing) == ["4", "8", "pairs", "0.4", "0.6", "0.8", "r"]


def test_histograms_of_nothing_are_still_drawn() -> None:
    drawn = histograms({"a": [0] * 40})["a"]
    assert not list(parse(drawn).iter("rect"))
    assert texts(drawn)[-2:] == ["1.0", "r"]
    assert histograms({}) == {}


def test_distributions_count_every_gain_and_tell_losses() -> None:
    values = torch.cat([torch.full((3,), -0.5), torch.tensor([0.1, 0.2, 9.0])])
    drawn = distributions({"<a>": values, "b": torch.tensor([0.0])})
    columns = list(parse(drawn["<a>"]).iter("rect"))
    told = [int(column.find("title").text.split(": ")[1]) for column in columns]
    assert sum(told) == 6 and told[0] == 3
    kinds = [column.attrib["class"] for column in columns]
    assert kinds[0] == "bar worse" and set(kinds[1:]) == {"bar"}
    assert [c.attrib["class"] for c in parse(drawn["b"]).iter("rect")] == ["bar"]  # zero is no loss
    assert parse(drawn["<a>"]).attrib["aria-label"] == "<a>: 6 images by gain"


# Rows and tables


def test_bars_are_as_long_as_their_values() -> None:
    drawing = bars([("<a>", 2.0), ("b", -1.0), ("c", 0.5)], "x & y", "seconds")
    drawn = parse(drawing).findall(".//rect")
    width = [float(bar.attrib["width"]) for bar in drawn]
    assert width[1] == pytest.approx(width[0] / 2, abs=0.11)
    assert width[2] == pytest.approx(width[0] / 4, abs=0.11)
    left = [float(bar.attrib["x"]) for bar in drawn]
    assert left[0] == left[2] == pytest.approx(left[1] + width[1], abs=0.11)
    assert texts(drawing)[:3] == ["<a>", "b", "c"] and texts(drawing)[-1] == "seconds"


def test_intervals_stand_around_their_means() -> None:
    rows = [Interval(HOSTILE, 1.0, 0.5, 2.0), Interval("b", -1.0, -1.0, -1.0)]
    drawing = intervals(rows, "gain", "gain (dB)")
    zero = next(line for line in parse(drawing).iter("line") if line.attrib["class"] == "axis")
    lines = [line for line in parse(drawing).iter("line") if line.attrib["class"] == "interval"]
    dots = [float(dot.attrib["cx"]) for dot in parse(drawing).iter("circle")]
    (at,) = numbers(zero, "x1")
    unit = dots[0] - at
    assert numbers(lines[0], "x1", "x2") == pytest.approx([at + unit / 2, at + 2 * unit], abs=0.2)
    assert [dots[1], *numbers(lines[1], "x1", "x2")] == pytest.approx([at - unit] * 3, abs=0.2)


def test_intervals_of_no_width_have_an_axis() -> None:
    drawing = intervals([Interval("same", 0.0, 0.0, 0.0)], "gain")
    assert "nan" not in drawing and "0" in texts(drawing)


def test_meetings_shows_every_count_and_the_ink_that_reads_on_it() -> None:
    drawing = meetings([[0, 12], [7, 3]], ["g1", HOSTILE], ["layer1", "m" * 60])
    assert re.findall(r'style="--v:([\d.]+)"', drawing) == ["0.000", "1.000", "0.583", "0.250"]
    cells = [found.findall("text") for found in parse(drawing).iter("g")]
    told = [(cell[0].attrib["class"], cell[0].text) for cell in cells if len(cell) == 1]
    assert told == [("none", "·"), ("strong", "12"), ("strong", "7"), ("weak", "3")]
    assert f"{HOSTILE} and layer1: 7" in [title.text for title in parse(drawing).iter("title")]


# Courses


@pytest.mark.parametrize("steps", [1, 40, 700])
def test_course_runs_from_the_first_step_to_the_last(steps: int) -> None:
    values = torch.linspace(4.0, 1.0, steps) + torch.tensor([[-1.0], [0.0], [0.0], [1.0]])
    drawing = parse(course(values, "a <part>"))
    assert drawing.attrib["aria-label"].startswith("a <part>: mean from 4 to ")
    line = drawing.find("polyline").attrib["points"].split()
    band = drawing.find("polygon").attrib["points"].split()
    assert len(line) == min(steps, 200) and len(band) == 2 * len(line)
    points = [tuple(map(float, point.split(","))) for point in line]
    assert points == sorted(points)  # to the right, and down as the loss falls
    edges = [float(found.attrib["y1"]) for found in drawing.iter("line")]
    assert edges == sorted(edges, reverse=True)
    assert "step" in [text.text for text in drawing.iter("text")]


# Sweeps


def test_columns_put_better_up() -> None:
    column = parameter_column("alpha", ["10", "0.5", "2", "0.5"])
    assert column.heights == [1.0, 0.0, 0.5, 0.0]
    assert figure_column("PSNR", [10.0, 20.0, None], higher=True).heights == [0.0, 1.0, None]
    assert figure_column("LPIPS", [0.1, 0.3, 0.2], higher=False).heights == [
        1.0, 0.0, pytest.approx(0.5)
    ]  # fmt: skip
    assert figure_column("same", [1.0, 1.0], higher=True).heights == [0.5, 0.5]


def test_parallel_draws_a_line_for_every_run_through_its_values() -> None:
    columns = [parameter_column("k", ["1", "5", "1"]),
               figure_column(HOSTILE, [1.0, 3.0, None], higher=True)]  # fmt: skip
    drawing = parse(parallel(columns, ["<a>", "b", "c"], shade=1))
    lines = {line.find("title").text.split("\n")[0]: line for line in drawing.iter("polyline")}
    ends = {
        name: [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for name, line in lines.items()
    }
    left, right = (line for line in drawing.iter("line") if line.attrib["class"] == "axis")
    assert set(ends) == {"<a>", "b", "c"} and len(ends["c"]) == 1
    assert ends["<a>"] == [tuple(numbers(axis, "x1", "y1")) for axis in (left, right)]
    assert ends["b"] == [tuple(numbers(axis, "x2", "y2")) for axis in (left, right)]
    assert HOSTILE in lines["b"].find("title").text
