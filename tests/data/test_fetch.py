"""Fetching from a local server: resuming, checksums, refusals, and whole miniature sets from record to folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from tau_trees import make_tree

from asc_search.data import fetch as fetching
from asc_search.data.check import check
from asc_search.data.download import Downloader, download
from asc_search.data.fetch import fetch, fetch_list
from asc_search.data.source import open_source
from asc_search.data.tau_facts import SUBSETS, TAU_SETS
from asc_search.errors import DataError

DATA = np.random.default_rng(0).bytes(1_000_000)
MD5 = hashlib.md5(DATA).hexdigest()


@dataclass
class Server:
    """What it serves by path, how it behaves, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    drop_after: int | None = None  # bytes of a body until the connection ends
    drops: int = 10**9  # how often it does so
    failures: list[int] = field(default_factory=list)  # status codes of the next answers
    requests: list[tuple[str, int]] = field(default_factory=list)  # path, first byte
    sent: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, start = self.path.partition("?")[0], 0
            if (asked := self.headers.get("Range")) and state.ranges:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            state.requests.append((path, start))
            if state.failures:
                return self.send_error(state.failures.pop(0))
            if path not in state.files:
                return self.send_error(404)
            body = state.files[path]
            if start and start >= len(body):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            part = body[start:]
            if state.drop_after is not None and state.drops > 0 and len(part) > state.drop_after:
                state.drops -= 1
                part = part[: state.drop_after]
                self.close_connection = True
            state.sent += len(part)
            self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    state.files["/x"] = DATA
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def quick(size: int | None = None, **options: object) -> Downloader:
    return Downloader(size, pause_s=0.001, timeout_s=10.0, **options)


def get(server: Server, path: Path, md5: str = MD5, downloader: Downloader | None = None) -> None:
    download(f"{server.url}/x", path, md5, downloader or quick())
    assert path.read_bytes() == server.files["/x"]
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def failure(server: Server, path: Path, md5: str = MD5, downloader: Downloader | None = None) -> str:
    with pytest.raises(DataError) as caught:
        download(f"{server.url}/x", path, md5, downloader or quick())
    assert not path.exists()
    return str(caught.value)


def test_plain_download_happens_once(server: Server, tmp_path: Path) -> None:
    told: list[int] = []
    get(server, tmp_path / "new" / "f", downloader=quick(len(DATA), progress=told.append))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, len(DATA))
    get(server, tmp_path / "new" / "f")
    assert server.requests == [("/x", 0)]
    (tmp_path / "new" / "f").write_bytes(b"damaged")
    get(server, tmp_path / "new" / "f")
    assert len(server.requests) == 2


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.drop_after, server.drops = 300_000, 3
    get(server, tmp_path / "f")
    assert server.requests == [("/x", start) for start in (0, 300_000, 600_000, 900_000)]
    assert server.sent == len(DATA)


def test_a_killed_download_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(DATA[:700_000])
    get(server, tmp_path / "f")
    assert server.requests == [("/x", 700_000)]
    (tmp_path / "f").rename(tmp_path / "f.part")  # killed before the last rename
    get(server, tmp_path / "f", downloader=quick(len(DATA)))
    assert len(server.requests) == 1


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "f.part").write_bytes(DATA[:700_000])
    get(server, tmp_path / "f")
    (tmp_path / "f").unlink()
    server.drop_after, server.drops = 300_000, 2
    get(server, tmp_path / "f")
    (tmp_path / "f").unlink()
    server.drops = 10**9
    assert "the connection ended after 300000 of 1000000 bytes (" in failure(server, tmp_path / "f")


@pytest.mark.parametrize("left", [b"other" * 1000, DATA + b"more", b"\0" * len(DATA)])
def test_a_part_of_something_else(server: Server, tmp_path: Path, left: bytes) -> None:
    for size in (None, len(DATA)):
        (tmp_path / "f.part").write_bytes(left)
        get(server, tmp_path / "f", downloader=quick(size))
        (tmp_path / "f").unlink()


def test_a_wrong_checksum(server: Server, tmp_path: Path) -> None:
    message = failure(server, tmp_path / "f", "0" * 32)
    assert f"has the checksum {MD5}, published is {'0' * 32}" in message
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_a_file_of_another_size(server: Server, tmp_path: Path) -> None:
    assert "has 1000000 bytes, 999999 were announced" in failure(server, tmp_path / "f", downloader=quick(999_999))
    assert "sends more than it may" in failure(server, tmp_path / "f", downloader=quick(max_bytes=1_000))
    assert (tmp_path / "f.part").stat().st_size <= 1_000


def test_refusals(server: Server, tmp_path: Path) -> None:
    server.failures = [403]
    assert f"{server.url}/x: the server answers 403" in failure(server, tmp_path / "f")
    del server.files["/x"]
    assert "the server answers 404" in failure(server, tmp_path / "f")
    assert len(server.requests) == 2  # neither is tried again
    with pytest.raises(DataError, match="is no http address"):
        download("file:///etc/passwd", tmp_path / "f", MD5, quick())
    with pytest.raises(DataError, match=r"http://127.0.0.1:9/x: .*refused.* \(2 attempts\)"):
        download("http://127.0.0.1:9/x", tmp_path / "f", MD5, quick(attempts=2))


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.failures = [503, 429, 500]
    get(server, tmp_path / "f")
    (tmp_path / "f").unlink()
    server.failures = [503] * 99
    assert "the server answers 503 Service Unavailable (5 attempts)" in failure(server, tmp_path / "f")


def test_as_downloader_of_pooch(server: Server, tmp_path: Path) -> None:
    pooch = pytest.importorskip("pooch")
    server.drop_after, server.drops = 300_000, 3
    name = pooch.retrieve(f"{server.url}/x", f"md5:{MD5}", "f", tmp_path, downloader=quick())
    assert Path(name).read_bytes() == DATA
    assert server.sent == len(DATA)


def test_lists(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"filename\tscene_label\naudio/x.wav\tpark\n"
    server.files["/split25.csv"] = content
    with pytest.raises(DataError, match="is not what was published"):
        fetch_list(25, tmp_path, base_url=server.url, pause_s=0.001)
    monkeypatch.setitem(SUBSETS, 25, type(SUBSETS[25])(hashlib.md5(content).hexdigest(), {}))
    for _ in range(2):
        assert fetch_list(25, tmp_path, base_url=server.url, pause_s=0.001).read_bytes() == content
    assert len(server.requests) == 2


@pytest.fixture
def published(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A miniature of every set, as a Zenodo record: documents, tables, and the audio in three archives."""
    for name in TAU_SETS:
        tau, root = TAU_SETS[name], make_tree(tmp_path / "published", name, monkeypatch)
        audio = sorted((root / "audio").iterdir())
        parts = {f"audio.{i + 1}": audio[i::3] for i in range(3)}
        parts["meta"] = [root / "meta.csv", *(root / "evaluation_setup").iterdir()]
        entries = []
        for part, files in parts.items():
            key = f"{tau.folder}.{part}.zip"
            with zipfile.ZipFile(tmp_path / key, "w") as archive:
                for file in files:
                    archive.write(file, f"{tau.folder}/{file.relative_to(root)}")
            publish(server, name, key, (tmp_path / key).read_bytes(), entries)
            (tmp_path / key).unlink()
        publish(server, name, "LICENSE.pdf", b"text", entries)
    return server


def publish(server: Server, name: str, key: str, content: bytes, entries: list[dict]) -> None:
    """Serve a file of the set's record and list it there."""
    record = TAU_SETS[name].record
    entries.append({"key": key, "size": len(content), "checksum": f"md5:{hashlib.md5(content).hexdigest()}"})
    server.files[f"/records/{record}/files/{key}"] = content
    server.files[f"/api/records/{record}"] = json.dumps({"id": record, "files": entries}).encode()


def fetched(server: Server, name: str, root: Path, **options: bool) -> Path:
    return fetch(name, root, base_url=server.url, pause_s=0.001, **options)


def archives_asked(server: Server) -> list[str]:
    return [path.rpartition("development.")[2] for path, _ in server.requests if path.endswith(".zip")]


@pytest.mark.parametrize("name", TAU_SETS)
def test_a_set_from_record_to_source(published: Server, tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    folder = fetched(published, name, root)
    assert folder == root / TAU_SETS[name].folder
    assert archives_asked(published) == ["meta.zip", "audio.1.zip", "audio.2.zip", "audio.3.zip"]
    assert check(f"{name}:{root}", decode=True).ok
    original = open_source(f"{name}:{tmp_path / 'published'}", tmp_path).clips
    clips = open_source(f"{name}:{root}", tmp_path).clips
    assert (clips.files, clips.labels, clips.splits) == (original.files, original.labels, original.splits)
    assert not list(root.rglob("*.zip")) and not list(root.rglob("*.part"))


def test_a_second_fetch_does_what_is_missing(published: Server, tmp_path: Path) -> None:
    root = tmp_path / "data"
    folder = fetched(published, "tau2022", root)
    published.requests.clear()
    fetched(published, "tau2022", root)
    assert archives_asked(published) == []
    second = sorted((folder / "audio").iterdir())[1]
    second.unlink()
    fetched(published, "tau2022", root, keep_archives=True)
    assert archives_asked(published) == ["audio.2.zip"]
    assert check(f"tau2022:{root}", decode=True).ok
    second.unlink()
    fetched(published, "tau2022", root)  # the archive was kept
    assert archives_asked(published) == ["audio.2.zip"]
    assert second.is_file()
    assert not list(root.rglob("*.zip"))


def test_a_fetch_that_breaks_off_goes_on(published: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"
    real, calls = fetching.unpack, []

    def killed(archive: Path, into: Path, **options: object) -> dict[str, int]:
        calls.append(archive.name)
        if len(calls) == 3:
            with zipfile.ZipFile(archive) as opened:
                opened.extract(opened.namelist()[0], into)
            raise KeyboardInterrupt
        return real(archive, into, **options)

    monkeypatch.setattr(fetching, "unpack", killed)
    with pytest.raises(KeyboardInterrupt):
        fetched(published, "tau2022", root)
    fetched(published, "tau2022", root)
    assert archives_asked(published) == ["meta.zip", "audio.1.zip", "audio.2.zip", "audio.3.zip"]
    assert [name.partition("development.")[2] for name in calls[2:]] == ["audio.2.zip", "audio.2.zip", "audio.3.zip"]
    assert check(f"tau2022:{root}", decode=True).ok


def test_drops_in_the_middle_of_archives(published: Server, tmp_path: Path) -> None:
    published.drop_after = 20_000
    fetched(published, "tau2020", tmp_path / "data")
    assert len(archives_asked(published)) > 10
    assert check(f"tau2020:{tmp_path / 'data'}").ok


def test_what_stops_a_fetch(published: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data"

    def error(name: str = "tau2022") -> str:
        with pytest.raises(DataError) as caught:
            fetched(published, name, root)
        return str(caught.value)

    assert "is none of tau2019, tau2020, tau2022" in error("tau2021")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000))
    assert "tau2022 does not fit" in error()
    assert archives_asked(published) == []
    monkeypatch.undo()
    # the published size counts now, not that of the miniature
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=30 * 10**9))
    assert "30.0 GB are free, about 30." in error()
    with FileLock(root / ".fetch" / "lock"):
        assert "another process fetches into this folder" in error()


def test_records_that_cannot_be_used(published: Server, tmp_path: Path) -> None:
    root, path = tmp_path / "data", f"/api/records/{TAU_SETS['tau2022'].record}"
    key = f"{TAU_SETS['tau2022'].folder}.meta.zip"

    def error() -> str:
        with pytest.raises(DataError) as caught:
            fetched(published, "tau2022", root)
        return str(caught.value)

    for record in (b"<html>", b"[]", b'{"files": [{}]}', b'{"files": 3}'):
        published.files[path] = record
        assert "is no list of files as expected" in error()
    published.files[path] = json.dumps({"files": [{"key": key, "size": 9, "checksum": "sha1:1"}]}).encode()
    assert "has no md5 or size" in error()
    published.files[path] = json.dumps({"files": [{"key": f"../{key}", "size": 9, "checksum": f"md5:{MD5}"}]}).encode()
    assert "lists no archive" in error()
    publish(published, "tau2022", key, b"no zip at all", [])
    assert "cannot be unpacked" in error()
    published.files.pop(f"/records/{TAU_SETS['tau2022'].record}/files/{key}")
    shutil.rmtree(root)
    assert "the server answers 404" in error()


def test_an_archive_that_leads_out_is_not_unpacked(published: Server, tmp_path: Path) -> None:
    key = f"{TAU_SETS['tau2022'].folder}.meta.zip"
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../evil", "x")
    publish(published, "tau2022", key, (tmp_path / "evil.zip").read_bytes(), [])
    with pytest.raises(DataError, match="is not safe to unpack"):
        fetched(published, "tau2022", tmp_path / "a" / "data")
    assert not list(tmp_path.rglob("evil"))
