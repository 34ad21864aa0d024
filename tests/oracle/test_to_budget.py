"""Pruning to the budget: never over, near under it, the least ratio there is, and what a search makes of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import asc_search, points

from asc_search.audio.frontend_spec import FrontEnd
from asc_search.compress.prune import prune_to
from asc_search.nets.blocks import families
from asc_search.nets.network import build, grain, price, shrink
from asc_search.nets.systems.mn import mn
from asc_search.nets.systems.mobile import sscp_mobile
from asc_search.oracle.budget import assess, macs_per_second
from asc_search.oracle.to_budget import LAST, fitted, kept_at, ratio_to_budget, tapered
from asc_search.space.candidate import Candidate
from asc_search.space.load import loads
from asc_search.space.pruning import Pruning
from asc_search.space.space import Budget, Space

PARENTS = 200


def prunable(role: str) -> list[str]:
    return [kind.name for kind in families(role).values() if kind.shrink is not None]


def parents_space() -> Space:
    """Large networks of every family that can be pruned, pruned to the budget of DCASE."""
    stages = "".join(
        f"    - {{family: {{choice: [{', '.join(prunable('block'))}]}}, depth: {{int: [1, 3]}}, "
        f"stride: {{choice: [1x1, 1x2, 2x1]}}, attachment: {{choice: [none, se]}}}}\n"
        for _ in range(3)
    )
    return loads(
        f"""
network:
  stem: {{choice: [{", ".join(prunable("stem"))}]}}
  base: {{int: [40, 120]}}
  multiplier: {{float: [1.2, 2.0]}}
  head: {{choice: [{", ".join(prunable("head"))}]}}
  stages:
{stages}
weight_type: {{choice: [fp16, fp32]}}
pruning: {{target: budget, taper: {{choice: [0, 0.5, 1]}}}}
"""
    )


def load(candidate: Candidate, budget: Budget) -> float:
    """Cost over the tighter limit."""
    cost = assess(candidate, budget).cost
    macs = macs_per_second(cost.macs, candidate.frontend.seconds) / budget.macs
    return max(macs, cost.weight_bytes(candidate.weight_type) / budget.weight_bytes)


def test_200_random_parents_end_under_the_budget_and_near_it() -> None:
    space, seen, loads_, number = parents_space(), Counter(), [], 0
    for candidate, _ in points(space, 0, 4 * PARENTS):
        assessment = assess(candidate, space.budget)
        together = grain(candidate.network)
        odd = any(layer.out % together for layer in candidate.network.layers[:-1])
        if assessment.cost is None or assessment.verdict.fits or odd:
            continue
        seen.update({layer.family for layer in candidate.network.layers})
        pruned = fitted(candidate, space.budget)
        if not assess(pruned, space.budget).verdict.fits:
            least = shrink(
                candidate.network, partial(kept_at, step=LAST, round_to=together, taper=candidate.pruning.taper)
            )
            assert load(replace(candidate, network=least, pruning=Pruning()), space.budget) > 1, "nothing fits"
            continue
        loads_.append(load(pruned, space.budget))
        if number % 20 == 0:
            module = prune_to(build(pruned.network), pruned.network, pruned.deployed)
            counted = sum(parameter.numel() for parameter in module.parameters())
            assert counted == price(pruned.deployed).params
        number += 1
        if number == PARENTS:
            break
    near = sum(one >= 0.98 for one in loads_)
    print(f"{near} of {len(loads_)} within 2 %, the least load {min(loads_):.4f}, {sorted(loads_)[:8]}")
    assert len(loads_) == PARENTS and set(seen) == {*prunable("stem"), *prunable("block"), *prunable("head")}
    assert near >= 0.95 * PARENTS


def test_the_ratio_is_the_least_uniform_one_that_fits() -> None:
    budget, spec = Budget(), sscp_mobile(64)

    def fits(step: int) -> bool:
        cost = price(shrink(spec, lambda width: kept_at(width, step, 1)))
        return cost.macs <= 30_000_000 and cost.weight_bytes("fp16") <= 128_000

    ratio, kept = ratio_to_budget(spec, budget, "fp16", 1.0)
    assert ratio == next(step for step in range(1025) if fits(step)) / 1024
    assert all(left >= int(width * (1 - ratio)) for width, left in kept.items())
    cost = price(shrink(spec, kept.__getitem__))
    assert 0.98 <= max(cost.macs / 30_000_000, cost.weight_bytes("fp16") / 128_000) <= 1
    assert ratio_to_budget(sscp_mobile(32), budget, "fp16", 1.0) == (0.0, {}), "fits as it is"
    ratio, kept = ratio_to_budget(sscp_mobile(64), Budget(1000, 1000), "fp16", 1.0)
    assert 0.94 < ratio <= 0.95 and min(kept.values()) == 1, "nothing fits"


def test_taper_cuts_wide_layers_first() -> None:
    widths = np.array([8, 16, 100, 256, 512, 1000])
    for step in (1, 300, 512, 900):
        share = (1024 - step) / 1024
        assert tapered(widths, step, 0).tolist() == [width * (1024 - step) // 1024 for width in widths]
        assert tapered(widths, step, 1).tolist() == [min(width, int(512 * share)) for width in widths], "one width"
        half = [min(width, math.floor(share * math.sqrt(512 * width) + 1e-9)) for width in widths]
        assert tapered(widths, step, 0.5).tolist() == half, "the geometric mean of both"
    spec = mn(width=0.4)
    costs = [price(shrink(spec, ratio_to_budget(spec, Budget(), "fp16", 1.0, taper=taper)[1].get)) for taper in (0, 1)]
    assert all(0.98 * 64_000 <= cost.params <= 64_000 for cost in costs)
    assert costs[1].macs > 2 * costs[0].macs, "the narrow layers near the input, where the MACs are, stay"


@pytest.mark.parametrize("round_to", [4, 8])
def test_widths_are_rounded_and_still_under(round_to: int) -> None:
    one = Candidate(FrontEnd(), sscp_mobile(80), pruning=Pruning(target="budget", round_to=round_to))
    pruned = fitted(one, Budget())
    assert all(left % round_to == 0 for left in pruned.pruning.stated.values())
    assert 0.9 < load(pruned, Budget()) <= 1
    assert Candidate.from_json(pruned.to_json()).deployed == pruned.deployed
    assert fitted(pruned, Budget()) == pruned


def test_complexity_tells_what_is_deployed(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    stages = (
        '    - {family: cp, depth: 3, stride: "1x2", stride_at: last}\n    - {family: cp, depth: 3, stride: "2x1"}\n'
    )
    text = f"network:\n  stem: cp\n  base: 64\n  stages:\n{stages}pruning: {{target: budget}}\n"
    file.write_text(text)
    done = asc_search("complexity", file, "--json")
    printed = json.loads(done.stdout)
    assert printed["fits"]["fp16"]
    near = max(printed["macs_per_second"] / 30_000_000, printed["weight_bytes"]["fp16"] / 128_000)
    assert 0.98 <= near <= 1
