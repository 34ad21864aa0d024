"""The model card: what the artefact is, what it was made of, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields

from asc_search.data.tau_facts import TAU_SETS
from asc_search.nets.cost import BYTES_PER_WEIGHT
from asc_search.oracle.budget import macs_per_second, price_candidate
from asc_search.space.candidate import Candidate, Training
from asc_search.space.space import Space
from asc_search.space.teachers import LogitsTeacher, ModelTeacher, PretrainedTeacher
from asc_search.study.retrain import Finalist, Trained
from asc_search.train.metrics import Metrics


def model_card(
    space: Space,
    finalist: Finalist,
    trained: Trained,
    splits: Mapping[str, Metrics],
    synthetic: bool,
    clips: Mapping[str, int],
    files: Mapping[str, str],
) -> str:
    """The card as Markdown, the same for the same run.

    ``splits`` are the metrics by split of the network as stored, ``clips`` the number of clips by split, ``files`` what
    each file of the artefact is.
    """
    candidate, classes = finalist.candidate, tuple(splits["validation"].class_wise)
    seed = int(trained.folder.name.removeprefix("seed-"))
    lines = [
        f"# Acoustic scene classifier: {_plain(finalist.name)}",
        "",
        f"One window of {candidate.frontend.seconds:g} s at {candidate.frontend.rate_hz:,} Hz, one channel, in; one of "
        f"{len(classes)} scenes out: {', '.join(map(_plain, classes))}.",
        "",
        "| file | what it is |",
        "|---|---|",
        *(f"| `{name}` | {what} |" for name, what in files.items()),
        "",
        "`asc-search predict` on this folder classifies audio files. Sizes, latencies and the parity of each file with the "
        "PyTorch network stand in `artefacts.json`.",
        "",
        "## Data",
        "",
        _source(space, synthetic),
        "",
        f"Clips: {', '.join(f'{count:,} {name}' for name, count in clips.items())}. {_split(space)}",
        "",
        "## Recipe",
        "",
        *_recipe(space, candidate, seed),
        "",
        "## Accuracy",
        "",
        "Macro accuracy (mean recall of the classes) of the network as stored, in percent; micro accuracy where said.",
        "",
        *_accuracy(splits),
        "",
        "## Cost",
        "",
        *_cost(candidate),
        "",
        "## Limits of use",
        "",
        *_limits(synthetic, splits, candidate),
        "",
        "## Licence",
        "",
        _licence(space, synthetic, candidate),
        "",
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """``text`` without what Markdown or HTML would read."""
    return "".join(f"\\{char}" if char in "\\`*|<>[]" else char for char in text)


def _source(space: Space, synthetic: bool) -> str:
    kind, _, path = space.data.source.partition(":")
    if synthetic:
        return "The demo scenes of asc-search: textures and events made with NumPy. **No real recordings.**"
    if kind in TAU_SETS:
        subset = "" if space.data.subset == "100%" else f", official subset of {space.data.subset} of the training part"
        return f"TAU Urban Acoustic Scenes, `{kind}`{subset}."
    return f"A folder of recordings: `{_plain(path.rstrip('/').rpartition('/')[2])}`."


def _split(space: Space) -> str:
    if space.data.allow_leaky_split:
        return "Training and validation may share recording locations (allow_leaky_split)."
    return "No recording location of training is in validation; the test split chose nothing."


def _recipe(space: Space, candidate: Candidate, seed: int) -> list[str]:
    training, defaults = candidate.training, Training()
    changed = [
        f"{field.name} {getattr(training, field.name)}"
        for field in fields(training)
        if getattr(training, field.name) != getattr(defaults, field.name) or field.name in ("lr", "batch", "optimizer")
    ]
    taught = candidate.distillation
    return [
        f"- network: {_plain(candidate.describe())}",
        f"- front end: {', '.join(f'{key} {value}' for key, value in asdict(candidate.frontend).items())}",
        f"- training: {space.retrain.epochs} epochs, seed {seed} of {space.retrain.seeds} (the best on validation); "
        f"{', '.join(changed)}; the rest as asc-search has it",
        f"- teachers: {', '.join(map(_plain, taught.teachers)) or 'none'}",
        f"- weights stored as {candidate.weight_type}",
    ]


def _accuracy(splits: Mapping[str, Metrics]) -> list[str]:
    groups = list(dict.fromkeys(group for metrics in splits.values() for group in metrics.groups))
    devices = list(dict.fromkeys(device for metrics in splits.values() for device in metrics.device_wise))
    lines = [f"| | {' | '.join(splits)} |", f"|---|{'---|' * len(splits)}"]

    def line(name: str, cells: Sequence[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    def percent(entry: Mapping[str, float | int] | None, key: str = "accuracy") -> str:
        return f"{100 * entry[key]:.1f} ({entry['clips']:,} clips)" if entry else "-"

    lines.append(line("all", [f"{100 * one.accuracy:.1f} ({one.clips:,} clips)" for one in splits.values()]))
    lines.append(line("all, micro", [f"{100 * one.micro_accuracy:.1f}" for one in splits.values()]))
    lines.append(line("log loss (nats)", [f"{one.log_loss:.3f}" for one in splits.values()]))
    lines += [line(f"{group} devices", [percent(one.groups.get(group)) for one in splits.values()]) for group in groups]
    lines += [
        line(f"device {_plain(device)}", [percent(one.device_wise.get(device)) for one in splits.values()])
        for device in devices
    ]
    return lines


def _cost(candidate: Candidate) -> list[str]:
    cost = price_candidate(candidate)
    size = ", ".join(f"{cost.weight_bytes(kind):,} bytes as {kind}" for kind in BYTES_PER_WEIGHT)
    peak = ", ".join(f"{cost.peak_activation_bytes(kind):,} as {kind}" for kind in BYTES_PER_WEIGHT)
    return [
        f"- {cost.params:,} parameters: {size}",
        f"- {macs_per_second(cost.macs, candidate.frontend.seconds):,} MACs per second of audio (NeSsi), front end not counted",
        f"- peak of activations, bytes: {peak}",
    ]


def _limits(synthetic: bool, splits: Mapping[str, Metrics], candidate: Candidate) -> list[str]:
    seconds = candidate.frontend.seconds
    lines = [
        "- It always answers with one of the scenes above, for any sound; there is no 'none of these'.",
        f"- A window of {seconds:g} s is judged by itself; a file's score is the mean over its audible windows.",
        "- Scores are not calibrated probabilities"
        + "".join(
            f"; expected calibration error on {name} {one.calibration_error:.3f}"
            for name, one in splits.items()
            if one.calibration_error is not None
        )
        + ".",
    ]
    if synthetic:
        lines.insert(0, "- **Trained on synthetic sounds: of no use on real recordings.**")
    unseen = splits["test"].groups.get("unseen") if "test" in splits else None
    if unseen:
        lines.append(f"- On recording devices it was not trained with: {100 * unseen['accuracy']:.1f} % on test.")
    else:
        lines.append("- How it does on recording devices it was not trained with was not measured.")
    lines.append(
        "- Recognises places, not people or speech; not evaluated for surveillance or any decision about persons."
    )
    return lines


def _licence(space: Space, synthetic: bool, candidate: Candidate) -> str:
    kind = space.data.source.partition(":")[0]
    if synthetic:
        data = "The sounds are generated by asc-search (Apache 2.0)."
    elif kind in TAU_SETS:
        data = (
            "TAU Urban Acoustic Scenes are licensed for academic, non-commercial use; judge what follows for weights."
        )
    else:
        data = "The licence of the recordings applies to what is made of them; name it here before passing this on."
    others = (PretrainedTeacher, ModelTeacher, LogitsTeacher)
    tagged = [name for name in candidate.distillation.teachers if isinstance(space.pool.get(name), others)]
    taught = (
        f" Taught by pretrained weights ({', '.join(map(_plain, tagged))}), whose licence applies, too."
        if tagged
        else ""
    )
    return data + taught
