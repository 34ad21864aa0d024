from __future__ import annotations

import csv
import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from safetensors.torch import save_file

from asc_search.audio.kaldi_mel import TaggerFrontEnd
from asc_search.errors import WeightsError
from asc_search.nets.tagger import BlockWidths, Tagger, TaggerWidths, load_tagger

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
MN04 = DATA / "weights" / "mn04_as_mAP_432.pt"
ESC50 = DATA / "esc50_16k"

# Howard et al. 2019, table 1: expansion, output, squeeze-excitation.
TABLE = (
    (16, 16, False),
    (64, 24, False),
    (72, 24, False),
    (72, 40, True),
    (120, 40, True),
    (120, 40, True),
    (240, 80, False),
    (200, 80, False),
    (184, 80, False),
    (184, 80, False),
    (480, 112, True),
    (672, 112, True),
    (672, 160, True),
    (960, 160, True),
    (960, 160, True),
)


def eight(value: float) -> int:
    """The multiple of 8 nearest to ``value`` (ties up) that is at least 90 % of it."""
    return next(w for w in range(max(8, int(value / 8 + 0.5) * 8), 10**6, 8) if w >= 0.9 * value)


def widths(scale: float, labels: int) -> TaggerWidths:
    blocks = []
    for expanded, out, gated in TABLE:
        wide = eight(expanded * scale)
        blocks.append(BlockWidths(wide, eight(wide / 4) if gated else 0, eight(out * scale)))
    return TaggerWidths(eight(16 * scale), tuple(blocks), eight(960 * scale), eight(1280 * scale), labels)


def random_tagger(scale: float) -> Tagger:
    torch.manual_seed(0)
    return Tagger(widths(scale, 7)).eval()


def test_full_width_has_the_published_parameters() -> None:
    with torch.device("meta"):
        tagger = Tagger(widths(1.0, 1000))
    # torchvision's mobilenet_v3_large has 5,483,032 with three input channels instead of one.
    assert sum(p.numel() for p in tagger.parameters()) == 5_483_032 - 2 * 16 * 9


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("scale", [0.1, 0.35, 0.5])
def test_a_stored_tagger_of_any_width_comes_back(tmp_path: Path, scale: float, suffix: str) -> None:
    stored = random_tagger(scale)
    path = tmp_path / f"tagger{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(stored.state_dict(), path)
    before = torch.get_rng_state()
    loaded = load_tagger(path, hashlib.sha256(path.read_bytes()).hexdigest().upper())
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.widths == widths(scale, 7)
    assert not loaded.training
    x = torch.randn(2, 1, 128, 60)
    with torch.inference_mode():
        assert torch.equal(loaded(x), stored(x))
        assert loaded(x).shape == (2, 7)
        assert loaded.embed(x).shape == (2, eight(960 * scale))


def test_half_precision_and_missing_batch_counters_are_accepted(tmp_path: Path) -> None:
    state = random_tagger(0.1).state_dict()
    path = tmp_path / "tagger.pt"
    torch.save({key: value.half() for key, value in state.items() if "num_batches" not in key}, path)
    loaded = load_tagger(path).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key].half().to(state[key].dtype)) for key in state)


class Payload:
    """Unpickling it would create the file it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    for name, save in (
        ("torch", torch.save),
        ("bare", lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))),
    ):
        path = tmp_path / f"{name}.pt"
        save({"features.0.0.weight": Payload(proof)}, path)
        with pytest.raises(WeightsError, match=r"refused.*more than tensors"):
            load_tagger(path)
        assert not proof.exists()


@pytest.mark.parametrize("name", ["junk.pt", "junk.safetensors", "empty.pt", "cut.pt"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    torch.save(random_tagger(0.1).state_dict(), path)
    content = {"junk": b"not weights at all", "empty": b"", "cut": path.read_bytes()[:5000]}
    path.write_bytes(content[path.stem])
    with pytest.raises(WeightsError, match=name):
        load_tagger(path)


@pytest.mark.parametrize("content", [[torch.zeros(3)], {"model": {"w": torch.zeros(3)}}, {"epoch": 3}, torch.zeros(3)])
def test_other_contents_are_no_state_dict(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="not a plain state_dict"):
        load_tagger(path)


def test_missing_file_folder_and_checksum(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        load_tagger(tmp_path / "nowhere.pt")
    with pytest.raises(WeightsError, match="cannot read"):
        load_tagger(tmp_path)
    path = tmp_path / "tagger.pt"
    path.write_bytes(b"something else")
    with pytest.raises(WeightsError, match=hashlib.sha256(b"something else").hexdigest()):
        load_tagger(path, "0" * 64)


def test_another_architecture_is_named_with_every_kind_of_difference(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
    with pytest.raises(WeightsError, match=r"other\.pt: not a MobileNetV3.*features\.0\.0\.weight is missing.* more"):
        load_tagger(path)
    state = random_tagger(0.1).state_dict()
    state["features.4.block.0.0.weight"] = state["features.4.block.0.0.weight"][..., 1:-1, 1:-1]
    state["extra"] = torch.zeros(1)
    state["classifier.2.bias"] = state["classifier.2.bias"].int()
    del state["features.16.1.running_var"]
    torch.save(state, path)
    with pytest.raises(WeightsError) as caught:
        load_tagger(path)
    message = str(caught.value)
    for part in ("(8, 1, 3, 3), expected (8, 1, 5, 5)", "extra is unknown", "torch.int32", "running_var is missing"):
        assert part in message


def test_empty_tensors_are_no_widths(tmp_path: Path) -> None:
    state = random_tagger(0.1).state_dict()
    state["features.0.0.weight"] = torch.zeros(0, 1, 3, 3)
    path = tmp_path / "empty.pt"
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"features\.0\.0\.weight is missing or empty"):
        load_tagger(path)


# What the first ESC-50 clip of these classes sounds like, in AudioSet's words.
HEARD = {
    "dog": "Bark",
    "rooster": "Crowing, cock-a-doodle-doo",
    "church_bells": "Church bell",
    "crow": "Crow",
    "cat": "Cat",
    "sheep": "Sheep",
    "frog": "Frog",
    "thunderstorm": "Thunder",
    "snoring": "Snoring",
    "toilet_flush": "Toilet flush",
    "train": "Train",
    "cow": "Cattle, bovinae",
    "hen": "Chicken, rooster",
    "sneezing": "Sneeze",
    "chainsaw": "Chainsaw",
}


@pytest.fixture(scope="module")
def pretrained() -> Tagger:
    if not (MN04.exists() and (ESC50 / "meta.csv").exists()):
        pytest.skip("needs mn04_as_mAP_432.pt and esc50_16k in ../shared/data beside the checkout")
    return load_tagger(MN04)


@pytest.fixture(scope="module")
def clips(pretrained: Tagger) -> list[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    """The first clip of each class in each ESC-50 fold, with its embedding and logits."""
    with (ESC50 / "meta.csv").open(newline="") as file:
        rows = list({(row["fold"], row["label"]): row for row in reversed(list(csv.DictReader(file)))}.values())
    front_end, found = TaggerFrontEnd(), []
    for start in range(0, len(rows), 10):
        waves = [soundfile.read(ESC50 / row["filename"], dtype="float32") for row in rows[start : start + 10]]
        batch = np.stack([soxr.resample(wave, rate, 32_000) for wave, rate in waves])
        with torch.inference_mode():
            x = front_end(torch.from_numpy(batch))
            found += zip(rows[start : start + 10], pretrained.embed(x).numpy(), pretrained(x).numpy(), strict=True)
    return found


def test_published_size_and_labels(pretrained: Tagger) -> None:
    assert sum(p.numel() for p in pretrained.parameters()) // 1000 == 983
    assert pretrained.widths == widths(0.4, 527)


def test_clear_cut_clips_get_the_right_audioset_label(clips: list) -> None:
    with (DATA / "weights" / "audioset_527_labels.csv").open(newline="") as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    heard = {row["label"]: names[logits.argmax()] for row, _, logits in clips if row["fold"] == "1"}
    assert {label: heard[label] for label in HEARD} == HEARD


def test_frozen_embedding_tells_environmental_sounds_apart(clips: list) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    labels = np.array([row["label"] for row, _, _ in clips])
    folds = np.array([row["fold"] for row, _, _ in clips])
    embedding = np.stack([e for _, e, _ in clips])
    scores = []
    for fold in np.unique(folds):
        model = linear_model.LogisticRegression(C=0.1, max_iter=1000)
        model.fit(embedding[folds != fold], labels[folds != fold])
        scores.append(model.score(embedding[folds == fold], labels[folds == fold]))
    # Three clips a class give 85.5 %; all 1,200 of three folds give 93.1 %. Chance is 2 %.
    assert np.mean(scores) > 0.83
