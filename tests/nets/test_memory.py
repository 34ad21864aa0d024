"""Peak memory of activations: against every order there is, closed forms, and a block by hand."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from asc_search.nets.blocks import family
from asc_search.nets.blocks.bc_common import price_resnorm
from asc_search.nets.ledger import Ledger
from asc_search.nets.memory import INPUT, Step, peak_elements
from asc_search.nets.network import price
from asc_search.nets.spec import LayerSpec, NetSpec
from asc_search.nets.systems import SYSTEMS, system


def peak_in_order(input_size: int, steps: list[Step]) -> int:
    """Most values alive when ``steps`` run as listed: what is read or written now, and what is read later."""
    sizes = {INPUT: input_size, **{step.writes: step.size for step in steps}}
    peaks = [input_size]
    for index, step in enumerate(steps):
        there = {INPUT, *(done.writes for done in steps[:index])}
        later = {tensor for after in steps[index:] for tensor in after.reads}
        peaks.append(sum(sizes[tensor] for tensor in (there & later) | {step.writes}))
    return max(peaks)


def brute_force(input_size: int, steps: list[Step]) -> int:
    """The least peak over all orders in which every tensor is written before it is read."""
    peaks = []
    for order in itertools.permutations(steps):
        there = {INPUT}
        for step in order:
            if not there.issuperset(step.reads):
                break
            there.add(step.writes)
        else:
            peaks.append(peak_in_order(input_size, list(order)))
    return min(peaks)


def random_graph(rng: random.Random, count: int) -> list[Step]:
    """``count`` operations of random inputs; the last one reads all that no other does, as a network's head."""
    reads = [tuple(rng.sample(range(n), min(n, rng.choice((1, 1, 2, 3))))) for n in range(1, count + 1)]
    unread = set(range(count)) - {tensor for one in reads for tensor in one}
    reads[-1] = tuple(sorted({*reads[-1], *unread}))
    return [Step(one, number, rng.randint(1, 30)) for number, one in enumerate(reads, 1)]


@pytest.mark.parametrize("seed", range(60))
def test_peak_is_the_least_over_all_orders(seed: int) -> None:
    rng = random.Random(seed)
    steps, size = random_graph(rng, rng.randint(1, 6)), rng.randint(1, 30)
    expected = brute_force(size, steps)
    assert peak_elements(size, steps) == expected
    assert peak_elements(size, rng.sample(steps, len(steps))) == expected


@pytest.mark.parametrize("seed", range(10))
def test_peak_of_a_chain_is_the_largest_input_and_output_together(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randint(1, 1000) for _ in range(rng.randint(2, 60))]
    steps = [Step((index,), index + 1, size) for index, size in enumerate(sizes[1:])]
    assert peak_elements(sizes[0], steps) == max(a + b for a, b in itertools.pairwise(sizes))


def test_the_branch_that_leaves_less_goes_first() -> None:
    large, small = [Step((0,), 1, 10), Step((1,), 2, 10)], [Step((0,), 3, 100), Step((3,), 4, 1)]
    join = Step((2, 4), 5, 10)
    assert peak_in_order(1, [*large, *small, join]) == 111  # 10 wait while 100 are read into 1
    assert peak_in_order(1, [*small, *large, join]) == 102
    assert peak_elements(1, [*large, *small, join]) == 102


def test_nothing_done_needs_the_input() -> None:
    assert peak_elements(7, []) == 7


def cp(out: int, hidden: int, stride: tuple[int, int], shortcut: bool) -> NetSpec:
    """One CP block of explicit widths on a 4 x 6 x 8 map, and a head."""
    options = {"hidden": hidden, "shortcut": shortcut, "attachment": "none"}
    return NetSpec((4, 6, 8), 3, (LayerSpec("cp", out, stride, options), LayerSpec("conv_head", 3)))


def test_peak_of_a_cp_block_by_hand() -> None:
    x, e, co = 4 * 48, 16 * 48, 4 * 48
    # Expand x+e; depthwise e+e; project e+co; without a shortcut the input is gone after the first.
    assert price(cp(4, 16, (1, 1), False)).peak_activations == e + e
    # With it the input waits for the sum.
    assert price(cp(4, 16, (1, 1), True)).peak_activations == x + e + e
    # Stride (1, 2): the average pooling s = x/2 goes first, so that only s waits; expand x+s+e, depthwise s+e+e/2.
    assert price(cp(4, 16, (1, 2), True)).peak_activations == max(x + x // 2 + e, x // 2 + e + e // 2)
    assert price(cp(4, 16, (1, 2), True)).peak_activation_bytes("fp16") == 2 * (x // 2 + e + e // 2)
    # A hidden width of 5 x 48: expand x+e, depthwise e+e, project e+co.
    assert price(cp(9, 5, (1, 1), False)).peak_activations == max(x + 240, 480, 240 + 9 * 48)
    assert co == x


def test_views_take_no_memory() -> None:
    """Splits of a map are the map itself: a parallel pair reads one input."""
    options = {"hidden": 16, "shortcut": False, "attachment": "none", "fusion": "parallel"}
    layers = (LayerSpec("sscp", 4, (1, 1), options), LayerSpec("conv_head", 3))
    e = 16 * 48
    # Depthwise (3,1) e+e, then (1,3) with both e+e+e, their sum 3e.
    assert price(NetSpec((4, 6, 8), 3, layers)).peak_activations == 3 * e


@pytest.mark.parametrize("name", SYSTEMS)
def test_peak_of_every_design_is_found_at_once_and_no_more_than_in_the_order_written(name: str) -> None:
    cost = price(system(name)())
    started = time.perf_counter()
    peak = cost.peak_activations
    assert time.perf_counter() - started < 2
    channels, freq, frames = cost.input
    steps = [Step(row.reads, row.writes, row.out[0] * row.out[1] * row.out[2]) for row in cost.layers]
    steps = [step for step in steps if step.writes not in step.reads]
    assert peak <= peak_in_order(channels * freq * frames, steps)
    assert peak >= max(step.size for step in steps)


def test_se_reads_its_map_twice() -> None:
    """The map waits while its gate is computed; the gate's steps are small."""
    plain, gated = (
        price(NetSpec((8, 5, 5), 3, (family("cp").layer(8, 8, attachment=kind), LayerSpec("conv_head", 3))))
        for kind in ("none", "se")
    )
    assert gated.peak_activations == plain.peak_activations  # the block's middle is still the peak
    assert len(gated.layers) == len(plain.layers) + 4


def peak_of(name: str, shape: tuple[int, int, int], **options: object) -> int:
    """Peak of one block of unchanged width, alone."""
    ledger = Ledger(shape)
    layer = family(name).layer(shape[0], shape[0], **options)
    return ledger.cost(family(name).price(layer, ledger, ledger.input)).peak_activations


def test_shortcuts_keep_their_input_alive():
    # mn, 8 channels expanded to 32 on a 4x4 map: the depthwise convolution has its input, its output and the block's
    # input beside it, (8 + 2 * 32) * 16; without an expansion the block's input is that of the convolution.
    assert peak_of("mn", (8, 4, 4), attachment="none", expansion=4.0) == (8 + 2 * 32) * 16
    assert peak_of("mn", (8, 4, 4), attachment="none", expand=False) == 3 * 8 * 16
    # rfr: the second convolution has its input, its output and the block's input beside it.
    assert peak_of("rfr", (8, 4, 4)) == 3 * 8 * 16
    # res2d: the same.
    assert peak_of("res2d", (8, 4, 4)) == 3 * 8 * 16


def test_a_gate_needs_what_it_scales():
    # SE after the projection: the block's input, the sum, and the scaled sum; its own vectors are small.
    plain = peak_of("rfr", (8, 4, 4))
    assert peak_of("rfr", (8, 4, 4), attachment="se") == plain
    # With a bottleneck the largest moment is the sum: input, second convolution's output and sum.
    assert peak_of("rfr", (8, 4, 4), bottleneck=4) == 3 * 8 * 16


@pytest.mark.parametrize("kind", ["batch", "statistic"])
def test_resnorm_adds_a_normalised_copy(kind):
    ledger = Ledger((8, 4, 4))
    ledger.enter(0, "some")
    out = price_resnorm(kind, ledger, ledger.input)
    assert ledger.cost(out).peak_activations == 3 * 8 * 16  # the map, its norm and their sum
