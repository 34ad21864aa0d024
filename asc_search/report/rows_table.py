"""A study of named rows as a table, the published figures beside ours, and which of the directions hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from math import sqrt
from pathlib import Path

from asc_search.files import write_atomically
from asc_search.report.front_csv import plain
from asc_search.space.rows import COLUMNS, Direction
from asc_search.study.records import mean_std
from asc_search.study.row_results import MeasuredRow

CERTAIN = 2.0  # standard errors of a difference beyond which it is taken for one


def in_words(direction: Direction, better: MeasuredRow | None, than: MeasuredRow | None) -> str:
    """Whether ``better`` is better than ``than`` in the direction's column, from means and deviations over the seeds.

    The standard error of a difference is sqrt(s1^2 / n1 + s2^2 / n2); it holds, or the opposite does, beyond two of them.
    """
    missing = [row for row in (better, than) if row is None or direction.on not in row.values]
    if better is None or than is None or missing:
        return f"{direction.says}: not measured"
    (one, one_sd), (other, other_sd) = (mean_std(row.values[direction.on]) for row in (better, than))
    seeds = [len(row.values[direction.on]) for row in (better, than)]
    error = sqrt(one_sd**2 / seeds[0] + other_sd**2 / seeds[1])
    sign, scale, unit = (-1, 1, "nats") if direction.on == "log_loss" else (1, 100, "points")
    gain, error = scale * (one - other), scale * error
    told = f"{direction.better} {gain:+.2f} ± {error:.2f} {unit} against {direction.than} on {direction.on}"
    if min(seeds) < 2:
        return f"{direction.says}: one seed says nothing of chance; {told}"
    if sign * gain > CERTAIN * error:
        return f"{direction.says}: holds here; {told}"
    if sign * gain < -CERTAIN * error:
        return f"{direction.says}: does not hold here, the opposite does; {told}"
    return f"{direction.says}: undecided here, the difference is within two standard errors; {told}"


def markdown(
    rows: Sequence[MeasuredRow], directions: Sequence[Direction], source: str, columns: Sequence[str] = COLUMNS
) -> str:
    """The table of ``rows``: mean ± deviation over seeds, the reported figure in brackets; then the directions in words."""
    shown = [name for name in columns if any(name in row.values for row in rows)]
    head = ["row", "parameters", "MACs/s", "epochs", "validation %", *(_title(name) for name in shown)]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        cells = [row.name, f"{row.params:,}", f"{row.macs:,}", str(row.epochs), _spread(row.validation, 100)]
        lines.append(_line([*cells, *(_cell(row, name) for name in shown)]))
    text = "\n".join(lines) + "\n\n"
    text += (
        "Mean ± standard deviation over the seeds; accuracies are macro averages over the classes, on the test part.\n"
    )
    if source:
        text += f"In brackets: {source}.\n"
    if directions:
        known = {row.name: row for row in rows}
        said = [in_words(one, known.get(one.better), known.get(one.than)) for one in directions]
        text += "\n" + "\n".join(f"- {line}" for line in said) + "\n"
    return text


def write_rows(
    rows: Sequence[MeasuredRow], directions: Sequence[Direction], source: str, folder: Path
) -> tuple[Path, Path]:
    """Write ``rows.csv`` (fractions and nats, a value a seed joined by ``;``) and ``rows.md`` into ``folder``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    parts = [f"{name}_{part}" for name in ("validation", *COLUMNS) for part in ("mean", "std", "values")]
    reported = [f"{name}_reported" for name in COLUMNS]
    writer.writerow(["row", "params", "macs", "weight_bytes", "epochs", "seeds", *parts, *reported])
    for row in rows:
        cells: list[object] = [plain(row.name), row.params, row.macs, row.weight_bytes, row.epochs, len(row.validation)]
        for values in (row.validation, *(row.values.get(name, ()) for name in COLUMNS)):
            mean, deviation = mean_std(values) if values else ("", "")
            cells += [_number(mean), _number(deviation), ";".join(_number(value) for value in values)]
        writer.writerow([*cells, *(_number(row.reported.get(name, "")) for name in COLUMNS)])
    written = {folder / "rows.csv": out.getvalue(), folder / "rows.md": markdown(rows, directions, source)}
    for path, text in written.items():
        write_atomically(path, lambda aside, text=text: aside.write_text(text, encoding="utf-8"))
    return folder / "rows.csv", folder / "rows.md"


def _title(name: str) -> str:
    return "log loss" if name == "log_loss" else f"{name} %"


def _cell(row: MeasuredRow, name: str) -> str:
    values, reported = row.values.get(name), row.reported.get(name)
    nats = name == "log_loss"
    ours = "" if not values else _spread(values, 1 if nats else 100, 3 if nats else 1)
    return ours if reported is None else f"{ours} ({reported:.{3 if nats else 1}f})".strip()


def _spread(values: Sequence[float], scale: float, digits: int = 1) -> str:
    mean, deviation = mean_std(tuple(values))
    return f"{scale * mean:.{digits}f} ± {scale * deviation:.{digits}f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
