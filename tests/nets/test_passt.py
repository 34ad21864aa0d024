"""PaSST against the published package's own wrapper, and against its file's tensors function by function."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import math
import pickle
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
import torch
from passt_files import State, random_passt
from safetensors.torch import save_file
from torch.nn import functional as F

from asc_search.audio.kaldi_mel import TaggerFrontEnd
from asc_search.audio.torchaudio_shim import torchaudio
from asc_search.errors import MissingExtraError, WeightsError
from asc_search.nets import passt
from asc_search.nets.passt import load_passt
from asc_search.nets.weights import mismatches

package = pytest.mark.skipif(
    importlib.util.find_spec("hear21passt") is None, reason="needs hear21passt (pip install 'asc-search[teachers]')"
)


def stored(tmp_path: Path, state: State) -> Path:
    path = tmp_path / "passt.pt"
    torch.save(state, path)
    return path


def models() -> ModuleType:
    """The package's module of networks, imported as asc-search imports it: without timm."""
    return passt._package()


def arch(name: str) -> torch.nn.Module:
    """A published network at random, by the package's own function."""
    with contextlib.redirect_stdout(None):
        return models().get_model(name, pretrained=False).eval()


@package
@pytest.mark.filterwarnings(
    "ignore:.*autocast:FutureWarning", "ignore:Input image size", "ignore:stft with return_complex"
)
def test_logits_and_embedding_are_those_of_the_packages_wrapper(tmp_path: Path) -> None:
    width, depth = 192, 3
    path = stored(tmp_path, random_passt(width, depth))
    before = torch.get_rng_state()
    loaded = load_passt(path, hashlib.sha256(path.read_bytes()).hexdigest().upper())
    assert torch.equal(torch.get_rng_state(), before) and not loaded.network.training
    torchaudio()
    mel = importlib.import_module("hear21passt.models.preprocess").AugmentMelSTFT(
        fmin_aug_range=10, fmax_aug_range=2000
    )
    size = {"patch_size": 16, "stride": (10, 10), "embed_dim": width, "depth": depth, "num_heads": width // 64}
    theirs = models().PaSST(img_size=(128, 998), num_classes=7, distilled=True, **size)
    theirs.load_state_dict(torch.load(path, weights_only=True))
    wrapper = importlib.import_module("hear21passt.wrapper").PasstBasicWrapper(mel=mel, net=theirs, mode="all").eval()
    for seconds in (1, 10):
        waves = 0.1 * torch.randn(2, 32_000 * seconds, generator=torch.Generator().manual_seed(seconds))
        with torch.inference_mode():
            logits, embedding = loaded.hear(TaggerFrontEnd()(waves))
            expected = wrapper.get_scene_embeddings(waves)
        assert logits.shape == (2, 7) and embedding.shape == (2, width)
        torch.testing.assert_close(torch.cat([logits, embedding], 1), expected, rtol=1e-4, atol=1e-4)
        assert (embedding[0] - embedding[1]).abs().max() > 0.01


@package
@pytest.mark.parametrize(("name", "depth"), [("passt_s_swa_p16_128_ap476", 12), ("passt_l_kd_p16_128_ap47", 7)])
def test_published_networks_are_of_this_layout(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models(), "trunc_normal_", lambda tensor, std: tensor)  # takes most of the time
    state = arch(name).state_dict()
    assert passt._size({key: tuple(value.shape) for key, value in state.items()}) == (768, depth, 527)
    assert mismatches(state, passt._shapes(768, depth, 527)) == []
    assert state.keys() == random_passt(64, depth).keys()


@package
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_stored_passt_is_its_files_tensors_function_by_function(tmp_path: Path, suffix: str) -> None:
    state, path = random_passt(), tmp_path / f"passt{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    loaded = load_passt(path)
    double = {key: value.double() for key, value in state.items()}
    loaded.network.double()
    for frames in (16, 257, 1000):
        x = torch.randn(2, 1, 128, frames, generator=torch.Generator().manual_seed(1)).double()
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("error")
            heard = loaded.hear(x)
        for got, expected in zip(heard, published(double, x), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
            assert got.std() > 0.01


def published(state: State, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and embedding of inputs ``x`` as the paper (section 2) and its DeiT have them, from a file's tensors."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
        return x * state[f"{name}.weight"] + state[f"{name}.bias"]

    width = state["cls_token"].shape[-1]
    patches = F.conv2d(x, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=10)
    patches = patches + state["freq_new_pos_embed"] + state["time_new_pos_embed"][..., : patches.shape[-1]]
    tokens = torch.cat([state["cls_token"], state["dist_token"]], 1) + state["new_pos_embed"]
    y = torch.cat([tokens.expand(len(x), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
    for index in range(len({key.split(".")[1] for key in state if key.startswith("blocks.")})):
        block = f"blocks.{index}"
        parts = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", y)).reshape(*y.shape[:2], 3, width // 64, 64)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(64), -1) @ value
        y = y + linear(f"{block}.attn.proj", mixed.transpose(1, 2).reshape(y.shape))
        y = y + linear(f"{block}.mlp.fc2", F.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", y))))
    embedding = norm("norm", y)[:, :2].mean(1)
    return linear("head.1", norm("head.0", embedding, 1e-5)), embedding


@package
def test_windows_are_heard_alike_in_any_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_passt(stored(tmp_path, random_passt()))
    x = torch.randn(5, 1, 128, 100, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = loaded.embed(x)
        monkeypatch.setattr(passt, "MOST_PAIRS", 2 * 110**2)
        torch.testing.assert_close(loaded.embed(x), whole, rtol=1e-5, atol=1e-5)


@package
def test_nothing_is_printed_and_half_precision_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path, {key: value.half() for key, value in random_passt().items()})
    for name in [name for name in sys.modules if name.startswith("hear21passt")]:
        del sys.modules[name]
    heard = load_passt(path).embed(torch.randn(1, 1, 128, 100))
    assert heard.dtype == torch.float32
    assert capfd.readouterr() == ("", "")


@package
def test_nothing_is_downloaded(tmp_path: Path) -> None:
    load_passt(stored(tmp_path, random_passt()))
    assert passt._DOWNLOADS not in sys.modules
    helpers = importlib.import_module("hear21passt.models.helpers.vit_helpers")
    with pytest.raises(WeightsError, match=r"https://x\.org/w\.pt is not downloaded"):
        helpers.download_cached_file("https://x.org/w.pt", check_hash=False, progress=True)


@package
def test_windows_that_passt_cannot_hear_are_refused(tmp_path: Path) -> None:
    loaded = load_passt(stored(tmp_path, random_passt()))
    for frames, said in ((15, "not 0.15 s"), (1006, "not 10.06 s")):
        with pytest.raises(WeightsError, match=said):
            loaded.embed(torch.zeros(1, 1, 128, frames))


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passt, "PACKAGE", "hear21passt_absent")
    with pytest.raises(MissingExtraError, match=r"asc-search\[teachers\]"):
        passt.check_passt()
    with pytest.raises(MissingExtraError, match=r"hear21passt_absent.*asc-search\[teachers\]"):
        load_passt(stored(tmp_path, random_passt()))


def test_files_that_are_none_are_refused_in_words(tmp_path: Path) -> None:
    path = stored(tmp_path, random_passt())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"passt\.pt"):
        load_passt(path)
    path.write_bytes(b"")
    with pytest.raises(WeightsError, match=r"passt\.pt"):
        load_passt(path)
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_passt(path, "0" * 64)
    with pytest.raises(WeightsError, match="no such weights file"):
        load_passt(tmp_path / "absent.pt")


class Harmful:
    """Writes a file where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):  # type: ignore[no-untyped-def]
        return Path.touch, (self.target,)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    path, target = tmp_path / "passt.pt", tmp_path / "was run"
    path.write_bytes(pickle.dumps(Harmful(target)))
    with pytest.raises(WeightsError, match=r"refused|not a readable"):
        load_passt(path)
    torch.save({"cls_token": Harmful(target)}, path)
    with pytest.raises(WeightsError, match="refused"):
        load_passt(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"time_new_pos_embed": torch.zeros(1, 128, 1, 62)},
            r"time_new_pos_embed is \(1, 128, 1, 62\), expected .* 99\)",
        ),
        ({"freq_new_pos_embed": torch.zeros(1, 128, 8, 1)}, r"freq_new_pos_embed is \(1, 128, 8, 1\)"),
        ({"time_new_pos_embed": torch.zeros(1, 128, 1, 199)}, "10 s and patches every 10 x 10"),
        ({"norm.weight": torch.ones(64 * 10**4)}, r"expected \(1920000, 640000\)"),
        ({"norm.weight": torch.ones(100)}, r"and \d+ more"),
        ({"cls_token": torch.zeros(1, 1, 100)}, r"cls_token is \(1, 1, 100\)"),
        ({"cls_token": torch.zeros(())}, r"cls_token is \(\), expected"),
        ({"head.1.bias": torch.zeros(8)}, r"head\.1\.weight is \(7, 128\), expected \(8, 128\)"),
        ({"extra": torch.zeros(1)}, "extra is unknown"),
        ({"blocks.5.norm1.bias": torch.zeros(128)}, r"blocks\.2\.attn\.proj\.bias is missing"),
        ({"norm.bias": torch.zeros(128, dtype=torch.int32)}, r"norm\.bias holds torch\.int32"),
    ],
)
def test_other_layouts_are_refused_in_words(tmp_path: Path, changed: State, said: str) -> None:
    with pytest.raises(WeightsError, match=said) as caught:
        load_passt(stored(tmp_path, random_passt() | changed))
    assert "passt_s_swa_p16_128_ap476" in str(caught.value)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    state = random_passt()
    del state["dist_token"]
    with pytest.raises(WeightsError, match="dist_token is missing"):
        load_passt(stored(tmp_path, state))
