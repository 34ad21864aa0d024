"""torchaudio beside any torch: its compiled extension is left out where it cannot be loaded.

torchaudio wheels are built against one CUDA torch; beside a CPU-only torch, or one of another CUDA version, their
import fails. torchaudio's own code knows the state without the extension (pure-torch fallbacks); a stub of its
``_extension`` package puts it there. RNN-T loss, forced alignment and the CUDA CTC decoder do not work then.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

PACKAGE = "torchaudio"
EXTENSION = f"{PACKAGE}._extension"


def torchaudio() -> ModuleType:
    """The imported torchaudio package, with its extension where that loads and without it otherwise.

    Use this instead of ``import torchaudio`` in every process. After it, plain imports of torchaudio work too.

    Raises:
        ModuleNotFoundError: torchaudio is not installed.
    """
    try:
        return importlib.import_module(PACKAGE)
    except (OSError, ImportError, RuntimeError, AttributeError):
        folders = _package_folders()
        _forget()
        stub = sys.modules[EXTENSION] = _stub(folders)
        try:
            package = importlib.import_module(PACKAGE)
        except BaseException:
            _forget()
            raise
        # The import system sets this attribute only for submodules it loads itself; torchaudio.models reads it.
        package._extension = stub
        return package


def _package_folders() -> list[str]:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None:
        raise ModuleNotFoundError("torchaudio is not installed: pip install torchaudio", name=PACKAGE)
    return list(spec.submodule_search_locations or ())


def _forget() -> None:
    for name in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]


def _stub(folders: list[str]) -> ModuleType:
    stub = ModuleType(EXTENSION)
    # A real path keeps torchaudio._extension.utils importable; the spec is what newer importers look at.
    stub.__path__ = [str(Path(folder) / "_extension") for folder in folders]
    stub.__spec__ = importlib.machinery.ModuleSpec(EXTENSION, loader=None, is_package=True)
    stub.__spec__.submodule_search_locations = stub.__path__
    stub._IS_TORCHAUDIO_EXT_AVAILABLE = False
    stub._IS_ALIGN_AVAILABLE = False
    stub._load_lib = lambda lib: False
    stub.fail_if_no_align = _unavailable
    return stub


def _unavailable(function: Callable[..., Any]) -> Callable[..., NoReturn]:
    def fail(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"{function.__name__} needs torchaudio's compiled extension, which does not load here")

    fail.__doc__ = function.__doc__
    return fail
