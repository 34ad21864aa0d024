"""What an export prints: each model's size, latency and parity with the PyTorch network."""

from __future__ import annotations

from rich import box
from rich.table import Table

from asc_search.deploy.from_run import Deployed
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
    """One row a model, the PyTorch network last."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"{done.folder}: {done.finalist}", title_justify="left")
    table.add_column("file", no_wrap=True)
    for head in (
        "bytes\non disk",
        "bytes of\nconstants",
        "ms a window\n(1 thread)",
        "test\nacc. %",
        "same top\nclass %",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for name, one in done.models.items():
        parity = one.parity
        table.add_row(
            name,
            f"{one.size_bytes:,}",
            f"{one.weight_bytes:,}",
            f"{done.latency_ms[name]:.2f}" if name in done.latency_ms else "",
            f"{100 * parity.accuracy:.2f}",
            f"{100 * parity.top1_agreement:.1f}",
        )
    table.add_row(
        "(PyTorch, eager)", "", "", f"{done.latency_ms['pytorch']:.2f}", f"{100 * done.torch_accuracy:.2f}", ""
    )
    return table
