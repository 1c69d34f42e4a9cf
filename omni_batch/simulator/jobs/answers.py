"""The lines of a job's files: each request answered as the live service would, or as scripted."""

import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from omni_batch.simulator.api.compose import compose
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.refusal import Refused
from omni_batch.simulator.dialects import Dialect
from omni_batch.simulator.jobs.checks import TRIAL_MODEL
from omni_batch.simulator.jobs.script import JobScript
from omni_batch.simulator.jobs.store import JobStore, MadeJob

_UNDONE = {
    "expired": "This request could not be executed before the completion window expired.",
    "cancelled": "This request could not be executed before the batch was cancelled.",
}


@dataclass(slots=True)
class _Results:
    """What a job writes."""

    output: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    answered: int = 0


def write(job: MadeJob, store: JobStore, dialect: Dialect) -> None:
    """Write a job's files, once it has ended."""
    if job.is_written or not job.has_ended:
        return
    job.is_written = True
    if job.state == "failed":
        return
    results = _Results()
    for place, raw in enumerate(job.file.lines()):
        fault = job.script.lines.get(place, job.script.all_lines)
        if job.cancelled_s is not None:
            fault = "undone"
        _answer(msgspec.json.decode(raw), fault, job, dialect, results)
    for number in range(job.script.strange):
        results.output.append(_line(f"nobody-{number}", 200, _completion("for nobody")))
    job.answered = results.answered
    if results.output:
        job.output = _kept(results.output, job.script, store)
    if results.errors:
        job.errors = _kept(results.errors, job.script, store)


def _answer(
    line: dict[str, Any], fault: str | None, job: MadeJob, dialect: Dialect, results: _Results
) -> None:
    custom_id, body = line["custom_id"], line["body"]
    if fault in _FAULTS:
        where, made = _FAULTS[fault](custom_id, job)
        {"output": results.output, "errors": results.errors}.get(where, []).append(made)
        return
    if fault == "absent":
        return
    try:
        reply = _reply(body, dialect)
    except Refused as refused:
        uid = uuid.uuid4().hex
        said = msgspec.json.decode(refused.refusal.body(uid).removeprefix(b"data: "))
        results.errors.append(_line(custom_id, refused.refusal.status, said))
        return
    whole = _line(custom_id, 200, _bent(reply, fault))
    results.answered += 1
    results.output.append(whole[: len(whole) // 2] + b"\n" if fault == "half" else whole)
    if fault == "twice":
        results.output.append(_line(custom_id, 200, _completion("quite another answer")))


def _reply(body: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    if body.get("model") == TRIAL_MODEL:
        return _completion("a trial")
    plan = compose(body, str(uuid.uuid4()), dialect)
    reply: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dialect.completion(plan)))
    return reply


def _bent(reply: dict[str, Any], fault: str | None) -> dict[str, Any]:
    choice = reply["choices"][0]
    if fault == "unbilled":
        return {name: value for name, value in reply.items() if name != "usage"}
    if fault == "two_choices":
        message = {**choice["message"], "content": "a second choice"}
        return {**reply, "choices": [choice, {**choice, "index": 1, "message": message}]}
    if fault == "empty":
        message = {**choice["message"], "content": None}
        return {**reply, "choices": [{**choice, "message": message}]}
    return reply


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"id": "chatcmpl-0", "object": "chat.completion", "choices": [choice], "usage": usage}


def _line(custom_id: str, status: int, body: Any) -> bytes:
    response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
    return _encoded({"custom_id": custom_id, "response": response, "error": None})


def _refused(custom_id: str, code: str, message: str) -> bytes:
    error = {"code": code, "message": message}
    return _encoded({"custom_id": custom_id, "response": None, "error": error})


def _encoded(line: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"id": f"batch_req_{uuid.uuid4().hex[:8]}", **line}) + b"\n"


def _with_status(custom_id: str, said: refusal.Refusal) -> bytes:
    error = {"code": said.code, "message": said.message, "type": said.type}
    return _line(custom_id, said.status, {"error": error})


_Made = tuple[str, bytes]
_FAULTS: dict[str, Callable[[str, MadeJob], _Made]] = {
    "undone": lambda name, job: (
        "errors",
        _refused(name, f"batch_{job.state}", _UNDONE.get(job.state, "Not executed.")),
    ),
    "refused": lambda name, _: (
        "errors",
        _refused(name, "invalid_parameter_error", "Range of input length should be [1, 258048]"),
    ),
    "broken_down": lambda name, _: (
        "errors",
        _refused(name, "internal_error", refusal.INTERNAL.message),
    ),
    "inspected": lambda name, _: ("output", _with_status(name, refusal.inspection_failed("Input"))),
    "limited": lambda name, _: ("output", _with_status(name, refusal.RATE)),
    "page": lambda name, _: ("output", _line(name, 502, "<html><body>Bad Gateway</body></html>")),
    "unanswered": lambda name, _: ("errors", _line(name, 0, {})),
    "nothing": lambda name, _: (
        "output",
        _encoded({"custom_id": name, "response": None, "error": None}),
    ),
}
"""Lines that are no answers, and the file they stand in."""


def _kept(lines: list[bytes], script: JobScript, store: JobStore) -> Any:
    if script.reverse:
        lines = lines[::-1]
    if script.crlf:
        middle = len(lines) // 2
        lines = [line.replace(b"\n", b"\r\n") for line in (*lines[:middle], b"\n", *lines[middle:])]
    content = io.BytesIO()
    size_bytes = content.write(b"\xef\xbb\xbf" if script.bom else b"")
    size_bytes += sum(content.write(line) for line in lines)
    return store.keep(content, size_bytes, "batch_output")
