"""Zips nobody should open carelessly: links, escapes, bombs, rubbish. Explained, never unpacked, never a crash."""

from __future__ import annotations

import io
import stat
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import asc_search

from asc_search.export import zip_check
from asc_search.export.check import check
from asc_search.export.meta_yaml import dump, load, meta
from asc_search.export.package import write
from asc_search.export.profile import PROFILES
from asc_search.export.submission import Affiliation, Author, ExternalDataset
from asc_search.export.zip_check import check_zip, profile_of

LABEL = "Nunez-Ost_NTU_task1_2"
FOLDER = f"task1/{LABEL}"
CSV = f"{FOLDER}/{LABEL}.output.split_5.csv"
META = f"{FOLDER}/{LABEL}.meta.yaml"
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def valid(submission, profile, tmp_path: Path) -> Path:
    return write(submission, profile, tmp_path / "valid.zip")


def packed(valid: Path, out: Path, changed: dict[str, bytes], extra: list[tuple[zipfile.ZipInfo, bytes]] = ()) -> Path:
    with zipfile.ZipFile(valid) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            if name not in {info.filename for info, _ in extra}:
                archive.writestr(name, changed.get(name, source.read(name)))
        for info, data in extra:
            archive.writestr(info, data)
    return out


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def said(path: Path, profile) -> list[str]:
    return [str(problem) for problem in check_zip(path, profile)]


def test_links_are_not_followed(valid: Path, profile, tmp_path: Path) -> None:
    for name in (CSV, META):
        (problem,) = said(packed(valid, tmp_path / "l.zip", {}, [link(name, "/etc/passwd")]), profile)
        assert name in problem and "is a link" in problem
    assert profile_of(packed(valid, tmp_path / "l.zip", {}, [link(META, "/etc/passwd")])) is PROFILES["dcase2024"]


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil", "task1/../../evil", "C:/evil", "task1\\..\\..\\evil"])
def test_paths_that_lead_out(name: str, valid: Path, profile, tmp_path: Path) -> None:
    path = packed(valid, tmp_path / "e.zip", {}, [(zipfile.ZipInfo(name), b"x")])
    (problem,) = said(path, profile)
    assert "leads out of the folder" in problem
    assert sorted(one.name for one in tmp_path.iterdir()) == ["e.zip", "valid.zip"]


def test_an_encrypted_entry(valid: Path, profile, tmp_path: Path) -> None:
    data = bytearray(valid.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(META.encode()))
    data[at + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    assert any("encrypted" in problem for problem in said(tmp_path / "x.zip", profile))


def test_bombs_are_read_no_further_than_a_real_file(valid: Path, profile, tmp_path: Path) -> None:
    with zipfile.ZipFile(valid) as archive:
        header = archive.read(CSV).split(b"\n")[0] + b"\n"
    bombs = {
        "rows": {CSV: header + b"\n" * 3_000_000},
        "one line": {CSV: b"a" * 200_000_000},
        "yaml": {META: b"a: " + b"[" * 5_000_000},
        "aliases": {META: b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"},
    }
    for kind, changed in bombs.items():
        path = packed(valid, tmp_path / "b.zip", changed)
        tracemalloc.start()
        problems = said(path, profile)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert any("cannot be read" in one or "columns" in one or "has more" in one for one in problems), (
            kind,
            problems,
        )
        assert peak < 300e6, kind


def test_an_archive_larger_than_any(valid: Path, profile, monkeypatch) -> None:
    monkeypatch.setattr(zip_check, "MAX_ZIP_BYTES", 100)
    (problem,) = said(valid, profile)
    assert "is larger than 100 bytes" in problem
    assert profile_of(valid) is None


def test_all_violations_at_once_each_with_its_place(valid: Path, profile, tmp_path: Path) -> None:
    with zipfile.ZipFile(valid) as archive:
        lines = archive.read(CSV).decode().split("\n")
        meta = archive.read(META).decode()
    lines[2] = lines[2].replace("\t", ",", 1)
    cells = lines[4].split("\t")
    lines[4] = "\t".join([cells[0], "Tram", *cells[2:]])
    lines[6] = "\t".join([*lines[6].split("\t")[:2], "0,5", *lines[6].split("\t")[3:]])
    lines[8] = "\t".join([*lines[8].split("\t")[:2], *["0.3"] * 10])
    meta = meta.replace("total_model_size: 122296", "total_model_size: 122.3").replace("Searched", "SearchedNetwork")
    path = packed(valid, tmp_path / "v.zip", {CSV: "\n".join(lines).encode(), META: meta.encode()})
    problems = said(path, profile)
    wanted = [
        f"{CSV}:3: has 11 columns",
        f"{CSV}:5: column scene_label: 'Tram' is no class",
        f"{CSV}:7: column airport: '0,5' is not a number",
        f"{CSV}:9: 1 of 10 rows do not sum to 1",
        f"{CSV}: 1 of 12 clips are missing, first 1.wav",
        "total_model_size 122.3 is not a whole number",
        "at most 10 are allowed",
    ]
    for one in wanted:
        assert any(one in problem for problem in problems), (one, problems)


def test_the_command_says_all_and_exits_with_1(valid: Path, tmp_path: Path) -> None:
    good = asc_search("export", "--check", valid, "--practice")
    assert good.returncode == 0 and f"a valid practice file of dcase2024: {LABEL}" in good.stdout, good.stderr
    bad = asc_search("export", "--check", valid)
    assert bad.returncode == 1 and bad.stdout.count("135,718 of 135,730 clips are missing") == 5
    other = asc_search("export", "--check", valid, "--practice", "--profile", "dcase2022")
    assert other.returncode == 1 and "output.csv: is missing" in other.stdout
    (tmp_path / "rubbish.zip").write_bytes(b"PK")
    for arguments, message in (
        ([tmp_path / "rubbish.zip"], "Say which with --profile"),
        ([tmp_path / "absent.zip"], "no such file"),
        ([valid, "--label", LABEL], "--label: not with --check"),
        ([valid, "--profile", "dcase1999"], "known profiles are dcase2022"),
    ):
        refused = asc_search("export", "--check", *arguments)
        assert refused.returncode == 1 and message in refused.stderr and "Traceback" not in refused.stderr


@QUIET
@given(st.dictionaries(st.text(min_size=1, max_size=40), st.binary(max_size=60), max_size=6))
def test_any_zip_is_explained(profile, entries: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            try:
                archive.writestr(name, data)
            except (UnicodeEncodeError, IndexError):  # half of a surrogate pair, or a name that begins with NUL
                continue
    path = _written(buffer.getvalue())
    assert check_zip(path, profile)
    for problem in check_zip(path, profile):
        assert str(problem).isprintable() or "\n" not in str(problem)
    profile_of(path)


@QUIET
@given(st.binary(max_size=400), st.integers(0, 3000))
def test_any_bytes_are_explained(submission, profile, damage: bytes, at: int) -> None:
    path = _written(damage)
    assert check_zip(path, profile)
    whole = write(submission, profile, path.with_name("whole.zip")).read_bytes()
    path.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
    for problem in check_zip(path, profile):
        assert str(problem)


@QUIET
@given(st.data())
def test_names_of_any_letters_come_back_from_yaml(submission, profile, data) -> None:
    line = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" '\",:<>&#{}[]%!|*\\"), min_size=1)
    text = line.map(str.strip).filter(lambda value: value and value.isprintable())
    draw = lambda: data.draw(text)  # noqa: E731
    other = Author(draw(), draw(), "x@y.example", Affiliation(draw(), draw(), draw(), draw()))
    changed = replace(
        submission,
        name=draw(),
        abbreviation=draw()[:10].strip() or "x",
        authors=(other, *submission.authors[1:]),
        external_datasets=(ExternalDataset(draw(), draw()),),
    )
    assert check(changed, profile) == []
    raw = dump(meta(changed, profile))
    for content in (yaml.safe_load(raw), load(raw)):
        found = content["submission"]
        assert (found["name"], found["abbreviation"]) == (changed.name, changed.abbreviation)
        author = found["authors"][0]
        assert (author["lastname"], author["firstname"]) == (other.lastname, other.firstname)
        assert list(author["affiliation"].values()) == [
            other.affiliation.abbreviation, other.affiliation.institute, other.affiliation.department,
            other.affiliation.location,
        ]  # fmt: skip
        assert content["system"]["external_datasets"][0]["name"] == changed.external_datasets[0].name


_PLACE: list[Path] = []


@pytest.fixture(autouse=True)
def _place(tmp_path: Path) -> None:
    _PLACE[:] = [tmp_path]


def _written(data: bytes) -> Path:
    path = _PLACE[0] / "fuzzed.zip"
    path.write_bytes(data)
    return path
