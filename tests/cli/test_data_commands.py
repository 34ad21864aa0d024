"""`asc-search data`: what a person sees of a data set before using it."""

from __future__ import annotations

import json
from pathlib import Path

from support import asc_search


def test_check_counts_a_folder_and_names_what_cannot_be_read(demo_folder: Path, tmp_path: Path) -> None:
    done = asc_search("data", "check", f"folder:{demo_folder}", "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["ok"]
    (tmp_path / "a.wav").write_bytes(b"not audio")
    (tmp_path / "meta.csv").write_text("filename,label\na.wav,one\nb.wav,two\n", encoding="utf-8")
    bad = asc_search("data", "check", f"folder:{tmp_path}")
    assert bad.returncode == 1
    assert "a.wav" in bad.stdout + bad.stderr and "b.wav" in bad.stdout + bad.stderr
    assert "Traceback" not in bad.stderr


def test_fetch_names_the_sets_there_are(tmp_path: Path) -> None:
    done = asc_search("data", "fetch", "tau2023", "--root", tmp_path)
    assert done.returncode == 1
    assert "tau2019, tau2020, tau2022" in done.stderr and "Traceback" not in done.stderr
