"""README's pictures of a run: ``python tests/pictures.py RUN`` writes docs/report.png and docs/dashboard.png."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from browser import browser

from asc_search.report.report import write_report
from asc_search.report.serve import serving
from asc_search.report.view import load_view
from asc_search.study.run_folder import existing_run

DOCS = Path(__file__).resolve().parents[1] / "docs"
DRAWN = "[...document.querySelectorAll('.plot')].every(plot => plot.dataset.drawn)"
SETTLED_S = 3.0  # the dashboard draws when its answers have come


def main(root: Path) -> None:
    run = existing_run(root)
    view = load_view(run)
    best = view.best
    if not view.trained:
        raise SystemExit(f"{root}: nothing has been trained yet")
    trial = max(view.trained, key=lambda one: one.values[0]).number if best is None else best.row.trial
    with tempfile.TemporaryDirectory() as folder, browser() as page:
        path = Path(folder) / "report.html"
        write_report(view, path)
        page.look(1280, 1480)
        page.open(path.as_uri(), DRAWN)
        page.picture(DOCS / "report.png")
        with serving(run, None, "127.0.0.1", 0) as (server, address):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page.look(1440, 1400)
            page.open(f"{address}/trials?numbers={trial}", "document.body.innerText.includes('curve.svg')")
            time.sleep(SETTLED_S)
            page.picture(DOCS / "dashboard.png")
            server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
