"""An S3 server in this process (moto's), whose answers a test can spoil."""

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
BUCKET = "photos"
SECRET = "a-secret-of-the-tests/0123456789"
TOKEN = "a-token-of-the-tests-0123456789"
_SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIATESTS/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
}
"""Moto checks no signature, but wants to see one."""


@dataclass
class Fault:
    """What happens to requests that fit, `times` times."""

    status: int = 0
    code: str = ""
    method: str = ".*"
    key: str = ".*"
    times: int = 10**9
    cut: bool = False
    """The answer ends in the middle."""
    hang_up: Literal["", "before", "after"] = ""
    """The connection ends before the request is heeded, or after it."""
    then: Callable[[], object] = field(default=lambda: None)
    """Called after the real answer was made."""


class ObjectServer:
    """The server, what was asked of it, and what goes wrong."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        """Methods and keys; LIST for listings."""
        self.faults: list[Fault] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def environment(self) -> dict[str, str]:
        """What a user would export."""
        return {
            "AWS_ACCESS_KEY_ID": "AKIATESTS0123456789",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def put(self, key: str, data: bytes, bucket: str = BUCKET) -> None:
        """Store an object, to the letter."""
        # Not httpx, which takes dots out of paths.
        connection = HTTPConnection("127.0.0.1", self._server.server_port)
        connection.request("PUT", f"/{bucket}/{quote(key, safe='/~')}", data, _SIGNED)
        assert connection.getresponse().status == 200
        connection.close()
        self.asked.clear()

    def fetched(self, url: str) -> bytes:
        """What somebody without credentials gets at an address, to the letter."""
        connection = HTTPConnection("127.0.0.1", self._server.server_port)
        connection.request("GET", url.removeprefix(self.url))
        content = connection.getresponse().read()
        connection.close()
        return content

    def content(self, key: str, bucket: str = BUCKET) -> bytes | None:
        """All of an object as it is now, past all faults; None where there is none."""
        answer = self._direct("GET", f"/{bucket}/{quote(key, safe='/~')}")
        return answer.content if answer.status_code == 200 else None

    def all_keys(self, bucket: str = BUCKET) -> list[str]:
        """Of all objects, past all faults; at most a thousand."""
        listing = self._direct("GET", f"/{bucket}?list-type=2&encoding-type=url").text
        return [unquote(key) for key in re.findall(r"<Key>(.*?)</Key>", listing)]

    def begin_upload(self, key: str, bucket: str = BUCKET) -> None:
        """Begin an upload in pieces, and leave it so."""
        self._direct("POST", f"/{bucket}/{quote(key, safe='/~')}?uploads")

    def unfinished(self, bucket: str = BUCKET) -> int:
        """Uploads in pieces that were neither completed nor aborted."""
        return self._direct("GET", f"/{bucket}?uploads").text.count("<Upload>")

    def _direct(self, method: str, path: str) -> httpx.Response:
        kept, self.faults, asked = self.faults, [], len(self.asked)
        answer = httpx.request(method, self.url + path, headers=_SIGNED)
        self.faults = kept
        del self.asked[asked:]
        return answer

    def count(self, method: str, key: str = "") -> int:
        """How often it was asked for keys that end so."""
        return sum(each == method and name.endswith(key) for each, name in self.asked)

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        key = unquote(environ["RAW_URI"].partition("?")[0][1:]).partition("/")[2]
        listing = environ["REQUEST_METHOD"] == "GET" and not key
        method = "LIST" if listing else environ["REQUEST_METHOD"]
        self.asked.append((method, key or parse_qs(environ["QUERY_STRING"]).get("prefix", [""])[0]))
        fault = self._fault(method, key)
        if fault is not None and fault.status:
            start(f"{fault.status} no", [("Content-Type", "application/xml")])
            text = f"<Error><Code>{fault.code}</Code><Message>so it is</Message></Error>"
            return [b"" if method == "HEAD" else text.encode()]
        if fault is not None and fault.hang_up == "before":
            start("500 nobody hears it", [])
            return _hang_up(environ)
        if "X-Amz-Signature" not in environ["QUERY_STRING"]:
            environ.setdefault("HTTP_AUTHORIZATION", _SIGNED["Authorization"])
        answer = b"".join(self._moto(environ, start))
        if fault is not None:
            fault.then()
            if fault.hang_up:
                return _hang_up(environ)
            if fault.cut:
                return [answer[: len(answer) // 2]]
        return [answer]

    def _fault(self, method: str, key: str) -> Fault | None:
        for fault in self.faults:
            if re.fullmatch(fault.method, method) and re.search(fault.key, key) and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def reset(self) -> None:
        """One empty bucket, and nothing goes wrong."""
        self.faults.clear()
        httpx.post(f"{self.url}/moto-api/reset")
        httpx.put(f"{self.url}/{BUCKET}", headers=_SIGNED)
        self.asked.clear()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer from a thread, until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def _hang_up(environ: dict[str, Any]) -> Iterable[bytes]:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return [b""]
