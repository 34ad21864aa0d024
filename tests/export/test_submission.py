from __future__ import annotations

import dataclasses
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_search.errors import ExportError
from asc_search.export.profile import PROFILES
from asc_search.export.submission import Label, parse_label

PART = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12)


@given(PART, PART, st.integers(1, 3))
def test_every_label_of_the_form_is_parsed(lastname, institute, index):
    assert parse_label(f"{lastname}_{institute}_task1_{index}") == Label(lastname, institute, "task1", index)


@given(st.text(string.ascii_letters + "_-1230 /.é", max_size=25))
def test_nothing_else_is(text):
    """Against the form as the organisers word it, spelled out here by hand."""
    parts = text.split("_")
    letters = set(string.ascii_letters + string.digits + "-")
    valid = (
        len(parts) == 4
        and all(part and set(part) <= letters for part in parts[:2])
        and parts[2:3] == ["task1"]
        and parts[3] in ("1", "2", "3")
    )
    if valid:
        assert "_".join((parse_label(text).lastname, parse_label(text).institute)) == "_".join(parts[:2])
    else:
        with pytest.raises(ExportError):
            parse_label(text)


@pytest.mark.parametrize("label", ["Farrugia_IMT-Atlantique-BRAIn_task1_1", "Zhang_AITHU-SJTU_task1_3"])
def test_hyphens_in_the_institute_are_fine(label):
    assert parse_label(label).institute in ("IMT-Atlantique-BRAIn", "AITHU-SJTU")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("Zhang_AITHU_SJTU_task1_1", "has 5 parts.*not 4.*write a hyphen, not an underscore"),
        ("Yeo_NTU_1", "has 3 parts"),
        ("Yeo_NTU_task1b_1", "third part .* is 'task1b', must be exactly 'task1'"),
        ("Yeo_NTU_Task1_1", "must be exactly 'task1'"),
        ("Yeo_NTU_task1_4", "index '4' .* must be one of 1, 2, 3"),
        ("Yeo_NTU_task1_01", "index '01'"),
        ("Yeo_NTU_task1_²", "index"),
        ("Núñez_NTU_task1_1", "last name 'Núñez' .* ASCII"),
        ("_NTU_task1_1", "last name ''"),
        ("../x_NTU_task1_1", "last name '../x'"),
        ("Yeo_N TU_task1_1", "institute 'N TU'"),
        (17, "17 is not text"),
    ],
)
def test_refused_labels_say_what_to_write(label, message):
    with pytest.raises(ExportError, match=message):
        parse_label(label)


def test_all_faults_of_a_label_are_listed_and_the_profile_decides_the_index():
    with pytest.raises(ExportError) as error:
        parse_label("Núñez_N TU_taskA_9")
    assert len(error.value.problems) == 4
    later = dataclasses.replace(PROFILES["dcase2024"], max_index=4)
    assert parse_label("Yeo_NTU_task1_4", later).index == 4
