"""What the service holds a file of requests against, before it works on it (Batch pages, 2026)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

MOST_LINES = 50_000
MOST_FILE_BYTES = 500_000_000
MOST_LINE_BYTES = 6 * 2**20
_ID_CHARS = 64
_TRIAL_URL = "/v1/chat/ds-test"
TRIAL_MODEL = "batch-test-model"
"""Free, and answered at a URL of its own."""


def complaint(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    """One entry of a job's errors."""
    return {"code": code, "line": line, "message": message, "param": None}


@dataclass(slots=True)
class Checked:
    """A file once it was read."""

    ids: list[Any] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    models: set[Any] = field(default_factory=set)
    complaints: list[dict[str, Any]] = field(default_factory=list)

    def read(self, raw: bytes, number: int, endpoint: str) -> None:
        """One line; from 1."""
        try:
            line = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            said = "This line is not parseable as valid JSON."
            self.complaints.append(complaint("invalid_json_line", said, number))
            return
        body = line.get("body") if isinstance(line.get("body"), dict) else {}
        found = _complaints(line, body or {}, len(raw.rstrip(b"\n")), endpoint)
        self.complaints += [complaint(code, message, number) for code, message in found]
        if str(line.get("custom_id")) in self.seen:
            doubled = f"The custom_id '{line['custom_id']}' is a duplicate."
            self.complaints.append(complaint("duplicate_custom_id", doubled, number))
        self.ids.append(line.get("custom_id"))
        self.seen.add(str(line.get("custom_id")))
        self.models.add((body or {}).get("model"))


def checked(lines: Iterable[bytes], size_bytes: int, endpoint: str) -> Checked:
    """Hold a whole file against the limits."""
    found = Checked()
    for number, raw in enumerate(lines, 1):
        found.read(raw, number, endpoint)
    if not found.ids:
        found.complaints.append(complaint("empty_file", "The batch file is empty."))
    if len(found.ids) > MOST_LINES:
        said = f"The batch file has more than {MOST_LINES} requests."
        found.complaints.append(complaint("too_many_tasks", said))
    if size_bytes > MOST_FILE_BYTES:
        found.complaints.append(complaint("file_too_large", "The batch file is too large."))
    if len(found.models) > 1:
        said = "All requests of a batch must have the same model."
        found.complaints.append(complaint("mismatched_model", said))
    return found


def _complaints(
    line: dict[str, Any], body: dict[str, Any], line_bytes: int, endpoint: str
) -> Iterator[tuple[str, str]]:
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= _ID_CHARS:
        yield "invalid_custom_id", f"custom_id must be a string of 1 to {_ID_CHARS} characters."
    if line.get("method") != "POST":
        yield "invalid_method", "The method must be POST."
    if line.get("url") != endpoint or (body.get("model") == TRIAL_MODEL) != (
        endpoint == _TRIAL_URL
    ):
        yield "invalid_url", f"The url {line.get('url')} does not match the endpoint {endpoint}."
    if body.get("stream"):
        yield "invalid_request", "Streaming is not supported in batch."
    if "extra_body" in body:
        yield "invalid_request", "Unrecognized request argument supplied: extra_body"
    if line_bytes > MOST_LINE_BYTES:
        yield "line_too_large", "The line is over 6 MB."


def wrong_wish(wish: dict[str, Any]) -> str | None:
    """What is wrong with the request for a job."""
    metadata = wish.get("metadata") or {}
    if not isinstance(metadata, dict) or len(metadata) > 16:
        return "metadata must be an object of at most 16 pairs."
    for key, value in metadata.items():
        if not isinstance(value, str) or len(value) > 512 or len(key) > 64:
            return f"metadata.{key} must be a string of at most 512 characters."
    window = wish.get("completion_window")
    if not isinstance(window, str) or not window.endswith("h") or not window[:-1].isdigit():
        return "completion_window must be given in hours, such as 24h."
    return None if 24 <= int(window[:-1]) <= 336 else "completion_window must be 24h to 336h."
