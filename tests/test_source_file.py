"""Where tables come from: compressed files, archives, standard input, http servers."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
import pytest

from mlrun.data import remote_file, source_file
from mlrun.data.remote_file import is_remote, local_copy
from mlrun.data.source_file import find_source
from mlrun.data.text_table import read_cells
from mlrun.errors import MlrunError

TABLE = b"x,y\n1,2\n3,4\n"
ROWS = [["1", "2"], ["3", "4"]]


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")


def rows(path: Path) -> list[list[Any]]:
    return read_cells(path).table.to_numpy().tolist()


def error_of(name: str) -> str:
    with pytest.raises(MlrunError) as caught:
        read_cells(Path(name))
    return str(caught.value)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: bytes(pa.compress(content, "zstd", asbytes=True)),
    ".zip": lambda content: zipped({"t.csv": content}),
}


# --- compressed files -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", PACK)
def test_a_compressed_table_is_read(suffix, monkeypatch):
    path = Path(f"t.csv{suffix}")
    path.write_bytes(PACK[suffix](TABLE))
    assert rows(path) == ROWS
    monkeypatch.setattr(source_file, "IN_MEMORY", 3)
    assert rows(path) == ROWS  # unpacked twice


def test_the_content_counts_and_not_the_name():
    Path("t.csv").write_bytes(gzip.compress(TABLE))
    Path("u.csv.gz").write_bytes(TABLE)
    assert rows(Path("t.csv")) == rows(Path("u.csv.gz")) == ROWS


def test_several_gzip_members_are_one_table():
    Path("t.csv.gz").write_bytes(gzip.compress(TABLE) + gzip.compress(b"5,6\n"))
    assert rows(Path("t.csv.gz")) == [*ROWS, ["5", "6"]]


@pytest.mark.parametrize("suffix", PACK)
def test_a_damaged_compressed_file_is_one_error(suffix):
    whole = PACK[suffix](b"".join(b"%d,%d\n" % (i, i * i) for i in range(2000)))
    Path(f"t{suffix}").write_bytes(whole[: len(whole) // 2])
    message = error_of(f"t{suffix}")
    assert message.startswith(f"t{suffix} cannot be unpacked: ")


def test_content_that_unpacks_to_an_unreasonable_size_is_refused(monkeypatch):
    monkeypatch.setattr(source_file, "FROM", 10_000)
    Path("t.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 10_000_000))
    assert "is refused: its " in error_of("t.csv.gz")
    monkeypatch.setattr(source_file, "LARGEST", 5)
    Path("u.csv.gz").write_bytes(gzip.compress(TABLE))
    assert "is refused: its " in error_of("u.csv.gz")


def test_a_tar_archive_is_named():
    Path("t.tar.gz").write_bytes(gzip.compress(b"any"))
    assert error_of("t.tar.gz") == "t.tar.gz is a tar archive: unpack it and name the table"


def test_a_path_may_have_a_tilde_and_blanks(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my table.csv").write_bytes(TABLE)
    assert rows(Path("~/my table.csv")) == ROWS
    assert local_copy("~/my table.csv") == tmp_path / "my table.csv"


# --- zip archives ---------------------------------------------------------------------------


def test_one_table_among_other_files_of_an_archive_is_read_and_said():
    files = {"readme.md": b"#", "__MACOSX/._t.csv": b"x", "a/t.csv": TABLE, ".DS_Store": b"x"}
    Path("t.zip").write_bytes(zipped(files))
    assert rows(Path("t.zip")) == ROWS
    (finding,) = read_cells(Path("t.zip")).findings
    assert (finding.what, finding.value) == ("archive", "reads 'a/t.csv' in the zip file")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"b.csv": TABLE, "a.csv": TABLE}, "t.zip contains 2 tables (a.csv, b.csv); unpack it"),
        ({"readme.md": b"#"}, "t.zip contains no table; unpack it"),
    ],
)
def test_an_archive_with_several_tables_or_none_is_refused(files, message):
    Path("t.zip").write_bytes(zipped(files))
    assert error_of("t.zip").startswith(message)


def test_an_archive_inside_a_name_that_climbs_is_only_read():
    Path("t.zip").write_bytes(zipped({"../../t.csv": TABLE}))
    assert rows(Path("t.zip")) == ROWS
    assert find_source(Path("t.zip")).name == "t.csv"


# --- standard input -------------------------------------------------------------------------


class Stdin:
    def __init__(self, content: bytes, terminal: bool = False) -> None:
        self.buffer, self._terminal = io.BytesIO(content), terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def _once() -> Iterator[None]:
    for cached in (remote_file._standard_input, remote_file._download):
        cached.cache_clear()
    yield
    for cached in (remote_file._standard_input, remote_file._download):
        cached.cache_clear()


@pytest.mark.usefixtures("_once")
def test_standard_input_is_read_once_and_kept_under_its_hash(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(TABLE))
    path = local_copy("-")
    assert local_copy(Path("-")) == path
    assert path.parent.name == hashlib.sha256(TABLE).hexdigest()
    assert rows(path) == ROWS


@pytest.mark.usefixtures("_once")
def test_messages_name_standard_input_and_not_the_file_that_stores_it(monkeypatch, mlrun):
    monkeypatch.setattr(sys, "stdin", Stdin(b"a,y\n1,2\n2,3,4\n"))
    answer = mlrun("task=csv", "data.train=-", "data.target=y")
    assert answer.err == "error: stdin, line 3: 3 fields, but the header has 2\n"


@pytest.mark.usefixtures("_once")
def test_a_terminal_is_no_table(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(b"", terminal=True))
    with pytest.raises(MlrunError, match="terminal"):
        local_copy("-")


@pytest.mark.usefixtures("_once")
def test_without_a_cache_folder_a_file_has_to_be_named(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(TABLE))
    monkeypatch.setattr(remote_file, "cache_folder", lambda _: None)
    with pytest.raises(MlrunError, match="name a file instead"):
        local_copy("-")


# --- http -----------------------------------------------------------------------------------


class Server(HTTPServer):
    """Answers with `content`, or with 304 to those who know its tag."""

    content, tag, cut = TABLE, "one", False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        known = self.headers.get("If-None-Match")
        self.server.asked.append(known)
        status = 404 if "none" in self.path else 304 if known == self.server.tag else 200
        self.send_response(status)
        self.send_header("ETag", self.server.tag)
        if status == 200:
            self.send_header("Content-Length", str(len(self.server.content) + self.server.cut))
        self.end_headers()
        if status == 200:
            self.wfile.write(self.server.content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, _once: None) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def again(address: str) -> Path:
    """Ask as another process does."""
    remote_file._download.cache_clear()
    return local_copy(address)


def test_an_address_is_stored_under_the_hash_of_its_content(server):
    path = local_copy(f"{server.address}/a%20b/my%20table.csv?key=1")
    assert path.name == "my table.csv"
    assert path.parent.name == hashlib.sha256(TABLE).hexdigest()
    assert rows(path) == ROWS


def test_an_address_that_was_a_path_is_still_one(server):
    assert rows(local_copy(Path(f"{server.address}/t.csv"))) == ROWS
    assert is_remote(Path("https://example.org/t.csv"))
    assert not is_remote("t.csv")


def test_the_same_content_is_not_loaded_twice(server):
    first = local_copy(f"{server.address}/t.csv")
    local_copy(f"{server.address}/t.csv")
    assert again(f"{server.address}/t.csv") == first
    assert server.asked == [None, "one"]


def test_new_content_is_loaded(server):
    local_copy(f"{server.address}/t.csv")
    server.content, server.tag = b"x,y\n5,6\n", "two"
    assert rows(again(f"{server.address}/t.csv")) == [["5", "6"]]


def test_a_server_that_does_not_answer_is_replaced_by_the_stored_content(server, caplog):
    address = f"{server.address}/t.csv"
    first = local_copy(address)
    server.cut = True
    server.tag = "two"
    assert again(address) == first
    assert "using the stored copy" in caplog.text


def test_what_does_not_exist_is_refused_without_its_secrets(server):
    address = server.address.replace("//", "//user:secret@")
    with pytest.raises(MlrunError) as caught:
        local_copy(f"{server.address}/none.csv?token=secret")
    assert str(caught.value) == f"cannot read {server.address}/none.csv: 404 Not Found"
    assert "secret" not in remote_file._shown(f"{address}/t.csv?token=secret")


def test_content_that_ends_early_is_refused(server):
    server.cut = True
    with pytest.raises(MlrunError, match="the content ended early"):
        local_copy(f"{server.address}/t.csv")


def test_a_server_that_is_not_there_is_one_error(server):
    with pytest.raises(MlrunError, match=r"cannot read http://127\.0\.0\.1:9/t\.csv: "):
        local_copy("http://127.0.0.1:9/t.csv")


def test_a_page_instead_of_a_table_is_named(server):
    server.content = b"<!DOCTYPE html><html></html>"
    with pytest.raises(MlrunError, match="is an HTML page, not a table"):
        read_cells(local_copy(f"{server.address}/t.csv"))


def test_the_least_recently_used_contents_are_deleted(server, monkeypatch):
    monkeypatch.setattr(remote_file, "MOST_FILES", 1)
    first = local_copy(f"{server.address}/t.csv")
    server.content, server.tag = b"x,y\n5,6\n", "two"
    assert again(f"{server.address}/t.csv").is_file()
    assert not first.exists()


@pytest.mark.slow
def test_an_address_is_recorded_without_its_secret(server, mlrun):
    server.content = b"x,y\n" + b"".join(b"%d,%d\n" % (i, 2 * i) for i in range(30))
    word = f"data.train={server.address}/a.csv?token=5ecre7-5ecre7&v=1"
    words = ("task=csv", word, "trainer.engine=autograd", "trainer.epochs=2", "quiet=true")
    assert mlrun(*words, "scheduler=constant", "hydra.run.dir=run").code == 0
    hidden = f"{server.address}/a.csv?token=(not recorded)&v=1"
    record = json.loads(Path("run/run.json").read_text())
    assert record["config"]["data"]["train"] == hidden
    assert hidden in record["command"]
    for command in (["rerun", "run"], ["resume", "run", "trainer.epochs=3"]):
        assert mlrun(*command).code == 0  # from the stored copy
    assert mlrun("-m", *words, "seed=0,1", "hydra.sweep.dir=sweep").code == 0
    written = [path for path in Path().glob("[rs]*/**/*") if path.is_file()]
    assert not [path for path in written if b"5ecre7" in path.read_bytes()]
    Path("sweep/0/run.json").unlink()
    answer = mlrun("resume", "sweep")
    assert answer.code == 2
    assert "data.train has an address with a secret, which is not recorded" in answer.err
