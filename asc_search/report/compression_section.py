"""Compression side by side: the finalists as fp32, fp16 and int8, and what was measured of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asc_search.nets.cost import BYTES_PER_WEIGHT
from asc_search.oracle.budget import price_candidate
from asc_search.report.front_table import NONE, percent
from asc_search.report.page import Section, missing, paragraph, table, text
from asc_search.report.view import View

QUANTISED = ("int8", "ptq", "qat", "quant", "fp32", "fp16")


def compression_section(view: View) -> Section:
    """The section of a run."""
    title = "Compression"
    finalists = sorted((one for one in view.networks if one.row.role == "finalist"), key=lambda one: -one.accuracy)
    if not finalists:
        return Section("compression", title, (missing("No table yet: no network has been retrained."),))
    limit, rows, further = view.space.budget.weight_bytes, [], []
    written = {(one.get("name"), one.get("role")): one for one in view.rows_json}
    for network in finalists:
        cost = price_candidate(network.finalist.candidate)
        for index, kind in enumerate(BYTES_PER_WEIGHT):
            size, stored = cost.weight_bytes(kind), kind == network.row.weight_type
            over = ' class="n over"' if size > limit else ' class="n"'
            values = (network.row.validation, network.row.test) if stored else ((), ())
            rows.append(
                [
                    f'<td class="name">{text(network.row.name) if index == 0 else ""}</td>',
                    f"<b>{kind}</b>" if stored else kind,
                    f"{size:,}",
                    f"<td{over}>{100 * size / limit:.1f}</td>",
                    *(percent(one, 2).replace("±", " ± ") for one in values),
                ]
            )
        for what, values in measured(written.get((network.row.name, network.row.role), {})):
            further.append(
                [f'<td class="name">{text(network.row.name)}</td>', text(what), percent(values, 2).replace("±", " ± ")]
            )
    told = paragraph(
        "Bytes of all weights as the official count has them, and accuracy of the type a network was stored and measured as "
        "(bold); a dash was not measured."
    )
    heads = ("network", "weights", "bytes", "% of the limit", "validation %", "test %")
    parts = [told, table(heads, rows, numeric=(2, 3, 4, 5))]
    if further:
        parts.append(
            table(("network", "measured", "%"), further, numeric=(2,), caption="Measured in other weight types")
        )
    else:
        parts.append(missing(f"This run has measured no other weight type than its own ({NONE} above)."))
    return Section("compression", title, tuple(parts))


def measured(row: Mapping[str, Any], path: str = "", inside: bool = False) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Accuracies under keys of ``row`` that name a weight type or a way to it: (what in words, a fraction by seed)."""
    for key, value in row.items():
        told, chosen = (
            f"{path} {key}".strip().replace("_", " "),
            inside or any(word in key.lower() for word in QUANTISED),
        )
        if isinstance(value, Mapping):
            yield from measured(value, told, chosen)
        elif chosen and "loss" not in key:
            values = value if isinstance(value, list | tuple) else [value]
            if values and all(isinstance(one, float) and 0 <= one <= 1 for one in values):
                yield told, tuple(values)
