"""The front as a CSV file: one row per network, means and deviations beside the values of each seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from asc_search.files import write_atomically
from asc_search.report.front_table import ordered
from asc_search.study.records import FinalistRow, mean_std

ACCURACIES = ("validation", "test", "test_log_loss", "unseen_test")
VERSIONS = ("fp32", "fp16", "ptq", "qat")  # of an int8 finalist
COLUMNS = (
    "name",
    "role",
    "trial",
    "params",
    "macs",
    "weight_bytes",
    "weight_type",
    "stored_bytes",
    "epochs",
    "seeds",
    "teachers",
    *(f"{name}_{part}" for name in ACCURACIES for part in ("mean", "std", "values")),
    *(f"{kind}_{split}_values" for kind in VERSIONS for split in ("validation", "test")),
    "description",
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str) -> str:
    """``text`` with a quote before it where a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def write_front_csv(rows: Sequence[FinalistRow], path: Path) -> None:
    """Write ``rows`` to ``path`` in one step (UTF-8, comma, columns ``COLUMNS``), ordered as the table is.

    Accuracies are fractions; ``*_values`` holds one value per seed joined by ``;``; what was not measured is empty. The last
    ones are those of an int8 finalist in float, in fp16, quantised (``ptq``) and trained so (``qat``).
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in ordered(rows):
        writer.writerow(
            [
                plain(row.name),
                plain(row.role),
                "" if row.trial is None else row.trial,
                row.params,
                row.macs,
                row.weight_bytes,
                plain(row.weight_type),
                row.stored_bytes or "",
                row.epochs,
                len(row.validation),
                plain(";".join(row.teachers)),
                *(cell for name in ACCURACIES for cell in _cells(getattr(row, name))),
                *(_joined(row, kind, split) for kind in VERSIONS for split in ("validation", "test")),
                plain(row.description),
            ]
        )
    text = buffer.getvalue()
    write_atomically(Path(path), lambda aside: aside.write_text(text, encoding="utf-8", newline=""))


def _joined(row: FinalistRow, kind: str, split: str) -> str:
    """Accuracies of an int8 finalist's version, one for each seed; a dash for a seed that has none."""
    values = row.versions.get(kind, {}).get(split, {}).get("all", [])
    return ";".join("-" if value is None else f"{value:.6g}" for value in values)


def _cells(values: tuple[float, ...]) -> tuple[str, str, str]:
    if not values:
        return "", "", ""
    average, deviation = mean_std(values)
    return f"{average:.6g}", f"{deviation:.6g}", ";".join(f"{value:.6g}" for value in values)
