"""`asc-search bench`: one object with bars; exactness is tested, speed only reported."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import asc_search.bench.deploy as bench_deploy
import asc_search.bench.oracle as bench_oracle
from asc_search.bench.bars import at_least, at_most
from asc_search.cli_bench import bench_app
from asc_search.data.demo import SMALL


def test_bench_oracle_prints_one_object_with_its_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_oracle, "DRAWS", 10_000)
    monkeypatch.setattr(bench_oracle, "REPEATS", 2)
    done = CliRunner().invoke(bench_app, ["oracle", "--checked", "5", "--json"])
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    bars = {bar["name"]: bar for bar in found["bars"]}
    assert set(bars) == {"candidates_per_s", "speedup_vs_fvcore", "mismatches"}
    assert bars["mismatches"] == {"name": "mismatches", "value": 0, "goal": 0, "holds": True}
    assert bars["candidates_per_s"]["value"] > 0
    assert found["machine"]["cores"] >= 1 and found["ran"]["draws"] > 0


def test_bench_deploy_compares_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("executorch")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(bench_deploy, "DEMO", SMALL)
    monkeypatch.setattr(bench_deploy, "EPOCHS", 1)
    monkeypatch.setattr(bench_deploy, "OTHERS", ("sscp-s1",))
    found = bench_deploy.bench_deploy()
    bars = {bar["name"]: bar for bar in found["bars"]}
    agreement = {"top1_agreement_reference", "qdq_top1_agreement_reference", "top1_agreement"}
    assert set(bars) == {"speedup_int8", "speedup_qdq", *agreement, "accuracy_drop"}
    assert bars["top1_agreement_reference"]["holds"] and bars["qdq_top1_agreement_reference"]["holds"]
    assert bars["speedup_int8"]["goal"] == 5 and bars["top1_agreement"]["goal"] == 0.99
    ran = found["ran"]
    assert ran["float_top1_agreement"] >= 0.99 and ran["int8_bytes"] < 0.6 * ran["float_bytes"]
    assert ran["speedup_int8_sscp-s1"] > 0
    assert bars["speedup_int8"]["value"] == pytest.approx(ran["eager_ms"] / ran["int8_ms"], rel=0.3)


def test_bars_hold_up_to_their_goal() -> None:
    assert at_least("x", 2, 2).holds and not at_least("x", 1.9, 2).holds
    assert at_most("x", 2, 2).holds and not at_most("x", 2.1, 2).holds
