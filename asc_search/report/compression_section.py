"""Compression side by side: the finalists as fp32, fp16 and int8, and what was measured of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asc_search.nets.cost import BYTES_PER_WEIGHT, Cost
from asc_search.oracle.budget import price_candidate
from asc_search.report.front_table import NONE, percent
from asc_search.report.page import Section, missing, paragraph, table, text
from asc_search.report.view import Network, View

# What front.json calls the ways to a weight type, in words, and the type whose bytes they have.
VERSIONS = {
    "fp32": ("fp32", "fp32"),
    "fp16": ("fp16", "fp16"),
    "ptq": ("int8 after training", "int8"),
    "qat": ("int8 in training", "int8"),
}
MEASURES = (("validation", "all"), ("test", "all"), ("test", "unseen"))


def compression_section(view: View) -> Section:
    """The section of a run."""
    title = "Compression"
    finalists = sorted((one for one in view.networks if one.row.role == "finalist"), key=lambda one: -one.accuracy)
    if not finalists:
        return Section("compression", title, (missing("No table yet: no network has been retrained."),))
    written = {(one.get("name"), one.get("role")): one for one in view.rows_json}
    limit, rows, several = view.space.budget.weight_bytes, [], False
    for network in finalists:
        row = written.get((network.row.name, network.row.role), {})
        measured = versions(row)
        several |= len(measured) > 1
        cost = price_candidate(network.finalist.candidate)
        own = network.row.weight_type
        lines = _measured(cost, measured, own) if measured else _as_stored(cost, network)
        for index, (label, size, values) in enumerate(lines):
            name = text(network.row.name) if index == 0 else ""
            if index == 0 and isinstance(held := row.get("stored_bytes"), int) and held:
                name += f"<small>its file holds {held:,} bytes of tensors</small>"
            over = ' class="n over"' if size > limit else ' class="n"'
            shown = [percent(one, 2).replace("±", " ± ") for one in values]
            rows.append(
                [
                    f'<td class="name">{name}</td>',
                    label,
                    f"{size:,}",
                    f"<td{over}>{100 * size / limit:.1f}</td>",
                    *shown,
                ]
            )
    told = paragraph(
        "Bytes of all weights as the official count has them, and the accuracy measured of each; the type a network was stored "
        "as is bold, a dash was not measured."
    )
    heads = ("network", "weights", "bytes", "% of the limit", "validation %", "test %", "unseen devices, test %")
    parts = [told, table(heads, rows, numeric=range(2, 7))]
    if not several:
        parts.append(missing(f"This run has measured no other weight type than its own ({NONE} above)."))
    parts += _averaged(view, finalists, written)
    return Section("compression", title, tuple(parts))


def _averaged(view: View, finalists: Sequence[Network], written: Mapping[tuple, Mapping[str, Any]]) -> list[str]:
    """Test-time augmentation with what it costs, where it was asked for."""
    rows, limit = [], view.space.budget.macs
    for network in finalists:
        found = written.get((network.row.name, network.row.role), {}).get("averaged")
        if not isinstance(found, Mapping) or not isinstance(macs := found.get("macs"), int):
            continue
        accuracies = found.get("accuracies")
        values = [_fractions(accuracies if isinstance(accuracies, Mapping) else {}, *one) for one in MEASURES]
        over = ' class="n over"' if macs > limit else ' class="n"'
        shown = [percent(one, 2).replace("±", " ± ") for one in values]
        passes = text(str(found.get("passes", "")))
        rows.append([f'<td class="name">{text(network.row.name)}</td>', passes, f"<td{over}>{macs:,}</td>", *shown])
    if not rows:
        return []
    told = paragraph(
        "With test-time augmentation: the mean score over passes of a clip through random device responses. The MACs are those "
        "of all passes; nothing was chosen by it."
    )
    heads = ("network", "passes", "MACs/s", "validation %", "test %", "unseen devices, test %")
    return [told, table(heads, rows, numeric=range(1, 6))]


Line = tuple[str, int, list[tuple[float, ...]]]  # weights (HTML), bytes, accuracies as in MEASURES


def _as_stored(cost: Cost, network: Network) -> list[Line]:
    stored, row = network.row.weight_type, network.row
    known = [row.validation, row.test, row.unseen_test]
    return [
        (_bold(kind, kind == stored), cost.weight_bytes(kind), known if kind == stored else [()] * len(known))
        for kind in BYTES_PER_WEIGHT
    ]


def _measured(cost: Cost, measured: Mapping[str, Any], own: str) -> list[Line]:
    lines = []
    for kind, by_split in measured.items():
        label, weights = VERSIONS.get(kind, (kind, kind if kind in BYTES_PER_WEIGHT else own))
        values = [_fractions(by_split, split, group) for split, group in MEASURES]
        last = kind == "qat" or kind == own
        lines.append((_bold(text(label), last), cost.weight_bytes(weights), values))
    return lines


def _bold(label: str, bold: bool) -> str:
    return f"<b>{label}</b>" if bold else label


def versions(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a row of front.json says of its network in other weight types: by type, split and group of devices."""
    found = row.get("versions")
    return (
        {str(kind): value for kind, value in found.items() if isinstance(value, Mapping)}
        if isinstance(found, Mapping)
        else {}
    )


def _fractions(by_split: Mapping[str, Any], split: str, group: str) -> tuple[float, ...]:
    """Accuracies over the seeds, without those that have none."""
    of_split = by_split.get(split)
    values = of_split.get(group) if isinstance(of_split, Mapping) else None
    return tuple(float(one) for one in values if isinstance(one, int | float)) if isinstance(values, list) else ()
