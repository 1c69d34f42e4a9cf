"""Replies as SSE frames (Model Studio guide, Dec 2025; key orders as in traffic of Feb 2026)."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from omni_batch.simulator.answer import Answer, pieces
from omni_batch.simulator.chat import Chat
from omni_batch.simulator.speech import Piece, SpeechForm, speak
from omni_batch.simulator.tokens import PromptTokens, text_tokens

DONE = b"data: [DONE]\n\n"
Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Frame:
    """One SSE frame, ready for the wire."""

    data: bytes
    sound_s: float = 0.0
    """How long its sound plays."""


@dataclass(frozen=True, slots=True)
class Stream:
    """All frames of a good reply."""

    frames: tuple[Frame, ...]
    finish_at: int
    """Index of the frame with the finish_reason."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every frame of one reply has in common."""

    uid: str
    model: str
    created: int = field(default_factory=lambda: int(time.time()))

    def delta(self, delta: Json, finish_reason: str | None = None) -> Frame:
        """A frame with one choice."""
        choice: dict[str, object] = {"delta": delta, "finish_reason": finish_reason}
        if finish_reason is not None:
            choice = {"finish_reason": finish_reason, "delta": delta}
        choice |= {"index": 0, "logprobs": None}
        return self._frame([choice], None)

    def content(self, text: str) -> Frame:
        """A frame with words."""
        return self.delta({"content": text})

    def transcript(self, text: str) -> Frame:
        """A frame with words as older models send them when they speak."""
        audio = {"transcript": text, "expires_at": self.created, "id": f"audio_{self.uid}"}
        return self.delta({"audio": audio})

    def sound(self, piece: Piece) -> Frame:
        """A frame with speech; expires_at repeats the time of creation, as the service does."""
        audio = {
            "data": msgspec.Raw(b'"' + piece.base64 + b'"'),
            "expires_at": self.created,
            "id": f"audio_{self.uid}",
        }
        frame = self.delta({"audio": audio})
        return Frame(frame.data, piece.duration_s)

    def usage(self, usage: Json) -> Frame:
        """The frame after the last choice."""
        return self._frame([], usage)

    def _frame(self, choices: list[dict[str, object]], usage: Json | None) -> Frame:
        return sse(
            {
                "choices": choices,
                "object": "chat.completion.chunk",
                "usage": usage,
                "created": self.created,
                "system_fingerprint": None,
                "model": self.model,
                "id": f"chatcmpl-{self.uid}",
            }
        )


def sse(payload: Json) -> Frame:
    """One frame around one JSON object."""
    return Frame(b"data: " + msgspec.json.encode(payload) + b"\n\n")


def stream(
    chat: Chat, said: Answer, prompt: PromptTokens, envelope: Envelope, form: SpeechForm
) -> Stream:
    """Cut a reply into frames: role, reasoning, text, speech, finish, usage, [DONE]."""
    frames = list(_opening(said, envelope))
    in_audio = chat.model.transcribes and chat.voice is not None
    write = envelope.transcript if in_audio else envelope.content
    texts = [write(piece) for piece in pieces(said.text)]
    sounds = [envelope.sound(piece) for piece in _spoken(chat, said, form)]
    frames += _braided(texts, sounds)
    finish_at = len(frames)
    last = {"content": "", "reasoning_content": None} if chat.thinking else {"content": ""}
    frames.append(envelope.delta(last, said.finish_reason))
    usage = usage_of(chat, said, prompt)
    if chat.include_usage:
        frames.append(envelope.usage(usage))
    frames.append(Frame(DONE))
    return Stream(tuple(frames), finish_at)


def _opening(said: Answer, envelope: Envelope) -> Iterator[Frame]:
    if said.reasoning is None:
        yield envelope.delta({"content": "", "role": "assistant"})
        return
    yield envelope.delta({"content": None, "role": "assistant", "reasoning_content": ""})
    for piece in pieces(said.reasoning):
        yield envelope.delta({"content": None, "reasoning_content": piece})


def _spoken(chat: Chat, said: Answer, form: SpeechForm) -> Iterator[Piece]:
    if chat.voice is None or said.audio_tokens is None:
        return iter(())
    seconds = said.audio_tokens / chat.model.rules.audio_out_tokens_per_s
    return speak(chat.voice, seconds, form, opening=len(said.text))


def _braided(texts: list[Frame], sounds: list[Frame]) -> list[Frame]:
    """Text leads; once two thirds of it are out, speech follows and takes turns with the rest."""
    if not sounds:
        return texts
    lead = max(1, len(texts) * 2 // 3)
    braid, rest = texts[:lead], texts[lead:]
    for index, sound in enumerate(sounds):
        # The last delta before the finish frame is sound: text that is left goes before it.
        until = len(rest) if index == len(sounds) - 1 else index + 1
        braid += [*rest[index:until], sound]
    return braid


def usage_of(chat: Chat, said: Answer, prompt: PromptTokens) -> Json:
    """The usage object; its details name only the kinds that are present."""
    text, reasoning = text_tokens(said.text), text_tokens(said.reasoning or "")
    details: dict[str, int] = {}
    if said.audio_tokens is not None:
        details["audio_tokens"] = said.audio_tokens
    if said.reasoning is not None:
        details["reasoning_tokens"] = reasoning
    # The guide of 2025 counts reasoning beside the text, later references within it.
    inclusive = chat.model.text_tokens_include_reasoning
    details["text_tokens"] = text + reasoning if inclusive else text
    completion = said.tokens
    return {
        "prompt_tokens": prompt.total,
        "completion_tokens": completion,
        "total_tokens": prompt.total + completion,
        "completion_tokens_details": details,
        "prompt_tokens_details": _prompt_details(prompt),
    }


def _prompt_details(prompt: PromptTokens) -> dict[str, int]:
    kinds = {"audio": prompt.audio, "image": prompt.image, "video": prompt.video}
    present = {f"{kind}_tokens": count for kind, count in kinds.items() if count is not None}
    return {**present, "text_tokens": prompt.text}


def completion(chat: Chat, said: Answer, prompt: PromptTokens, envelope: Envelope) -> Json:
    """The same reply as one JSON object, for models that may be asked without a stream."""
    message = {"role": "assistant", "content": said.text}
    choice = {"message": message, "finish_reason": said.finish_reason, "index": 0, "logprobs": None}
    return {
        "choices": [choice],
        "object": "chat.completion",
        "usage": usage_of(chat, said, prompt),
        "created": envelope.created,
        "system_fingerprint": None,
        "model": envelope.model,
        "id": f"chatcmpl-{envelope.uid}",
    }


def shuffled(frame: Frame, rng: random.Random) -> Frame:
    """The same frame with the keys of every object in a random order."""
    if frame.data == DONE or not frame.data.startswith(b"data: {"):
        return frame
    payload = _reordered(msgspec.json.decode(frame.data[len(b"data: ") :]), rng)
    return Frame(b"data: " + msgspec.json.encode(payload) + b"\n\n", frame.sound_s)


def _reordered(value: object, rng: random.Random) -> object:
    if isinstance(value, dict):
        keys = rng.sample(list(value), len(value))
        return {key: _reordered(value[key], rng) for key in keys}
    if isinstance(value, list):
        return [_reordered(item, rng) for item in value]
    return value
