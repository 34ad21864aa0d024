"""Accuracy by recording device and group of devices, of every retrained network."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from asc_search.report.front_table import ROLES
from asc_search.report.page import Section, missing, paragraph, table, text
from asc_search.report.view import Network, View
from asc_search.train.metrics import Metrics

GROUPS = {"real": "real", "seen": "simulated, seen", "unseen": "unseen"}


def device_section(view: View) -> Section:
    """The section of a run."""
    title = "Devices"
    if not view.networks:
        return Section("devices", title, (missing("No table yet: no network has been retrained."),))
    networks = sorted(view.networks, key=lambda one: (ROLES.index(one.row.role), -one.accuracy))
    parts = [
        paragraph(
            "Macro accuracy in percent, the mean over seeds. Real devices are a, b and c of the training part, unseen ones are "
            "not in it."
        )
    ]
    for split in ("test", "validation"):
        measured = [(one, one.test if split == "test" else one.validation) for one in networks]
        measured = [(network, metrics) for network, metrics in measured if metrics]
        if not measured:
            parts.append(missing(f"No table of the {split} split yet: it has not been read."))
        elif not any(metrics[0].device_wise for _, metrics in measured):
            parts.append(missing(f"The clips of the {split} split do not say which device recorded them."))
        else:
            parts.append(_table(f"On the {split} split", measured))
    return Section("devices", title, tuple(parts))


def _table(caption: str, measured: Sequence[tuple[Network, Sequence[Metrics]]]) -> str:
    devices = list(dict.fromkeys(name for _, metrics in measured for one in metrics for name in one.device_wise))
    groups = [key for key in GROUPS if any(key in one.groups for _, metrics in measured for one in metrics)]
    rows = []
    for network, metrics in measured:
        cells = [_mean([one.accuracy for one in metrics])]
        cells += [_mean([one.groups[key]["accuracy"] for one in metrics if key in one.groups]) for key in groups]
        cells += [
            _mean([one.device_wise[name]["accuracy"] for one in metrics if name in one.device_wise]) for name in devices
        ]
        rows.append([f'<td class="name">{text(network.row.name)}<small>{text(network.row.role)}</small></td>', *cells])
    clips = measured[0][1][0].device_wise
    heads = ["", "all", *(GROUPS[key] for key in groups)]
    heads += [
        f"{text(name)}<small>{clips[name]['clips']:,} clips</small>" if name in clips else text(name)
        for name in devices
    ]
    return table(heads, rows, numeric=range(1, len(heads)), caption=caption)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    value = mean(values)
    return f'<td class="tint" style="--a:{0.55 * value:.3f}">{100 * value:.1f}</td>'
