"""What an export prints: each model's size, latency and parity with the PyTorch network."""

from __future__ import annotations

from rich import box
from rich.table import Table

from asc_search.deploy.from_run import Deployed
from asc_search.deploy.models import QUANTISED
from asc_search.progress import console, results


def print_deployed(done: Deployed) -> None:
    """Print the table and what to do next."""
    results.print(deployed_table(done))
    if done.front_end_difference is not None:
        results.print(
            f"largest difference of the front end in the graph: {done.front_end_difference:.1e}", markup=False
        )
    console.print(f"Classify files with it:\n  asc-search predict {done.folder} FILE...", markup=False, soft_wrap=True)


def deployed_table(done: Deployed) -> Table:
    """One row a model, the PyTorch network, and the int8 one that int8 models were made of, last."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{done.folder}: {done.finalist}", title_justify="left")
    table.add_column("file", no_wrap=True)
    for head in (
        "bytes\non disk",
        "bytes of\nconstants",
        "ms a window\n(1 thread)",
        "test\nacc. %",
        "same top\nclass %",
        "lost to\nfloat",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in done.models.items():
        twin = one.reference or one.parity  # of the network it was made of
        table.add_row(
            name,
            f"{one.size_bytes:,}",
            f"{one.weight_bytes:,}",
            f"{done.latency_ms[name]:.2f}" if name in done.latency_ms else "",
            f"{100 * twin.accuracy:.2f}",
            f"{100 * twin.top1_agreement:.1f}",
            f"{one.parity.accuracy_drop:.2f}" if name in QUANTISED else "",
        )
    table.add_row("(PyTorch, eager)", "", "", f"{done.latency_ms['pytorch']:.2f}", f"{100 * done.torch_accuracy:.2f}")
    if done.int8_accuracy is not None:
        lost = f"{100 * (done.torch_accuracy - done.int8_accuracy):.2f}"
        table.add_row("(PyTorch, int8)", "", "", "", f"{100 * done.int8_accuracy:.2f}", "", lost)
    return table
