"""The page, taken apart with the standard library's HTML parser; the figure read back from its JSON."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from asc_search.report.front_layers import non_dominated
from asc_search.report.front_section import section_of
from asc_search.report.page import write_page
from asc_search.space.space import Budget
from asc_search.study.records import TrialPoint

PUBLISHED = [("sscp-mobile", 62_564, 29_654_916), ("dcase2024-baseline", 61_148, 29_419_156)]
HOSTILE = "</script><script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>"


class Page(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.words.append(data)

    def figure(self):
        drawn = self.source.split('data-plot="front-plot">')[1].split("</script>")[0]
        fig = json.loads(drawn)
        return fig["data"], fig["layout"]


@pytest.fixture
def write(tmp_path):
    def written(rows, trials, published=PUBLISHED, title="A search") -> Page:
        section = section_of(rows, trials, published, Budget(30_000_000, 128_000))
        write_page(tmp_path / "report.html", title, "", [section])
        return Page(tmp_path / "report.html")

    return written


def points(data):
    return {
        (trace["name"], round(x, 6), round(y, 6))
        for trace in data
        if trace["mode"] != "lines"
        for x, y in zip(trace["x"], trace["y"], strict=True)
    }


def test_figure_holds_every_row_at_its_cost_and_validation_accuracy(write, rows, trials):
    data, _ = write(rows, trials).figure()
    assert {
        ("finalists", 29.7, 61.0),
        ("finalists", 8.0, 48.0),
        ("finalists", 12.0, 47.5),
        ("published designs, same recipe", 29.419156, 56.5),
        ("finalists trained without teachers", 29.7, 55.5),
        ("trials finished", 20.0, 52.0),
        ("trials stopped early", 15.0, 31.0),
    } <= points(data)


def test_error_bars_are_the_deviation_over_seeds(write, rows, trials):
    data, _ = write(rows, trials).figure()
    finalists = next(trace for trace in data if trace["name"] == "finalists" and "error_y" in trace)
    assert finalists["error_y"]["array"] == pytest.approx([1.0, 0.0, 100 * 0.01 / 2**0.5])
    assert finalists["text"] == ["1", "2", "3"]


def test_trials_without_accuracy_lie_in_the_strip(write, rows, trials):
    data, _ = write(rows, trials).figure()
    strip = {trace["name"]: trace for trace in data if trace.get("yaxis") == "y2"}
    assert strip["trials rejected by cost"]["x"] == [44.0, 25.0]
    assert strip["trials rejected by cost"]["marker"]["symbol"] == "circle-open"
    assert strip["trials without a result"]["x"] == [10.0, 11.0]
    assert all(0 < y < 1 for trace in strip.values() for y in trace["y"])


def test_area_follows_weight_bytes(write, row):
    pair = [row("a", "finalist", 10**7, (0.5,), weight_bytes=32_000), row("b", "finalist", 10**7, (0.4,))]
    data, _ = write(pair, []).figure()
    small, large = next(trace for trace in data if "hovertext" in trace)["marker"]["size"]
    assert (large / small) ** 2 == pytest.approx(120 / 32)


def test_budget_is_a_line_and_a_region_to_the_end_of_the_axis(write, rows, trials):
    _, layout = write(rows, trials).figure()
    region, line = sorted(layout["shapes"], key=lambda shape: shape["type"], reverse=True)
    assert (region["x0"], region["x1"]) == (30, layout["xaxis"]["range"][1])
    assert line["x0"] == line["x1"] == 30
    assert any("limit of 30 M" in note["text"] for note in layout["annotations"])
    assert any(note["text"].startswith("1 more") for note in layout["annotations"])


def test_published_designs_are_ticks_at_their_macs(write, rows, trials):
    data, _ = write(rows, trials).figure()
    ticks = next(trace for trace in data if trace.get("yaxis") == "y3")
    assert dict(zip(ticks["text"], ticks["x"], strict=True)) == {
        "dcase2024-baseline": 29.419156,
        "sscp-mobile": 29.654916,
    }


def test_hover_tells_what_a_network_is(write, rows, trials):
    data, _ = write(rows, trials).figure()
    hover = next(trace for trace in data if trace["name"] == "finalists" and "hovertext" in trace)["hovertext"][0]
    for part in ("1. large", "61.00 ± 1.00 %", "60,000 parameters", "29,700,000 MACs/s", "120,000 bytes (fp16)"):
        assert part in hover
    assert "passt-1, bcbl" in hover
    assert "sscp, widths 32/56/104" in hover
    assert "59.0" not in hover


def test_line_joins_the_finalists_no_other_beats(rows):
    finalists = [row for row in rows if row.role == "finalist"]
    assert [row.name for row in non_dominated(finalists)] == ["small", "large"]


def test_dominance_by_brute_force(row):
    many = [row(str(i), "finalist", (i * 7919) % 31 + 1, (((i * 104729) % 37) / 37,)) for i in range(40)]
    expected = {
        (a.macs, a.validation)
        for a in many
        if not any(
            b.macs <= a.macs and b.validation >= a.validation and (b.macs, b.validation) != (a.macs, a.validation)
            for b in many
        )
    }
    assert {(row.macs, row.validation) for row in non_dominated(many)} == expected


def test_hostile_text_stays_text(write, row, trials):
    plain = write([row("a", "finalist", 10**7, (0.5,))], trials)
    bad = row(HOSTILE, "finalist", 10**7, (0.5,), teachers=(HOSTILE,), description=HOSTILE, weight_type=HOSTILE)
    trial = TrialPoint(9, "rejected", 1, 1, 1, None, 0, HOSTILE)
    page = write([bad], [*trials, trial], [(HOSTILE, 1, 1), *PUBLISHED[1:]], HOSTILE)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert HOSTILE in page.words
    data, _ = page.figure()
    texts = [text for trace in data for text in (trace.get("hovertext") or [])]
    assert any("alert(1)" in text for text in texts)
    assert not any("<script" in text or "<img" in text for text in texts)


def test_page_loads_nothing(write, rows, trials):
    page = write(rows, trials)
    assert not [attrs for _, attrs in page.tags if "src" in attrs or not attrs.get("href", "#").startswith("#")]
    assert 'src="http' not in page.source
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_page_states_what_was_selected_on_which_split(write, rows, trials):
    text = " ".join(" ".join(write(rows, trials).words).split())
    assert "selected, and are ordered here, by accuracy on the validation split alone" in text
    assert "3 finalists from 6 trials (1 finished, 1 stopped early, 2 rejected by cost, 2 failed)" in text
    assert "59.00 ± 1.00" in text
    table = text[text.index("seeds x epochs") :]
    assert table.index("large") < table.index("small") < table.index("beaten") < table.index("twin")


def test_legend_buttons_name_the_traces_they_hide(write, rows, trials):
    page = write(rows, trials)
    data, _ = page.figure()
    hidden = [index for _, attrs in page.tags if "data-traces" in attrs for index in json.loads(attrs["data-traces"])]
    assert sorted(hidden) == list(range(len(data)))


@pytest.mark.parametrize("some", [False, True])
def test_study_without_finalists_is_still_a_page(write, trials, some):
    page = write([], trials if some else [], [])
    data, layout = page.figure()
    assert "yaxis3" not in layout
    assert len(data) == (4 if some else 0)
