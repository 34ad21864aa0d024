"""Points of a space as vectors: what a model of the accuracy takes."""

from __future__ import annotations

import numpy as np

from asc_search.space.columns import Column, Columns
from asc_search.space.domains import Choice, Constant, Domain, FloatRange, IntRange, Subset
from asc_search.space.space import Parameter, Space


def encoded(space: Space, columns: Columns) -> np.ndarray:
    """The points of ``columns`` as (n, d) in [0, 1]: numbers by their place in the range (its logarithm where ``log``), 1
    of ``1/sqrt(2)`` for a choice, so that different values are 1 apart, and one dimension a member for a set.

    A parameter that does not exist is at the middle of its range, of no choice.
    """
    parts = [
        _encoded(parameter, columns[parameter.name])
        for parameter in space.varying
        if not isinstance(parameter.domain, Constant)
    ]
    count = len(next(iter(columns.values())).drawn)
    return np.concatenate(parts, axis=1) if parts else np.zeros((count, 0))


def groups_of(space: Space) -> np.ndarray:
    """Which of the varying parameters, from 0, each dimension of ``encoded`` is of, (d,)."""
    domains = [one.domain for one in space.varying if not isinstance(one.domain, Constant)]
    return np.repeat(np.arange(len(domains)), [_width(domain) for domain in domains])


def _width(domain: Domain) -> int:
    match domain:
        case Choice(values=values):
            return len(values)
        case Subset(members=members):
            return len(members)
    return 1


def _encoded(parameter: Parameter, column: Column) -> np.ndarray:
    drawn, domain = column.drawn, parameter.domain
    match domain:
        case Subset():
            return column.values * drawn[:, None] * 0.5
        case Choice():
            codes = np.where(drawn, column.values, -1)
            return (codes[:, None] == np.arange(len(domain.values))) / np.sqrt(2)
        case IntRange() | FloatRange():
            ends = np.array([domain.low, domain.high], float)
            values = np.where(drawn, column.values, domain.low).astype(float)
            if domain.log:
                ends, values = np.log(ends), np.log(values)
            span = ends[1] - ends[0]
            place = (values - ends[0]) / span if span else np.full(len(drawn), 0.5)
            return np.where(drawn, place, 0.5)[:, None]
    raise AssertionError(parameter)
