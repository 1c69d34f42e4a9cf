"""Files of a Hub: read by their names, listed, and refused in our words."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from omni_batch.sources import Address, SourceFault, Sources
from omni_batch.sources.spool import Spool

FILES = {"a b#1.png": b"picture", "50%.wav": b"sound"}


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's API as reading one data set takes."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        name = path.rpartition("/")[2]
        if path == "/api/datasets/team/owls":
            self._answer(json.dumps({"id": "team/owls", "sha": "a" * 40}).encode())
        elif path.startswith("/api/datasets/team/owls/tree/"):
            about = {"type": "file", "oid": "1" * 40}
            found = [{**about, "path": key, "size": len(FILES[key])} for key in FILES]
            self._answer(json.dumps(found).encode())
        elif path.startswith("/datasets/team/owls/resolve/") and name in FILES:
            self._answer(FILES[name])
        else:
            self._answer(b"{}", 404)

    def _answer(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield Sources(spool=Spool(tmp_path))
    server.shutdown()
    server.server_close()
    thread.join()


def at(name: str) -> Address:
    return Address.of(f"hf://datasets/team/owls/{name}")


def test_files_are_read_listed_and_known_by_their_version(sources: Sources) -> None:
    for name, content in FILES.items():
        assert sources.object(at(name)).path.read_bytes() == content
        assert sources.head(at(name)).size_bytes == len(content)
        assert sources.head(at(name)).version == "1" * 40
        assert sources.signed(at(name), 60) is None
    assert list(sources.keys(at(""))) == [f"datasets/team/owls/{name}" for name in sorted(FILES)]


@pytest.mark.parametrize("address", [at("none.png"), Address.of("hf://datasets/team/none/a.png")])
def test_what_is_not_there_is_named(sources: Sources, address: Address) -> None:
    with pytest.raises(SourceFault, match=f"{address} does not exist"):
        sources.object(address)
