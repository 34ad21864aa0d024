from __future__ import annotations

import zipfile

import pytest

from asc_search.export import csv_check
from asc_search.export.package import write
from asc_search.export.zip_check import check_zip

LABEL = "Nunez-Ost_NTU_task1_2"
FOLDER = f"task1/{LABEL}"
CSV = f"{FOLDER}/{LABEL}.output.split_5.csv"
META = f"{FOLDER}/{LABEL}.meta.yaml"


@pytest.fixture
def entries(submission, profile, tmp_path):
    """Entries of a valid zip by name."""
    with zipfile.ZipFile(write(submission, profile, tmp_path / "valid.zip")) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def refuse(entries, profile, tmp_path):
    """Check the zip of (changed) entries: the problems as text."""

    def packed(content, practice=False):
        with zipfile.ZipFile(tmp_path / "changed.zip", "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return [str(problem) for problem in check_zip(tmp_path / "changed.zip", profile, practice)]

    return packed


def edited(entries, name, old, new):
    assert old in entries[name]
    return {**entries, name: entries[name].replace(old, new, 1)}


def test_a_zip_packed_by_hand_is_accepted(entries, refuse):
    assert refuse(entries) == []
    assert refuse({**entries, f"task1/{LABEL}.technical_report.pdf": b"%PDF"}) == []
    assert refuse({**entries, CSV: entries[CSV].replace(b"\n", b"\r\n")}) == []


@pytest.mark.parametrize(
    "extra",
    ["task1/README.md", f"{FOLDER}/model.onnx", f"__MACOSX/{FOLDER}/._x", "readme.txt", "task1/"],
)
def test_nothing_else_may_be_in_it(extra, entries, refuse):
    (problem,) = refuse({**entries, extra: b"x"})
    assert extra in problem and "does not belong" in problem


def test_a_wrapping_folder_is_refused(entries, refuse):
    (problem,) = refuse({f"submission/{name}": data for name, data in entries.items()})
    assert "has no folder task1/<label>/" in problem


@pytest.mark.parametrize("name", [CSV, META])
def test_every_file_is_required(name, entries, refuse):
    assert refuse({key: data for key, data in entries.items() if key != name}) == [f"{name}: is missing"]


def test_file_names_follow_the_folder(entries, refuse):
    wrong = f"{FOLDER}/{LABEL}.output.subset_5.csv"
    problems = refuse({wrong if name == CSV else name: data for name, data in entries.items()})
    assert problems == [
        f"{CSV}: is missing",
        f"{wrong!r}: does not belong in a submission; the official checker stops at it; "
        "names of output files are LABEL.output.split_5.csv",
    ]


def test_folder_and_yaml_have_one_label(entries, refuse):
    other = "Sean_NTU_task1_1"
    problems = refuse({name.replace(LABEL, other): data for name, data in entries.items()})
    assert len(problems) == 2
    assert f"label is '{LABEL}', the folder is '{other}'" in problems[0]
    assert "the corresponding author is 'Núñez Øst', the label begins with 'Sean'" in problems[1]


def test_two_systems_in_one_zip(entries, refuse):
    second = LABEL.replace("_2", "_3")
    copies = {n.replace(LABEL, second): d.replace(LABEL.encode(), second.encode()) for n, d in entries.items()}
    assert refuse(entries | copies) == []


CSV_EDITS = {
    "comma": (b"\t", b",", "columns"),
    "extra column": (b"\ttram\n", b"\ttram\tbeach\n", "not allowed: 'beach'"),
    "missing header": (b"filename", b"0.wav", "missing: 'filename'"),
    "short row": (b"\n3.wav\t", b"\n3.wav", ":5: has 11 columns, the header has 12"),
    "other clip": (b"\n3.wav\t", b"\n12.wav\t", "missing, first 3.wav"),
    "twice": (b"\n3.wav\t", b"\n2.wav\t", "more than once, first 2.wav"),
}


@pytest.mark.parametrize("case", CSV_EDITS)
def test_output_files_are_read_again(case, entries, refuse):
    old, new, message = CSV_EDITS[case]
    assert any(CSV in problem and message in problem for problem in refuse(edited(entries, CSV, old, new)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["nan"] + ["0"] * 9, "not finite"),
        (["1.5", "-0.5"] + ["0"] * 8, "outside 0 to 1"),
        (["0.2"] * 10, "which sums to 2"),
        (["1.0", "0,0"] + ["0"] * 8, "not a number"),
        (["0", "1"] + ["0"] * 8, "scene_label is not the most probable class"),
    ],
)
def test_probabilities_are_read_again(values, message, entries, refuse):
    lines = entries[CSV].decode().split("\n")
    lines[4] = "\t".join(["3.wav", "airport", *values])
    (problem,) = refuse({**entries, CSV: "\n".join(lines).encode()})
    assert problem.startswith(CSV) and message in problem


def test_unknown_scene_label(entries, refuse):
    lines = entries[CSV].decode().split("\n")
    lines[4] = "\t".join(["3.wav", "Airport", "1", *["0"] * 9])
    (problem,) = refuse({**entries, CSV: "\n".join(lines).encode()})
    assert problem == f"{CSV}:5: column scene_label: 'Airport' is no class"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'"\t', b"filename\tscene_label\n"])
def test_unreadable_output(content, entries, refuse):
    assert len(refuse({**entries, CSV: content})) == 1


def test_practice_splits_answer_the_same_clips(entries, refuse):
    fewer = b"".join(entries[CSV].splitlines(keepends=True)[:6])
    (problem,) = refuse({**entries, CSV: fewer}, practice=True)
    assert problem.endswith("different numbers of clips: 5, 12")


META_EDITS = {
    "over the limit": (b"total_model_size: 122296", b"total_model_size: 130044", "2,044 over the limit of 128,000"),
    "text": (
        b"total_parameters: 61148",
        b'total_parameters: "61,148"',
        "total_parameters '61,148' is not a whole number",
    ),
    "huge": (b"macs: 29419156", b"macs: 0x" + b"f" * 9000, "macs a huge number is not"),
    "abbreviation": (b"abbreviation: Searched", b"abbreviation: SearchedNet", "at most 10"),
    "no source code": (b"source_code: null", b"source_link: null", "missing: 'source_code'"),
    "two corresponding": (b'firstname: "Ng', b'corresponding: true\n    firstname: "Ng', "2 of 2 are corresponding"),
    "blank for null": (b"pipeline: null", b"pipeline: ''", "says nothing"),
    "description key": (b"    split_adaptations: null\n", b"", "missing: 'split_adaptations'"),
    "device": (b"s6:", b"s7:", "missing: 's6'; not allowed: 's7'"),
    "datasets": (b"external_datasets: null", b"external_datasets: AudioSet", "must be null or a list"),
    "split": (b"split_100:", b"split_99:", "missing: 'split_100'; not allowed: 'split_99'"),
    "last name read as no": (b'lastname: "No"', b"lastname: false", "False is not text"),
    "not yaml": (b"submission:", b"submission: [", "cannot be read"),
    "no mapping": (b"submission:", b"- submission:", "cannot be read"),
}


@pytest.mark.parametrize("case", META_EDITS)
def test_meta_is_read_again(case, entries, refuse):
    old, new, message = META_EDITS[case]
    problems = refuse(edited(entries, META, old, new))
    assert any(problem.startswith(META) and message in problem for problem in problems), problems


@pytest.mark.parametrize("content", [b"", b"[]", b"submission: 1\nsystem: []\nresults: null"])
def test_meta_without_content(content, entries, refuse):
    assert any("must be a mapping" in problem for problem in refuse({**entries, META: content}))


def test_a_fraction_is_not_percent(entries, refuse):
    lines = entries[META].decode().split("\n")
    for index, line in enumerate(lines):
        key, _, value = line.partition("accuracy: ")
        if value:
            lines[index] = f"{key}accuracy: {float(value) / 100:.6f}"
    problems = refuse({**entries, META: "\n".join(lines).encode()})
    assert len(problems) == 5 and all("looks like a fraction; write percent" in problem for problem in problems)


def test_damaged_and_hostile_zips(entries, profile, tmp_path, monkeypatch):
    (tmp_path / "not.zip").write_bytes(b"PK no")
    for path in (tmp_path / "not.zip", tmp_path / "absent.zip", tmp_path):
        (problem,) = check_zip(path, profile)
        assert "cannot be read as a zip" in str(problem)

    data = (tmp_path / "valid.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[:60] + bytes(40) + data[100:])
    assert any("cannot be read" in str(problem) for problem in check_zip(tmp_path / "cut.zip", profile))

    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for index in range(101):
            archive.writestr(f"{index}", "")
    assert "has 101 entries" in str(check_zip(tmp_path / "many.zip", profile)[0])

    monkeypatch.setattr(csv_check, "MAX_CSV_BYTES", 100)
    problems = check_zip(tmp_path / "valid.zip", profile)
    assert len(problems) == 5 and all("is larger than 100 bytes" in str(problem) for problem in problems)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice(entries, profile, tmp_path):
    with zipfile.ZipFile(tmp_path / "valid.zip", "a") as archive:
        archive.writestr(META, entries[META])
    assert [str(problem) for problem in check_zip(tmp_path / "valid.zip", profile)] == [
        f"{META}: is in the zip 2 times"
    ]
