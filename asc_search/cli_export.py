"""The command ``export``: a submission, a model to deploy, or what is wrong with a submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asc_search.errors import AscSearchError

YEARS = "dcase2022, dcase2023, dcase2024 or dcase2025"


def export(
    run: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    label: Annotated[str | None, typer.Option(help="Submission: Lastname_INSTITUTE_task1_INDEX.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The zip to write (submission.zip), with --format the folder (artefact).")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help=f"Challenge year: {YEARS}; dcase2024, with --check that of the zip.")
    ] = None,
    trial: Annotated[
        int | None, typer.Option(help="Trial to export; the finalist best on validation by default.")
    ] = None,
    clips: Annotated[Path | None, typer.Option(help="Folder of evaluation clips 0.wav, 1.wav, ...")] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Folder of the official lists split5.csv, split10.csv, ...")
    ] = None,
    authors: Annotated[
        Path | None, typer.Option(help="YAML list of authors; the space's export.authors by default.")
    ] = None,
    about: Annotated[
        Path | None, typer.Option(help="YAML with an export section to use instead of the space's.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Technical report (pdf) to include.")] = None,
    package: Annotated[
        Path | None, typer.Option(help="dcase2025: folder of the inference package; beside the zip by default.")
    ] = None,
    practice: Annotated[bool, typer.Option(help="Rehearse: any number of clips, own splits. Not for upload.")] = False,
    check: Annotated[
        Path | None, typer.Option(help="Explain everything wrong with this submission zip; needs no run.")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="onnx, executorch or torch: a folder to deploy instead of a submission."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8/--no-int8", help="With --format onnx: int8 models, too.")] = True,
    int8_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            help="Points of test accuracy that int8 may lose. By default 0.5 where a float finalist is quantised for the "
            "export; a finalist that is int8 itself was measured as such.",
        ),
    ] = None,
) -> None:
    """Write the official submission of a finished run, check one, or with --format write the model that runs on a device.

    A submission that breaks a rule is refused with all reasons; a deployable model is run on the test split once it is
    written, and refused if it is not the network that was trained. --check lists every violation, and exits with 1 if there
    is any.
    """
    given = {
        "label": label, "clips": clips, "splits": splits, "authors": authors, "about": about, "report": report,
        "package": package,
    }  # fmt: skip
    if check is not None:
        others = {"RUN": run, "--out": out, "--trial": trial, "--format": format_}
        others |= {f"--{name}": value for name, value in given.items()}
        if extra := [name for name, value in others.items() if value is not None]:
            raise AscSearchError(f"{', '.join(extra)}: not with --check, which reads a zip alone")
        from asc_search.export.zip_report import report_on

        raise typer.Exit(0 if report_on(check, profile, practice) else 1)
    if run is None:
        raise AscSearchError("give a RUN folder to export, or --check ZIP to look at a submission")
    from asc_search.study.run_folder import existing_run

    if format_ is not None:
        alone = {**given, "profile": profile}
        if extra := [f"--{name}" for name, value in alone.items() if value is not None] + ["--practice"] * practice:
            raise AscSearchError(f"{', '.join(extra)}: of a submission; leave out with --format")
        from asc_search.deploy.from_run import deploy_run
        from asc_search.deploy.table import print_deployed

        folder = out or Path("artefact")
        done = deploy_run(existing_run(run), format_, folder, trial=trial, int8=int8, int8_tolerance=int8_tolerance)
        print_deployed(done)
        return
    if label is None:
        raise AscSearchError(
            "give --label Lastname_INSTITUTE_task1_INDEX for a submission, or --format onnx for a deployable model"
        )
    from asc_search.export.from_run import Wishes, export_run
    from asc_search.space.export_section import read_export

    said = None if about is None else read_export(about)
    wishes = Wishes(trial, clips, splits, authors, said, report, package, practice)
    chosen = profile or (said.profile if said else "dcase2024")
    export_run(existing_run(run), chosen, label, out or Path("submission.zip"), wishes)
