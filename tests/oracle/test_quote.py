"""What `asc-search complexity` and `asc-search space check` print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torchinfo
from support import asc_search

from asc_search.nets.network import build
from asc_search.nets.plan import mobile
from asc_search.oracle.quote import quote

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [("dcase2024-baseline", 61_148, 29_419_156), ("sscp-s1", 63_748, 29_982_132), ("sscp-s3", 63_215, 29_221_122)],
)
def test_the_command_prints_the_published_numbers(name: str, params: int, macs: int) -> None:
    done = asc_search("complexity", name, "--json")
    printed = json.loads(done.stdout)
    assert (printed["params"], printed["macs"]) == (params, macs)
    assert printed["weight_bytes"]["fp16"] == 2 * params and printed["fits"]["fp16"] and not printed["fits"]["fp32"]


def test_variants_are_priced_on_their_input() -> None:
    printed = quote("dcase2024-baseline", ["base=40", "expansion=3"], "1,128,44").to_json(layers=False)
    spec = mobile("cp", (1, 128, 44), 10, 40, 1.8, 3.0)
    official = torchinfo.summary(build(spec), (1, 1, 128, 44), verbose=0)
    assert (printed["params"], printed["macs"]) == (official.total_params, official.total_mult_adds)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-net"], "dcase2024-baseline"),
        (["dcase2024-baseline", "--set", "width=3"], "base, multiplier, expansion"),
        (["dcase2024-baseline", "--set", "base=wide"], "kind int"),
        (["dcase2024-baseline", "--set", "base"], "name=value"),
        (["dcase2024-baseline", "--set", "base=1e9"], "kind int"),
        (["sscp-mobile", "--set", "fusion=sideways"], "fusion: 'sideways' is not one of 'parallel', 'serial'"),
        (["spaces/nowhere.yaml"], "no such file"),
        (["spaces/student.yaml", "--set", "network.bse=3"], "did you mean 'network.base'"),
        (["spaces/student.yaml", "--set", "network.base=17"], "16 to 64, step 8"),
        (["spaces/student.yaml", "--set", "frontend.mels=64"], "fixed at 128"),
        (["spaces/student.yaml", "--set", "network.base=16", "--set", "network.base=24"], "set twice"),
        (["spaces/student.yaml", "--set", "network.stages.0.rho=4"], "only where network.stages.0.family = rfr"),
        (["bcres2-24", "--set", "resnorm=foo"], "resnorm: 'foo' is not one of"),
        (["bcres2-24", "--set", "base=20"], "no multiple of 8"),
        (["dsmn-1", "--set", "widths=24,32"], "kind tuple"),
        (["mn04", "--set", "width=0"], "above 0"),
        (["mn04", "--input", "1,99999999999999999999,9"], "at most"),
        (["sscp-s1", "--set", "base=3"], "fixed"),
        (["dcase2024-baseline", "--input", "1x256x65"], "channels,mels,frames"),
        (["dcase2024-baseline", "--input", "1,0,65"], "at least 1"),
    ],
)
def test_what_cannot_be_priced_is_one_clear_message(arguments: list[str], said: str) -> None:
    done = asc_search("complexity", *arguments, cwd=ROOT)
    assert done.returncode == 1 and said in done.stderr
    assert "Traceback" not in done.stderr


def test_layers_add_up_to_the_whole() -> None:
    printed = quote("bcres2-24", [], None).to_json(layers=True)
    for key in ("params", "macs", "conv_linear_macs"):
        assert sum(layer[key] for layer in printed["layers"]) == printed[key]
    assert tuple(printed["layers"][-1]["out"]) == (10, 1, 1)
    assert printed["int8_parts"]["weights"] + printed["int8_parts"]["others"] // 4 < printed["params"]


def test_a_point_of_a_space_is_priced_by_its_names() -> None:
    text = (
        "network:\n  stem: cp\n  base: {int: [16, 64], step: 8}\n  multiplier: 1.8\n  stages:\n"
        "    - {family: cp, depth: 3, stride: 1x2, stride_at: last, expansion: 2.1}\n"
        "    - {family: cp, depth: 2, stride: 2x1, expansion: 2.1}\n    - {family: cp, depth: 1, expansion: 2.1}\n"
        "pruning: {ratio: {choice: [0, 0.5]}}\nbudget: {macs: 20_000_000}\n"
    )
    done = _in_file(text, "--set", "network.base=32", "--set", "pruning.ratio=0", "--json")
    printed = json.loads(done.stdout)
    assert (printed["params"], printed["macs"]) == (61_148, 29_419_156)
    assert printed["parameters"] == {"network.base": 32, "pruning.ratio": 0.0}
    assert not any(printed["fits"].values())  # the space's own limit
    half = json.loads(_in_file(text, "--set", "network.base=64", "--set", "pruning.ratio=0.5", "--json").stdout)
    assert half["params"] < printed["params"] * 1.1
    assert "network.base=40" in _in_file(text, "--layers").stdout


def _in_file(text: str, *arguments: str):  # type: ignore[no-untyped-def]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "point.yaml"
        path.write_text(text, encoding="utf-8")
        return asc_search("complexity", path, *arguments)


def test_published_designs_are_listed_with_their_prices() -> None:
    listed = asc_search("designs").stdout
    for name, macs in (
        ("dcase2024-baseline", "29,419,156"),
        ("seoul-raw", "3,021,997,322"),
        ("serfr-32-b", "22,847,734"),
    ):
        (line,) = [line for line in listed.splitlines() if f" {name} " in line]
        assert macs in line


def test_space_check_says_what_fits_and_what_drives_it() -> None:
    done = asc_search("space", "check", ROOT / "spaces" / "cp.yaml", "--json", "--draws", 2000)
    found = json.loads(done.stdout)
    low, high = found["interval"]
    assert 0.1 < low < found["share"] < high < 0.6
    assert found["draws_per_training"] == pytest.approx(1 / found["share"])
    assert found["costliest"]["parameter"] == "network.base"
    assert sum(found["macs"]["histogram"]["draws"]) == sum(found["weight_bytes"]["histogram"]["draws"]) == 2000
    assert found["macs"]["quantiles"]["0.25"] < found["macs"]["quantiles"]["0.75"]
    assert "network.base" in {one["name"] for one in found["parameters"]}
    told = asc_search("space", "check", ROOT / "spaces" / "cp.yaml", "--draws", 2000).stdout
    assert "random points fit" in told and "prefer smaller values" in told and "times the limit" in told


def test_a_space_in_which_nothing_fits_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    text = (ROOT / "spaces" / "cp.yaml").read_text(encoding="utf-8")
    path.write_text(text + "budget: {macs: 1000, weight_bytes: 1000}\n", encoding="utf-8")
    done = asc_search("space", "check", path, "--draws", 5000)
    assert done.returncode == 1
    assert "less than 0.1% of the space" in done.stderr and "prefer" in done.stderr
    assert "Traceback" not in done.stderr
    assert asc_search("run", path, "--out", tmp_path / "run").returncode == 1
    assert not (tmp_path / "run" / "teachers").exists()


def test_macs_are_by_the_second_of_a_designs_own_window() -> None:
    raw = quote("seoul-raw", [], None).to_json(layers=False)
    assert (raw["macs"], raw["macs_per_second"]) == (3_021_997_322, 302_199_733)
    assert quote("seoul-raw", [], "2,1,47999").to_json(layers=False)["macs_per_second"] == 301_999_882
    assert quote("seoul-raw", [], "2,1,47999", 0.5).to_json(layers=False)["macs_per_second"] == 603_999_764
    wide = quote("dsmn-1", ["widths=32,32,64,64,64"], None).to_json(layers=False)
    assert wide["params"] > 45_164
