from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from asc_search.audio import torchaudio_shim
from asc_search.audio.torchaudio_shim import torchaudio


def python(code: str) -> str:
    """Output of ``code`` in a fresh interpreter: what is imported here must not matter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# A loader that fails as torchaudio's own does beside another torch, for machines where its extension loads.
BROKEN = """
import torch
from asc_search.audio.torchaudio_shim import torchaudio as get
def fail(path):
    raise {error}
torch.ops.load_library = fail
package = get()
"""


@pytest.mark.parametrize("error", ["OSError('no library')", "RuntimeError('CUDA 13.2 and 13.0')"])
def test_without_the_extension_everything_pure_works(error: str) -> None:
    code = BROKEN.format(error=error) + (
        "import torchaudio as plain\n"
        "import torchaudio._extension.utils, torchaudio.models.decoder\n"
        "mel = package.transforms.MelSpectrogram(32000, n_fft=1024, n_mels=64)(torch.ones(2, 32000))\n"
        "low = package.functional.lowpass_biquad(torch.ones(1, 50), 32000, 1000.0)\n"
        "try:\n"
        "    package.functional.forced_align(torch.zeros(1, 3, 2), torch.ones(1, 1, dtype=torch.int))\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "print(plain is package is get(), package._extension._IS_TORCHAUDIO_EXT_AVAILABLE, tuple(mel.shape))\n"
    )
    refused, result = python(code).splitlines()
    assert "forced_align" in refused
    assert result == "True False (2, 64, 63)"


def test_mel_spectrogram_of_a_tone_peaks_at_the_tone() -> None:
    rate, tone, mels = 32_000, 2_000.0, 64
    wave = torch.sin(2 * torch.pi * tone * torch.arange(rate) / rate)
    mel = torchaudio().transforms.MelSpectrogram(rate, n_fft=1024, n_mels=mels)(wave)
    top = 2595 * np.log10(1 + rate / 2 / 700)
    centres = 700 * (10 ** (np.linspace(0, top, mels + 2)[1:-1] / 2595) - 1)
    assert int(mel.mean(-1).argmax()) == int(np.abs(centres - tone).argmin())


def test_not_installed_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchaudio_shim, "PACKAGE", "torchaudio_that_is_nowhere")
    with pytest.raises(ModuleNotFoundError, match="pip install torchaudio"):
        torchaudio()


def test_the_audio_room_itself_imports_neither_torchaudio_nor_torch() -> None:
    assert python("import sys, asc_search.audio; print({'torch', 'torchaudio'} & set(sys.modules))") == "set()"
