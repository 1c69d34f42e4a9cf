"""The bundled simulator as a process of its own, which writes a book of what it says.

python -m tests.soak.service OPTIONS_AS_JSON BOOK
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from starlette.types import Message, Receive, Scope, Send

from omni_batch.simulator import SimulatorOptions, serve
from omni_batch.simulator.app import App
from tests.soak.book import Book, item_of, told_by

_BILL = b'"total_tokens"'  # no word of the items'
USUAL_FAULTS = {"cut": 0.03, "reset": 0.02, "error_500": 0.03, "cut_line": 0.01, "rate_limit": 0.01}
"""That every minute of a service has."""


class Service:
    """The process and its book, as the soak sees them."""

    def __init__(self, folder: Path, key: str, **options: Any) -> None:
        self._options = {"api_key": key, "scriptable": True, "faults": USUAL_FAULTS, **options}
        self._path, self._starts = folder / "book.jsonl", 0
        self.book = Book(self._path)
        self.base_url = ""
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        self._starts += 1  # another seed each time: no request id comes twice
        options = json.dumps({**self._options, "seed": self._starts})
        command = [sys.executable, "-m", "tests.soak.service", options, str(self._path)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert process.stdout is not None
        self.base_url = process.stdout.readline().strip()
        self._options["port"] = int(self.base_url.split(":")[2].partition("/")[0])
        return process

    def restart(self, away_s: float) -> None:
        """It dies with all that it was saying, and comes back at the same port."""
        self.stop()
        time.sleep(away_s)
        self._process = self._start()

    def fail(self, faults: Mapping[str, float]) -> None:
        """Meet the requests from now on with these faults."""
        self._options["faults"] = dict(faults)
        url = self.base_url.partition("/compatible")[0] + "/simulator/options"
        body = json.dumps({"faults": self._options["faults"]}).encode()
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
            answer.read()

    def stop(self) -> None:
        """At once."""
        self._process.kill()
        self._process.communicate()


class _Listening(App):
    """The simulator, with somebody who writes down what comes and what goes."""

    path: Path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ear = _Ear(self.path, receive, send)
        await super().__call__(scope, ear.receive, ear.send)


class _Ear:
    """One request."""

    def __init__(self, path: Path, receive: Receive, send: Send) -> None:
        self._path, self._receive, self._send = path, receive, send
        self._body, self._answer, self._item_id = b"", b"", ""
        self._request_id = ""

    async def receive(self) -> Message:
        """What came."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._body += message.get("body", b"")
            if not message.get("more_body") and (item_id := item_of(self._body)):
                self._item_id = item_id
                self._write({"asked": item_id})
        return message

    async def send(self, message: Message) -> None:
        """What goes."""
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            self._request_id = headers.get(b"x-request-id", b"").decode()
        else:
            self._answer += message.get("body", b"")
            if _BILL in message.get("body", b""):
                self._write_answer()
        await self._send(message)

    def _write_answer(self) -> None:
        """With its bill it is whole, whatever becomes of its end."""
        told = told_by(self._item_id, self._answer) if self._item_id else None
        if told:
            self._write({"request_id": self._request_id, "told": asdict(told)})

    def _write(self, line: dict[str, Any]) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")


def _end_with_starter() -> None:
    sys.stdin.read()
    os._exit(0)


def main(options: str, book: str) -> None:
    """Serve until killed, or until nobody is there any more; the first line is the base URL."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    _Listening.path = Path(book)
    given = msgspec.json.decode(options, type=SimulatorOptions)
    serve(given, ready=lambda url: print(url, flush=True), app=_Listening)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
