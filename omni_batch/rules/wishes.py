"""Rules on what is asked for: speech, thinking, options. Pure."""

import difflib
from collections.abc import Iterator
from typing import Any

from omni_batch.request import SPECIAL_OPTIONS
from omni_batch.rules.case import Case, Violation, kind_of, number
from omni_batch.types import Modality

_FPS = (0.1, 10.0)  # chat reference, 2026
_SEEN: frozenset[Modality] = frozenset({"image", "video", "frames"})
_SENT_BESIDE = dict.fromkeys(("fps", "total_pixels"), frozenset[Modality]({"video", "frames"}))
"""Kinds of media that an option goes with; those not named go with all that is seen."""


def _speech(case: Case) -> Iterator[Violation]:
    if not case.request.wants_audio:
        return
    remedy = "set request.modalities: [text]"
    if case.thinking:
        yield Violation(
            "speech-with-thinking",
            f"thinking is on, so that there is no speech: set request.thinking: false, or {remedy}",
        )
    if case.model is not None and not case.model.audio_out:
        yield Violation("speech-not-offered", f"{case.name} gives no speech: {remedy}", "audio_out")
    if not case.server.speaks:
        yield Violation("speech-not-served", f"{case.server.name} gives no speech: {remedy}")
    if not case.request.voice and case.server.needs_voice:
        yield Violation("voice-missing", f"{case.name} has no known voice: set request.voice")


def _thinking(case: Case) -> Iterator[Violation]:
    if case.thinking and case.model is not None and case.model.thinking == "no":
        yield Violation(
            "thinking-not-offered",
            f"request.thinking is on; {case.name} has no such mode: remove it",
            "thinking",
        )


def _token_options(case: Case) -> Iterator[Violation]:
    for option, fact in (
        ("max_tokens", "max_output_tokens"),
        ("thinking_budget", "max_thinking_tokens"),
    ):
        value, limit = case.request.options.get(option), getattr(case.model, fact, None)
        if limit is not None and isinstance(value, int) and value > limit:
            yield Violation(
                f"{option.replace('_', '-')}-too-large",
                f"request.{option} is {value:,}; {case.name} takes {limit:,} at most: lower it",
                fact,
            )


def _fps(case: Case) -> Iterator[Violation]:
    fps = _sent(case).get("fps")
    if isinstance(fps, int | float) and not _FPS[0] <= fps <= _FPS[1]:
        yield Violation("fps-range", f"request.fps is {number(fps)}: set it between 0.1 and 10")


def _options(case: Case) -> Iterator[Violation]:
    if case.model is None:
        return
    sent = _sent(case)
    for name in sorted(sent.keys() & SPECIAL_OPTIONS - set(case.model.parameters)):
        if sent[name] is not False:  # as good as unsaid
            yield Violation(
                "option-not-taken",
                f"request.{name} is {sent[name]!r}; {case.name} knows no such option: remove it",
                "parameters",
            )


def _sent(case: Case) -> dict[str, Any]:
    """All options that go out, those beside media only with such media."""
    kinds = {kind_of(part) for part in case.parts()}
    beside = {
        name: value
        for name, value in case.request.media_options.items()
        if kinds & _SENT_BESIDE.get(name, _SEEN)
    }
    return {**case.request.options, **beside}


def _voice(case: Case) -> Iterator[str]:
    model, voice = case.model, case.request.voice
    if not case.request.wants_audio or not voice or model is None or not model.voices:
        return
    if voice in model.voices:
        return
    by_letters = {known.casefold(): known for known in model.voices}
    near = difflib.get_close_matches(voice.casefold(), by_letters, n=1)
    hint = f"did you mean {by_letters[near[0]]}?" if near else f"try {model.default_voice}"
    clone = " (a cloned voice of the account is none of it)" if model.cloned_voices else ""
    yield f"voice {voice} is not in the catalogue's list for {case.name}{clone}; {hint}"


RULES = (_speech, _thinking, _token_options, _fps, _options)
DOUBTS = (_voice,)
