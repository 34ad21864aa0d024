"""The report of whole, partial and hostile runs: what it says against the files it was made of."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from statistics import mean

import numpy as np
import optuna
import pytest
from report.made_up import SCENES, made_up_run
from typer.testing import CliRunner

from asc_search.cli import app
from asc_search.errors import RunFolderError
from asc_search.files import read_json, write_json
from asc_search.job import write_results
from asc_search.report.cost_section import blocks
from asc_search.report.importance import importances
from asc_search.report.progress_section import growth
from asc_search.report.report import write_report
from asc_search.report.teachers import agreement, kept_teachers
from asc_search.report.view import load_study, load_view
from asc_search.study.run_folder import RunFolder

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PLOTS = {
    "front-plot", "progress-plot", "rungs-plot", "ranks-plot", "importance-plot", "feasibility-plot", "teaching-plot",
    "confusion-plot", "cost-plot",
}  # fmt: skip


class Page(HTMLParser):
    """The figures of a page by key, its tags, its words, and the cells of its tables by section."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.words: list[str] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.figures: dict[str, dict] = {}
        self._section, self._key, self._script, self._cell = "", "", False, False
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        known = dict(attrs)
        self._script, self._key = tag in ("script", "style"), known.get("data-plot", "")
        if tag == "section":
            self._section = known["id"]
        elif tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        elif tag in ("td", "th"):
            self.rows[self._section][-1].append("")
            self._cell = True
        elif tag == "small" and self._cell:
            self.rows[self._section][-1][-1] += " "

    def handle_endtag(self, tag):
        self._script, self._key, self._cell = False, "", self._cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._key:
            self.figures[self._key] = json.loads(data)
        elif not self._script:
            self.words.append(data)
            if self._cell:
                self.rows[self._section][-1][-1] += data


@pytest.fixture(scope="module")
def page(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(load_view(finished_run), out)
    return Page(out)


def report_of(run: RunFolder, out: Path) -> Page:
    write_report(load_view(run), out)
    return Page(out)


def test_a_finished_run_has_every_figure_and_says_so(page: Page) -> None:
    assert set(page.figures) == PLOTS
    assert "finished" in page.text and "partial" not in page.text
    assert "yet" not in re.sub(r"[A-Za-z]+yet", "", page.text)


def test_the_library_is_there_once_and_nothing_is_loaded(page: Page) -> None:
    assert page.source.count("plotly.js v") == 1
    assert "default-src 'none'" in page.source
    assert "link" not in page.tags and not re.search(r"<(?:script|img)[^>]* src=", page.source.split("plotly.js v")[0])


def test_confusion_counts_are_those_of_the_test_files_of_the_best_on_validation(
    page: Page, finished_run: RunFolder
) -> None:
    folders: dict[str, list[Path]] = {}
    for path in (finished_run.root / "finalists").glob("*/seed-*"):
        folders.setdefault(path.parent.name, []).append(path)
    digests = [
        name for name in folders if any(name.startswith(trial) for trial in _digests(finished_run))
    ]  # without the reference
    best = max(digests, key=lambda name: mean(read_json(one / "validation.json")["accuracy"] for one in folders[name]))
    counts = sum(np.array(read_json(one / "test.json")["confusion"]) for one in folders[best])
    shown = page.figures["confusion-plot"]["data"][0]
    assert np.allclose(_array(shown["z"]), 100 * counts / counts.sum(axis=1, keepdims=True), atol=0.01)
    assert page.figures["confusion-plot"]["layout"]["yaxis"]["ticktext"] == list(SCENES)


def _digests(run: RunFolder) -> list[str]:
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{run.database}")
    return [trial.user_attrs["digest"] for trial in study.trials]


def _array(value: object) -> np.ndarray:
    """Plotly writes some arrays as base64."""
    if isinstance(value, dict):
        import base64

        found = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
        return found.reshape([int(one) for one in value["shape"].split(",")]) if "shape" in value else found
    return np.array(value)


def test_devices_are_the_means_over_seeds(page: Page, finished_run: RunFolder) -> None:
    rows = page.rows["devices"]
    heads = [head.split(" ")[0] for head in rows[0]]
    front = {row["name"]: row for row in read_json(finished_run.root / "front.json")}
    stored = {}
    for path in (finished_run.root / "finalists").glob("*/seed-*/test.json"):
        stored.setdefault(path.parent.parent.name, []).append(read_json(path))
    assert len(rows) == 2 * (1 + len(front)), "a table for each split"
    for row in rows[1 : 1 + len(front)]:
        name = re.sub(r" (finalist|reference)$", "", row[0])
        (metrics,) = [m for m in stored.values() if tuple(one["accuracy"] for one in m) == tuple(front[name]["test"])]
        assert float(row[1]) == pytest.approx(100 * mean(front[name]["test"]), abs=0.051)
        for device in ("a", "s6"):
            expected = 100 * mean(one["device_wise"][device]["accuracy"] for one in metrics)
            assert float(row[heads.index(device)]) == pytest.approx(expected, abs=0.051)


def test_feasibility_is_what_the_limits_say(page: Page, finished_run: RunFolder) -> None:
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{finished_run.database}")
    over = sum(t.user_attrs["macs"] > 15_000_000 or t.user_attrs["weight_bytes"] > 128_000 for t in study.trials)
    assert over and f"{over} of {len(study.trials)} draws" in page.text
    drawn = {trace["name"]: _array(trace["customdata"]).sum() for trace in page.figures["feasibility-plot"]["data"]}
    assert drawn.pop("within the budget") == len(study.trials) - over and sum(drawn.values()) == over


def test_growth_is_the_area_by_counting_cells() -> None:
    rng = np.random.default_rng(0)
    points = [tuple(map(float, one)) for one in rng.random((12, 2)).round(2)]
    grown = growth(points, (1.0, 1.5))
    x, y = np.meshgrid((np.arange(100) + 0.5) / 100, (np.arange(150) + 0.5) / 100)
    for count, value in enumerate(grown, 1):
        inside = np.any([(x > a) & (y > b) for a, b in points[:count]], axis=0)
        assert value == pytest.approx(inside.mean(), abs=1e-9)
    assert grown == sorted(grown)


def test_importance_finds_the_parameter_that_decides() -> None:
    rng = np.random.default_rng(0)
    distributions = {
        "matters": optuna.distributions.FloatDistribution(0, 1), "does not": optuna.distributions.FloatDistribution(0, 1)
    }  # fmt: skip
    trials = [
        optuna.trial.create_trial(
            values=[0.0],
            params={"matters": float(a), "does not": float(b)},
            distributions=distributions,
            user_attrs={"rungs": [{"accuracy": float(a)}]},
        )
        for a, b in rng.random((60, 2))
    ]
    found = importances(trials)
    assert found["matters"] > 5 * found["does not"]
    assert importances(trials[:5]) == {}


def test_teachers_agree_as_counted(finished_run: RunFolder) -> None:
    kept = kept_teachers(finished_run.root, ("wide_cp", "wide_sscp", "tagger_like"))
    assert [one.name for one in kept] == ["wide_cp", "wide_sscp", "tagger_like"]
    classes = [np.load(one.logits).astype(np.float32).argmax(axis=1) for one in kept]
    expected = [[np.mean(a == b) for b in classes] for a in classes]
    assert np.allclose(agreement(kept), expected)


def test_blocks_add_up_to_the_cost(finished_run: RunFolder) -> None:
    from asc_search.oracle.budget import price_candidate

    cost = price_candidate(load_view(finished_run).best.finalist.candidate)
    assert sum(macs for _, macs, _ in blocks(cost.layers)) == cost.macs
    assert sum(params for _, _, params in blocks(cost.layers)) == cost.params


def test_weight_types_measured_stand_side_by_side(finished_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished_run.root, run.root)
    rows = read_json(run.root / "front.json")
    best = max((row for row in rows if row["role"] == "finalist"), key=lambda row: mean(row["validation"]))
    best["versions"] = {
        "fp32": {"validation": {"all": [0.8, 0.9]}, "test": {"all": [0.7], "unseen": [0.61]}},
        "ptq": {"validation": {"all": [0.5, None]}, "test": "damaged"},
    }
    best["stored_bytes"] = 12_345
    accuracies = {"validation": {"all": [0.5, 0.7]}, "test": {"all": [0.6], "unseen": []}}
    best["averaged"] = {"passes": 10, "macs": 10 * best["macs"], "accuracies": accuracies}
    write_json(run.root / "front.json", rows)
    page = report_of(run, tmp_path / "report.html")
    table = page.rows["compression"]
    assert table[1][1:2] + table[1][4:] == ["fp32", "85.00 ± 7.07", "70.00", "61.00"] and "12,345 bytes" in table[1][0]
    assert page.rows["compression"][-1][1:] == ["10", f"{10 * best['macs']:,}", "60.00 ± 14.14", "60.00", "-"]
    assert table[2][1:2] + table[2][4:] == ["int8 after training", "50.00", "-", "-"]
    assert int(table[1][2].replace(",", "")) == 4 * best["params"] == 4 * int(table[2][2].replace(",", ""))
    assert "no other weight type" not in page.text


def test_every_stage_of_a_run_has_a_report(finished_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished_run.root, run.root)
    (run.root / "front.json").unlink()
    (run.root / "finalists.json").unlink()
    for note in run.root.glob("finalists/*/seed-*/test.json"):
        note.unlink()
    retraining = report_of(run, tmp_path / "report.html")
    assert "interrupted: retraining the front" in retraining.text and set(retraining.figures) == PLOTS
    assert "on the validation split" in retraining.text
    shutil.rmtree(run.root / "finalists")
    searched = report_of(run, tmp_path / "report.html")
    assert set(searched.figures) == PLOTS - {"confusion-plot", "cost-plot"}
    assert searched.text.count("no network has been retrained") >= 4
    for part in run.root.glob("study.db*"):
        part.unlink()
    shutil.rmtree(run.root / "logits")
    begun = report_of(run, tmp_path / "report.html")
    assert "preparing data and teachers" in begun.text and set(begun.figures) == {"front-plot"}


def test_a_trial_under_way_shows_a_search_under_way(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run", trials=3, retrained=False)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{run.database}")
    run.space_file.write_text(run.space_file.read_text().replace("trials: 3", "trials: 30"))
    left = study.ask()
    assert "interrupted: searching, 3 of 30 trained" in report_of(run, tmp_path / "report.html").text
    left.set_user_attr("worker", "host 1")
    assert " searching, 3 of 30 trained" in report_of(run, tmp_path / "report.html").text
    assert "interrupted" not in report_of(run, tmp_path / "report.html").text
    write_json(run.root / "holder.json", {"pid": os.getpid()})
    left.set_user_attr("worker", None)
    assert "interrupted" not in report_of(run, tmp_path / "report.html").text


def test_names_from_outside_stay_text(tmp_path: Path, finished_run: RunFolder) -> None:
    plain = report_of(finished_run, tmp_path / "plain.html")
    classes = (HOSTILE, "Straßenbahn", '"quoted"', "駅 & 公園", *SCENES[4:])
    run = made_up_run(
        tmp_path / "Müller's <b>lab",
        trials=14,
        classes=classes,
        devices=(HOSTILE, "b", "é<i>", *"defghi"),
        notes={"source": HOSTILE},
    )
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{run.database}")
    refused = study.ask()
    for key, value in study.trials[0].user_attrs.items():
        refused.set_user_attr(key, value)
    refused.set_user_attr("status", "failed")
    refused.set_user_attr("reason", HOSTILE)
    study.tell(refused, state=optuna.trial.TrialState.FAIL)
    for row in (rows := read_json(run.root / "front.json")):
        row["name"] = row["description"] = row["name"] + HOSTILE
    write_json(run.root / "front.json", rows)
    listed = read_json(run.root / "finalists.json")
    for one, row in zip(listed, rows, strict=True):
        one["name"] = row["name"]
    write_json(run.root / "finalists.json", listed)
    page = report_of(run, tmp_path / "hostile.html")
    assert page.tags.count("script") == plain.tags.count("script") and "img" not in page.tags and "i" not in page.tags
    assert HOSTILE in page.text and "Straßenbahn" in page.text and "Müller's <b>lab" in page.text
    assert page.figures["confusion-plot"]["layout"]["yaxis"]["ticktext"][3] == "駅 &amp; 公園"
    drawn = json.dumps(page.figures, ensure_ascii=False)
    assert "alert(1)" in drawn and "<script" not in drawn and "<img" not in drawn and "<i>" not in drawn


def test_the_command_writes_the_page_where_it_is_told(finished_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(finished_run.root), "--out", str(out)])
    assert done.exit_code == 0 and str(out) in done.output.replace("\n", ""), done.output
    assert set(Page(out).figures) == PLOTS
    refused = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(refused.exception, RunFolderError) and "not a run folder" in str(refused.exception)


def test_a_study_kept_elsewhere_is_asked_for_without_its_password(finished_run: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished_run.root, run.root)
    write_json(run.root / "run.json", {**run.identity, "storage": "postgresql+psycopg://me:***@127.0.0.1:1/db"})
    with pytest.raises(RunFolderError, match="--storage"):
        load_view(run)
    with pytest.raises(RunFolderError, match=r"127\.0\.0\.1") as unreachable:
        load_view(run, "postgresql+psycopg://me:secret@127.0.0.1:1/db")
    assert "secret" not in str(unreachable.value)


def test_the_job_leaves_tables_and_report_in_the_run(
    finished_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished_run.root, run.root)
    view = load_view(run)
    (run.root / "front.json").unlink()
    write_results(view.space, run, view.rows, load_study(run, None))
    assert set(Page(run.root / "report.html").figures) == PLOTS
    assert "finished" in Page(run.root / "report.html").text
    assert len((run.root / "front.csv").read_text().splitlines()) == 1 + len(view.rows)
    assert view.rows[0].name in capsys.readouterr().out
