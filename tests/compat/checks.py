"""Whether what a client reports is what the case calls for."""

import array
import base64
import binascii
import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from tests.compat.cases import Case, Error

BYTES_PER_S = 24_000 * 2
OK = "ok"


def verdict(case: Case, report: dict[str, Any] | None) -> str:
    """`OK`, or all that is wrong.

    Args:
        case: what was asked for.
        report: what the client got: words, thought, sounds (base64), finish, usage, error.
    """
    if report is None:
        return "no report"
    found, error = _error(report["error"]), case.error
    if found or error:
        return OK if found == error else f"{_named(found)} instead of {_named(error)}"
    return "; ".join(_faults(case, report)) or OK


def _error(reported: dict[str, Any] | None) -> Error | None:
    return Error(**reported) if reported else None


def _named(error: Error | None) -> str:
    return f"{error.name} {error.status} {error.code}" if error else "an answer"


def _faults(case: Case, report: dict[str, Any]) -> Iterator[str]:
    for phrase in case.says:
        if phrase not in report["words"]:
            yield f"no {phrase!r} in {report['words']!r}"
    if report["finish"] != ["stop"]:
        yield f"finish_reason {report['finish']}"
    if bool(report["thought"]) != bool(case.extra.get("enable_thinking")):
        yield f"thought {report['thought']!r}"
    usage = report["usage"]
    if not usage:
        yield "no usage in the last chunk"
        return
    yield from _miscounts(case, usage, thought=bool(report["thought"]))
    yield from _mishearings(case, report["sounds"], usage)


def _miscounts(case: Case, usage: dict[str, Any], *, thought: bool) -> Iterator[str]:
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    if min(prompt, completion) < 1 or usage["total_tokens"] != prompt + completion:
        yield f"total_tokens {usage['total_tokens']} of {prompt} + {completion}"
    details = usage["prompt_tokens_details"]
    for kind in case.kinds:
        if not details.get(f"{kind}_tokens"):
            yield f"no {kind}_tokens in {details}"
    if bool(usage["completion_tokens_details"].get("reasoning_tokens")) != thought:
        yield f"reasoning_tokens in {usage['completion_tokens_details']}"


def _mishearings(case: Case, sounds: list[str], usage: dict[str, Any]) -> Iterator[str]:
    tokens = usage["completion_tokens_details"].get("audio_tokens")
    if case.tokens_per_s is None:
        if sounds or tokens:
            yield f"{len(sounds)} pieces of speech and {tokens} audio_tokens unasked for"
        return
    try:
        pcm = _decoded(sounds)
    except binascii.Error as error:
        yield f"speech is not base64: {error}"
        return
    due = (tokens or 0) * BYTES_PER_S / case.tokens_per_s
    if not pcm or len(pcm) != due:
        yield f"{len(pcm)} bytes of speech for {tokens} audio_tokens, not {due:g}"
    elif not _is_voice(pcm):
        yield "speech is no 16-bit little-endian sound"


def _decoded(sounds: list[str]) -> bytes:
    """The speech; decoded piece by piece it must equal all pieces joined and then decoded."""
    pieces = b"".join(base64.b64decode(sound, validate=True) for sound in sounds)
    if base64.b64decode("".join(sounds), validate=True) != pieces:
        raise binascii.Error("pieces differ from the whole")
    return pieces


def _is_voice(pcm: bytes) -> bool:
    """Sound that is there, and smooth: bytes taken in the wrong order would be noise."""
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    level = sum(map(abs, samples))
    steps = sum(abs(after - before) for before, after in pairwise(samples))
    return level > 100 * len(samples) and steps < level
