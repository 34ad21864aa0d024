from __future__ import annotations

import csv
import dataclasses
import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asc_search.errors import ExportError
from asc_search.export.check import check
from asc_search.export.package import write
from asc_search.export.profile import PROFILES
from asc_search.export.submission import Complexity, ExternalDataset

SPLIT_LISTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tau_splits"


def first(submission, **changes):
    """The submission with its first output changed."""
    return replace(submission, outputs=(replace(submission.outputs[0], **changes), *submission.outputs[1:]))


def filled(submission, row, column, value):
    probabilities = submission.outputs[0].probabilities.copy()
    probabilities[row, column] = value
    return first(submission, probabilities=probabilities)


def renamed(submission, old, new):
    names = tuple(new if name == old else name for name in submission.outputs[0].files)
    return first(submission, files=names)


def metrics(submission, **changes):
    return first(submission, development=replace(submission.outputs[0].development, **changes))


def corresponding(submission, *chosen):
    authors = tuple(replace(author, corresponding=c) for author, c in zip(submission.authors, chosen, strict=True))
    return replace(submission, authors=authors)


def described(submission, **changes):
    return replace(submission, description={**submission.description, **changes})


def without(mapping, *names):
    return {key: value for key, value in mapping.items() if key not in names}


def complexity(submission, **changes):
    return replace(submission, complexity=replace(submission.complexity, **changes))


SPLIT_5_ROWS = "split 5: 1 of 12 rows"
REFUSALS = {
    "label": (lambda s: replace(s, label="Nunez-Ost_N_T_task1_1"), ["label: .* has 5 parts"]),
    "label of another author": (
        lambda s: replace(s, label="Sean_NTU_task1_1"),
        ["authors: the corresponding author is 'Núñez Øst', the label begins with 'Sean'"],
    ),
    "abbreviation": (
        lambda s: replace(s, abbreviation="SearchedNet"),
        ["abbreviation: .* has 11 characters, at most 10"],
    ),
    "name": (lambda s: replace(s, name=" "), ["name: is blank"]),
    "two corresponding": (lambda s: corresponding(s, True, True), ["authors: 2 of 2 are corresponding"]),
    "none corresponding": (lambda s: corresponding(s, False, False), ["authors: 0 of 2 are corresponding"]),
    "no authors": (lambda s: replace(s, authors=()), ["authors: 0 of 0 are corresponding"]),
    "email": (
        lambda s: replace(s, authors=(replace(s.authors[0], email="ntu.example"), s.authors[1])),
        [r"authors\[1\].email: 'ntu.example' is not an email address"],
    ),
    "unprintable": (
        lambda s: replace(s, authors=(replace(s.authors[0], firstname="A\nB"), s.authors[1])),
        [r"authors\[1\].firstname: 'A\\nB' holds unprintable"],
    ),
    "classes": (
        lambda s: replace(s, classes=("beach", *s.classes[1:])),
        ["classes: .*missing: 'park'; not allowed: 'beach'"],
    ),
    "class twice": (
        lambda s: replace(s, classes=(s.classes[1], *s.classes[1:])),
        ["classes: .*missing: 'park'; repeated: 'public_square'"],
    ),
    "split missing": (lambda s: replace(s, outputs=s.outputs[:-1]), ["outputs: .* missing: '100'"]),
    "split twice": (lambda s: replace(s, outputs=(*s.outputs, s.outputs[1])), ["outputs: .* repeated: '10'"]),
    "split unknown": (
        lambda s: first(s, split="7"),
        ["outputs: splits must be the 5 of the profile; missing: '5'; not allowed: '7'"],
    ),
    "not an integer name": (
        lambda s: renamed(s, "audio/3.wav", "audio/three.wav"),
        ["not named <integer>.wav, first 'audio/three.wav'", "1 of 12 clips are missing, first 3.wav"],
    ),
    "leading zero": (
        lambda s: renamed(s, "audio/3.wav", "03.wav"),
        ["not named <integer>.wav, first '03.wav'", "missing, first 3.wav"],
    ),
    "path": (lambda s: renamed(s, "audio/3.wav", "../3.wav"), ["not named", "missing, first 3.wav"]),
    "clip twice": (
        lambda s: renamed(s, "audio/3.wav", "4.wav"),
        ["1 clips appear more than once, first 4.wav", "missing, first 3.wav"],
    ),
    "clip beyond": (
        lambda s: renamed(s, "audio/3.wav", "audio/12.wav"),
        ["outside 0.wav to 11.wav, first 12.wav", "missing, first 3.wav"],
    ),
    "too few clips": (
        lambda s: first(s, files=s.outputs[0].files[:-1], probabilities=s.outputs[0].probabilities[:-1]),
        ["split 5: 1 of 12 clips are missing"],
    ),
    "rows and files differ": (
        lambda s: first(s, probabilities=s.outputs[0].probabilities[:-1]),
        [r"split 5: probabilities are float32 \(11, 10\), must be numbers \(clips, classes\) \(12, 10\)"],
    ),
    "columns": (lambda s: first(s, probabilities=s.outputs[0].probabilities[:, 1:]), [r"float32 \(12, 9\)"]),
    "text": (lambda s: first(s, probabilities=np.full((12, 10), "0.1")), ["must be numbers"]),
    "nan": (lambda s: filled(s, 2, 3, np.nan), [f"{SPLIT_5_ROWS} hold values that are not finite"]),
    "infinite": (lambda s: filled(s, 2, 3, np.inf), [f"{SPLIT_5_ROWS} hold values that are not finite"]),
    "negative": (lambda s: filled(s, 2, 3, -0.01), [f"{SPLIT_5_ROWS} hold values outside 0 to 1 .*not logits"]),
    "above one": (lambda s: filled(s, 2, 3, 1.01), [f"{SPLIT_5_ROWS} hold values outside 0 to 1"]),
    "row sum": (
        lambda s: first(s, probabilities=np.full((12, 10), 0.1002)),
        [r"12 of 12 rows do not sum to 1 within 0.001; first 'audio/\d+.wav', which sums to 1.002"],
    ),
    "too large": (
        lambda s: complexity(s, weight_bytes=130_044),
        ["complexity: 130,044 bytes: 2,044 over the limit of 128,000"],
    ),
    "too slow": (
        lambda s: complexity(s, macs=30_000_001),
        ["complexity: 30,000,001 MACs: 1 over the limit of 30,000,000"],
    ),
    "kilobytes": (lambda s: complexity(s, weight_bytes=122), ["122 bytes for 61,148 parameters .* Write bytes"]),
    "not whole": (lambda s: complexity(s, params=61_148.5), ["total_parameters 61148.5 is not a whole number"]),
    "weight type": (
        lambda s: complexity(s, weight_type="fp12"),
        ["weight type 'fp12' is unknown; one of fp32, fp16, int8"],
    ),
    "complexity differs": (
        lambda s: replace(
            s, complexity={**dict.fromkeys(("5", "10", "25", "50"), s.complexity), "100": Complexity(1, 2, 4, "fp32")}
        ),
        ["one complexity for all splits, here they differ: 61,148 parameters.*; 1 parameters, 2 MACs, 4 bytes fp32"],
    ),
    "complexity lacks a split": (
        lambda s: replace(s, complexity=dict.fromkeys(("5", "10", "25", "50"), s.complexity)),
        ["complexity: splits must be .* missing: '100'"],
    ),
    "description key": (
        lambda s: described(s, embeddings="none"),
        ["description.embeddings: is not a key of dcase2024; allowed: input_sampling_rate, "],
    ),
    "description null in words": (
        lambda s: described(s, pipeline="!!null"),
        ["description.pipeline: '!!null' says nothing"],
    ),
    "description blank": (lambda s: described(s, pipeline=""), ["description.pipeline: '' says nothing"]),
    "description type": (lambda s: described(s, pipeline=["train"]), ["description.pipeline: a list is not text"]),
    "dataset": (
        lambda s: replace(s, external_datasets=(ExternalDataset("MicIRP", "", -1.0),)),
        [r"external_datasets\[1\].url: is blank", "total_audio_length: -1.0 must be a length in minutes"],
    ),
    "source code": (lambda s: replace(s, source_code="n/a"), ["source_code: 'n/a' says nothing"]),
    "not measured": (lambda s: first(s, development=None), ["split 5 development: not measured"]),
    "class not measured": (
        lambda s: metrics(s, class_wise=without(s.outputs[0].development.class_wise, "bus")),
        ["split 5 development.class_wise.bus: logloss is null", "class_wise.bus: accuracy is null"],
    ),
    "other class": (
        lambda s: metrics(s, class_wise=s.outputs[0].development.class_wise | {"beach": {}}),
        ["split 5 development: class 'beach' is not of the dcase2024 development test"],
    ),
    "other device": (
        lambda s: metrics(s, device_wise=s.outputs[0].development.device_wise | {"d": {"accuracy": 0.5}}),
        ["split 5 development: device 'd' is not of"],
    ),
    "micro accuracy": (lambda s: metrics(s, accuracy=0.123), ["accuracy 12.3 is not the mean over classes"]),
    "accuracy beyond 100 %": (lambda s: metrics(s, accuracy=54.4), ["accuracy 5440.0 must be percent from 0 to 100"]),
    "log loss": (lambda s: metrics(s, log_loss=float("nan")), ["logloss nan must be finite"]),
    "report missing": (lambda s: replace(s, technical_report=Path("absent.pdf")), ["absent.pdf: .* does not exist"]),
    "report kind": (lambda s: replace(s, technical_report=Path("report.docx")), ["report.docx: .* must be a .pdf"]),
}


def test_the_valid_submission_is_accepted(submission, profile):
    assert check(submission, profile) == []
    same = dict.fromkeys(profile.splits, submission.complexity)
    assert check(replace(submission, complexity=same), profile) == []
    assert check(replace(submission, complexity=replace(submission.complexity, weight_bytes=128_000)), profile) == []


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_and_nothing_written(case, submission, profile, tmp_path):
    change, messages = REFUSALS[case]
    with pytest.raises(ExportError) as error:
        write(change(submission), profile, tmp_path / "out.zip")
    assert len(error.value.problems) == len(messages), error.value
    for message in messages:
        error.match(message)
    assert list(tmp_path.iterdir()) == []


def test_all_problems_are_told_at_once(submission, profile):
    wrong = complexity(filled(replace(submission, abbreviation="SearchedNet"), 0, 0, np.nan), macs=31_000_000)
    assert [problem.where for problem in check(wrong, profile)] == ["abbreviation", "complexity", "split 5"]


def test_the_real_evaluation_set_is_complete(submission):
    """With the official profile the same twelve clips are a practice submission only."""
    official = PROFILES["dcase2024"]
    problems = check(submission, official)
    assert len(problems) == 5
    assert "135,718 of 135,730 clips are missing, first 12.wav" in str(problems[0])
    assert check(replace(submission, practice=True), official) == []


def test_practice_takes_any_number_of_clips_but_a_complete_set(submission, profile):
    practice = replace(submission, practice=True)

    def cut(clips):
        def keep(output):
            rows = [row for row, name in enumerate(output.files) if int(Path(name).stem) < clips]
            files = tuple(output.files[row] for row in rows)
            return replace(output, files=files, probabilities=output.probabilities[rows], development=None)

        return replace(practice, outputs=tuple(keep(output) for output in practice.outputs))

    assert check(cut(1), profile) == check(cut(7), profile) == []
    assert "has no clips" in str(check(cut(0), profile)[0])
    uneven = replace(practice, outputs=(cut(7).outputs[0], *practice.outputs[1:]))
    assert "has 12 clips, split 5 has 7" in str(check(uneven, profile)[0])
    assert "missing, first 3.wav" in str(check(renamed(practice, "audio/3.wav", "99.wav"), profile)[1])


def test_devices_without_clips_are_no_problem(submission, profile):
    fewer = without(submission.outputs[0].development.device_wise, "s4", "s5", "s6")
    assert check(metrics(submission, device_wise=fewer), profile) == []


def test_training_files_are_held_against_the_list_of_the_split(submission, profile):
    lists = {"5": frozenset({"bus-lyon-1-2-3-a.wav", "tram-paris-4-5-6-s1.wav"})}
    assert check(submission, profile, lists) == []
    (problem,) = check(submission, profile, {"5": frozenset({"audio/bus-lyon-1-2-3-a.wav"})})
    assert str(problem) == (
        "split 5 training files: 1 of 2 are not on the list of the split, first 'audio/tram-paris-4-5-6-s1.wav'"
    )
    (problem,) = check(first(submission, training_files=None), profile, lists)
    assert "not known" in str(problem)


def test_official_split_lists_hold_training_on_a_larger_split_against_one(submission, profile):
    if not SPLIT_LISTS.is_dir():
        pytest.skip("the official split lists are not beside the checkout (../shared/data/tau_splits)")

    def listed(split):
        with gzip.open(SPLIT_LISTS / f"split{split}.csv.gz", "rt", encoding="utf-8", newline="") as handle:
            return [row["filename"] for row in csv.DictReader(handle, delimiter="\t")]

    lists = {"5": frozenset(listed(5))}
    assert check(first(submission, training_files=tuple(listed(5))), profile, lists) == []
    (problem,) = check(first(submission, training_files=tuple(listed(10))), profile, lists)
    assert "6,980 of 13,960 are not on the list" in str(problem)


@pytest.mark.parametrize(
    ("lastname", "in_label"),
    [("Müller", "Muller"), ("van der Berg", "VanDerBerg"), ("O'Neil", "ONeil"), ("Łuków-Groß", "Lukow-Gross")],
)
def test_last_names_are_compared_as_ascii(lastname, in_label, submission, profile):
    authors = (replace(submission.authors[0], lastname=lastname, corresponding=True),)
    assert check(replace(submission, label=f"{in_label}_NTU_task1_1", authors=authors), profile) == []


def test_a_later_year_is_another_profile(submission, profile):
    year = dataclasses.replace(profile, name="later", max_weight_bytes=100_000)
    (problem,) = check(submission, year)
    assert "22,296 over the limit of 100,000" in str(problem)
