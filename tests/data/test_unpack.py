"""Unpacking archives: honest ones completely and once, hostile ones not at all."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from asc_search.data.unpack import unpack
from asc_search.errors import DataError

LIMIT = 1_000_000


def make_zip(path: Path, members: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    """An archive of exactly these member names, whatever they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.external_attr = name, (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def refused(archive: Path, into: Path, limit: int = LIMIT) -> str:
    with pytest.raises(DataError) as caught:
        unpack(archive, into, max_bytes=limit)
    return str(caught.value)


def test_everything_is_unpacked_and_counted(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(3_000_000)
    members = {
        "set/": b"",
        "set/meta.csv": b"a\tb\n",
        "set/audio/1.wav": noise,
        "set/empty": b"",
        "\u00e4 \u00f6.txt": b"x",
    }
    done: list[int] = []
    archive = make_zip(tmp_path / "a.zip", members, {"set/": 0o040755})
    sizes = unpack(archive, tmp_path / "new" / "out", max_bytes=4_000_000, advance=done.append)
    files = {name: content for name, content in members.items() if not name.endswith("/")}
    assert tree(tmp_path / "new" / "out") == files
    assert sizes == {name: len(content) for name, content in files.items()}
    assert sum(done) == sum(sizes.values())


def test_a_second_call_completes_the_first(tmp_path: Path) -> None:
    members = {f"set/{i}.wav": bytes([i]) * 1000 for i in range(5)}
    archive, out = make_zip(tmp_path / "a.zip", members), tmp_path / "out"
    unpack(archive, out, max_bytes=LIMIT)
    kept = (out / "set/0.wav").stat().st_mtime_ns
    os.utime(out / "set/0.wav", ns=(kept, kept - 10**9))
    (out / "set/1.wav").unlink()
    (out / "set/2.wav").write_bytes(b"damaged" + bytes(993))  # same size, other content
    (out / "set/3.wav").write_bytes(b"short")
    (out / "set/.4.wav.part").write_bytes(b"left by a kill")
    (out / "set/other.txt").write_bytes(b"not ours")
    unpack(archive, out, max_bytes=LIMIT)
    assert tree(out) == members | {"set/.4.wav.part": b"left by a kill", "set/other.txt": b"not ours"}
    assert (out / "set/0.wav").stat().st_mtime_ns == kept - 10**9


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", "leads out of the folder"),
        ("set/../../evil", "leads out of the folder"),
        ("/tmp/evil", "leads out of the folder"),
        ("//host/share/evil", "leads out of the folder"),
        ("C:/evil", "leads out of the folder"),
        ("C:evil", "leads out of the folder"),
        ("..\\evil", "leads out of the folder"),
        ("\\evil", "leads out of the folder"),
        ("set\\evil", "special in file names"),
        ("set/a.wav:evil", "special in file names"),
        ("set/a\nb", "special in file names"),
        ("set/con", "a device on some systems"),
        ("set/NUL.wav", "a device on some systems"),
        ("com1/a.wav", "a device on some systems"),
        ("set/a.", "ends in a dot"),
        ("set./a", "ends in a dot"),
        ("./", "names no file"),
    ],
)
def test_names_that_lead_astray(tmp_path: Path, name: str, reason: str) -> None:
    archive = make_zip(tmp_path / "a.zip", {"set/good": b"1", name: b"" if name == "./" else b"2"})
    out = tmp_path / "in" / "out"
    assert reason in refused(archive, out)
    assert not out.exists()
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices(tmp_path: Path, kind: int) -> None:
    archive = make_zip(tmp_path / "a.zip", {"set/x": b"/etc/passwd"}, {"set/x": kind | 0o777})
    assert "is a link or a device" in refused(archive, tmp_path / "out")


def test_names_that_collide(tmp_path: Path) -> None:
    assert "twice" in refused(make_zip(tmp_path / "a.zip", {"set/a": b"1", "set/A": b"2"}), tmp_path / "out")
    assert "also a file" in refused(make_zip(tmp_path / "b.zip", {"set/a/b": b"1", "Set/a": b"2"}), tmp_path / "out")
    assert "also a file" in refused(make_zip(tmp_path / "c.zip", {"a/": b"", "A": b"2"}), tmp_path / "out")
    unpack(make_zip(tmp_path / "d.zip", {"a/": b"", "a/b/": b"", "a/b/c": b"2"}), tmp_path / "out", max_bytes=9)


def test_bombs(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"{i}": bytes(400_000) for i in range(3)})
    assert archive.stat().st_size < 3_000
    assert "declares 3 files of 1200000 bytes; allowed are 1000000 files of 1000000 bytes" in refused(
        archive, tmp_path / "o"
    )
    with pytest.raises(DataError, match="allowed are 2 files"):
        unpack(archive, tmp_path / "o", max_bytes=2 * LIMIT, max_files=2)
    # an archive that declares less than it holds: both size fields of the only member are changed
    liar = make_zip(tmp_path / "b.zip", {"x": bytes(400_000)})
    liar.write_bytes(liar.read_bytes().replace(struct.pack("<I", 400_000), struct.pack("<I", 10)))
    assert "cannot be unpacked" in refused(liar, tmp_path / "o")
    assert tree(tmp_path / "o") == {}


def test_damage(tmp_path: Path) -> None:
    content = np.random.default_rng(1).bytes(10_000)
    archive = make_zip(tmp_path / "a.zip", {"x": content})
    data = bytearray(archive.read_bytes())
    data[5_000] ^= 1
    archive.write_bytes(data)
    assert "cannot be unpacked" in refused(archive, tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    archive.write_bytes(data[:5_000])
    assert "cannot be unpacked" in refused(archive, tmp_path / "out")


def test_links_already_there(tmp_path: Path) -> None:
    """A link in the folder is never followed out of it; one in the place of a file is replaced."""
    archive, out, outside = make_zip(tmp_path / "a.zip", {"set/a.wav": b"1"}), tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    (outside / "a.wav").write_bytes(b"precious")
    out.mkdir()
    (out / "set").symlink_to(outside)
    assert "is a link out of the folder" in refused(archive, out)
    (out / "set").unlink()
    (out / "set").symlink_to(tmp_path / "to come")
    assert "is a link out of the folder" in refused(archive, out)
    (out / "set").unlink()
    (out / "set").mkdir()
    (out / "set" / "a.wav").symlink_to(outside / "a.wav")
    (out / "set" / ".a.wav.part").symlink_to(outside / "a.wav")
    unpack(archive, out, max_bytes=9)
    assert (out / "set" / "a.wav").read_bytes() == b"1"
    assert not (out / "set" / "a.wav").is_symlink()
    assert tree(outside) == {"a.wav": b"precious"}
    assert not (tmp_path / "to come").exists()


def test_something_in_the_way(tmp_path: Path) -> None:
    archive, out = make_zip(tmp_path / "a.zip", {"set/a.wav": b"1"}), tmp_path / "out"
    (out / "set" / "a.wav").mkdir(parents=True)
    assert "a folder is where a file must be" in refused(archive, out)
    (out / "set" / "a.wav").rmdir()
    (out / "set").rmdir()
    (out / "set").write_text("")
    assert "a file is where a folder must be" in refused(archive, out)
