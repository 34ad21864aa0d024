"""The report and the dashboard in a headless Chromium: every figure drawn, nothing complained of, no page too wide."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Page, browser

from asc_search.report.report import write_report
from asc_search.report.serve import serving
from asc_search.report.view import load_view
from asc_search.study.run_folder import RunFolder

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
ALL_DRAWN = (
    "document.querySelectorAll('.plot').length && [...document.querySelectorAll('.plot')].every(p => p.dataset.drawn)"
)
MARKS = """[...document.querySelectorAll('.plot')].map(plot => [plot.id,
  plot.querySelectorAll('.point path, .points path, .scatterlayer path, .barlayer path, .heatmaplayer image').length,
  plot.querySelector('.main-svg').getBoundingClientRect().width])"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(load_view(finished_run), out)
    return out


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_figure_is_drawn_at_any_width_and_in_both_schemes(
    page: Page, report: Path, width: int, dark: bool
) -> None:
    page.complaints.clear()
    page.look(width, dark=dark)
    page.open(report.as_uri(), ALL_DRAWN)
    marks = page.ask(MARKS)
    assert len(marks) == 9
    for key, count, wide in marks:
        assert count > 0, key
        assert 0.6 * min(width, 700) < wide <= width, key
    assert page.complaints == []
    assert page.ask("document.documentElement.scrollWidth") == width, "nothing sticks out"
    ground = page.ask("getComputedStyle(document.body).backgroundColor")
    ink = page.ask("getComputedStyle(document.querySelector('.xtick text')).fill")
    bright = [sum(map(int, color[4:-1].split(","))) / 3 for color in (ground, ink)]
    assert (bright[0] < 60 and bright[1] > 130) if dark else (bright[0] > 240 and bright[1] < 130)


def test_a_button_of_the_legend_hides_its_layer(page: Page, report: Path) -> None:
    page.look(1280)
    page.open(report.as_uri(), ALL_DRAWN)
    count = "document.querySelectorAll('#front-plot .scatterlayer .trace').length"
    before = page.ask(count)
    page.ask("document.querySelector('[data-traces]').click()")
    assert page.ask(count) < before


def test_the_dashboard_shows_note_and_figures(page: Page, finished_run: RunFolder) -> None:
    page.complaints.clear()
    page.look(1400, 3000)
    with serving(finished_run, None, "127.0.0.1", 0) as (server, address):
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            page.open(address, "document.body.innerText.includes('Rungs and promotions')")
            assert page.ask("document.body.textContent.includes('Who teaches best')")
            page.open(f"{address}/note", "document.body.innerText.includes('15,000,000 MACs per second')")
            trial = finished_trial(finished_run)
            page.open(f"{address}/trials?numbers={trial}", "document.body.innerText.includes('Stopped at a rung')")
            page.open(f"{address}/trials?numbers={trial}", f"document.body.innerText.includes('{trial}-curve.svg')")
        finally:
            server.shutdown()
            thread.join()
    assert page.complaints == []


def finished_trial(run: RunFolder) -> int:
    return next(t.number for t in load_view(run).trained if t.user_attrs["status"] == "stopped")
