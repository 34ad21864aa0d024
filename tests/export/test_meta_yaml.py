from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from asc_search.export.meta_yaml import dump, load, meta

TEXTS = st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=30) | st.sampled_from(
    [
        "No",
        "yes",
        "off",
        "null",
        "~",
        "1e5",
        "0x1F",
        "12:30",
        "2024-06-15",
        "1_000",
        "a: b",
        "# x",
        "- x",
        "'",
        '"',
        ".inf",
    ]
)


@given(st.dictionaries(TEXTS, TEXTS | st.none() | st.integers() | st.booleans(), max_size=5))
def test_reads_back_the_same_by_yaml_1_2_and_1_1(content):
    pyyaml = pytest.importorskip("yaml")
    data = dump(content)
    assert YAML(typ="safe").load(data.decode()) == content
    assert pyyaml.safe_load(data) == content
    assert load(data) == content


def test_order_is_that_of_the_template_and_equal_parts_are_written_out(submission, profile):
    text = dump(meta(submission, profile)).decode()
    assert "&" not in text and "*" not in text
    order = [
        "submission:",
        "label:",
        "abbreviation:",
        "authors:",
        "description:",
        "complexity:",
        "results:",
        "split_5:",
    ]
    assert sorted(order, key=text.index) == order
    assert 'lastname: "No"' in text and 'lastname: "Núñez Øst"' in text


@pytest.mark.parametrize(
    "data",
    [
        b"a: [1",
        b"a: 1\na: 2",
        b"\xff",
        b"a: &x [1]\nb: *x",
        b"a: " + b"[" * 100_000,
        b"a: !!python/name:os.system ''",
        b"a: 2024-13-45",
    ],
    ids=["syntax", "twice", "utf-8", "alias", "deep", "python object", "date"],
)
def test_refuses_what_no_meta_yaml_needs(data):
    with pytest.raises(ValueError):
        load(data)
