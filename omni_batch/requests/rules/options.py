"""Rules on what is asked for: speech, thinking, options. Pure."""

from collections.abc import Iterator
from typing import Any

from omni_batch.requests.build import SPECIAL_OPTIONS
from omni_batch.requests.rules.context import RuleContext, Violation, kind_of, number
from omni_batch.text import nearest
from omni_batch.types import Modality

_FPS = (0.1, 10.0)  # chat reference, 2026
_SEEN: frozenset[Modality] = frozenset({"image", "video", "frames"})
_SENT_BESIDE = dict.fromkeys(("fps", "total_pixels"), frozenset[Modality]({"video", "frames"}))
"""Kinds of media that an option goes with; those not named go with all that is seen."""


def _speech(context: RuleContext) -> Iterator[Violation]:
    if not context.request.wants_audio:
        return
    remedy = "set request.modalities: [text]"
    if context.thinking:
        yield Violation(
            "speech-with-thinking",
            f"thinking is on, so that there is no speech: set request.thinking: false, or {remedy}",
        )
    if context.model is not None and not context.model.audio_out:
        yield Violation(
            "speech-not-offered", f"{context.name} gives no speech: {remedy}", "audio_out"
        )
    if not context.server.speaks:
        yield Violation("speech-not-served", f"{context.server.name} gives no speech: {remedy}")
    if not context.request.voice and context.server.needs_voice:
        yield Violation("voice-missing", f"{context.name} has no known voice: set request.voice")


def _thinking(context: RuleContext) -> Iterator[Violation]:
    if context.thinking and context.model is not None and context.model.thinking == "no":
        yield Violation(
            "thinking-not-offered",
            f"request.thinking is on; {context.name} has no such mode: remove it",
            "thinking",
        )


def _token_options(context: RuleContext) -> Iterator[Violation]:
    for option, fact in (
        ("max_tokens", "max_output_tokens"),
        ("thinking_budget", "max_thinking_tokens"),
    ):
        value, limit = context.request.options.get(option), getattr(context.model, fact, None)
        if limit is not None and isinstance(value, int) and value > limit:
            yield Violation(
                f"{option.replace('_', '-')}-too-large",
                f"request.{option} is {value:,}; {context.name} takes {limit:,} at most: lower it",
                fact,
            )


def _fps(context: RuleContext) -> Iterator[Violation]:
    fps = _sent(context).get("fps")
    if isinstance(fps, int | float) and not _FPS[0] <= fps <= _FPS[1]:
        yield Violation("fps-range", f"request.fps is {number(fps)}: set it between 0.1 and 10")


def _options(context: RuleContext) -> Iterator[Violation]:
    if context.model is None:
        return
    sent = _sent(context)
    for name in sorted(sent.keys() & SPECIAL_OPTIONS - set(context.model.parameters)):
        if sent[name] is not False:  # as good as unsaid
            yield Violation(
                "option-not-taken",
                f"request.{name} is {sent[name]!r}; {context.name} knows no such option: remove it",
                "parameters",
            )


def _sent(context: RuleContext) -> dict[str, Any]:
    """All options that go out, those beside media only with such media."""
    kinds = {kind_of(part) for part in context.parts()}
    beside = {
        name: value
        for name, value in context.request.media_options.items()
        if kinds & _SENT_BESIDE.get(name, _SEEN)
    }
    return {**context.request.options, **beside}


def _voice(context: RuleContext) -> Iterator[str]:
    model, voice = context.model, context.request.voice
    if not context.request.wants_audio or not voice or model is None or not model.voices:
        return
    if voice in model.voices:
        return
    near = nearest(voice, model.voices)
    hint = f"did you mean {near}?" if near else f"try {model.default_voice}"
    clone = " (a cloned voice of the account is none of it)" if model.cloned_voices else ""
    yield f"voice {voice} is not in the catalogue's list for {context.name}{clone}; {hint}"


RULES = (_speech, _thinking, _token_options, _fps, _options)
WARNINGS = (_voice,)
