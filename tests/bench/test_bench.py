"""`asc-search bench`: one object with bars; exactness is tested, speed only reported."""

from __future__ import annotations

import json

from support import asc_search

from asc_search.bench.bars import at_least, at_most


def test_bench_oracle_prints_one_object_with_its_bars() -> None:
    done = asc_search("bench", "oracle", "--checked", 5, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    bars = {bar["name"]: bar for bar in found["bars"]}
    assert set(bars) == {"candidates_per_s", "speedup_vs_fvcore", "mismatches"}
    assert bars["mismatches"] == {"name": "mismatches", "value": 0, "goal": 0, "holds": True}
    assert bars["candidates_per_s"]["value"] > 0
    assert found["machine"]["cores"] >= 1 and found["ran"]["draws"] > 0


def test_bars_hold_up_to_their_goal() -> None:
    assert at_least("x", 2, 2).holds and not at_least("x", 1.9, 2).holds
    assert at_most("x", 2, 2).holds and not at_most("x", 2.1, 2).holds
