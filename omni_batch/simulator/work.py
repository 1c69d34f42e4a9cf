"""A request that passed all checks, with the reply it will get, before any server's shape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from omni_batch.simulator.answer import Answer, pieces
from omni_batch.simulator.chat import Chat
from omni_batch.simulator.speech import Piece, SpeechForm, speak
from omni_batch.simulator.tokens import PromptTokens

FORBIDDEN_OUTPUT = "forbidden-output"
"""A prompt with this word gets a reply that content moderation stops half-way."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is known of a reply when it is composed."""

    chat: Chat
    prompt: PromptTokens
    said: Answer
    uid: str
    created: int = field(default_factory=lambda: int(time.time()))
    """Seconds since 1970."""

    @property
    def forbidden(self) -> bool:
        """Content moderation would stop the reply."""
        return FORBIDDEN_OUTPUT in self.chat.turns[-1].text


@dataclass(frozen=True, slots=True)
class Bit:
    """One step of a reply; a dialect makes a frame of it."""

    kind: Literal["role", "thought", "words", "sound", "both", "finish"]
    text: str = ""
    """Words, or the reason to finish."""
    piece: Piece | None = None


def bits(work: Work, form: SpeechForm, *, joint: bool = False) -> list[Bit]:
    """The steps of a reply in order: role, reasoning, text, speech, finish.

    Args:
        work: what is said.
        form: how speech is cut up.
        joint: words and speech come together as far as both reach.
    """
    said = work.said
    thoughts = [Bit("thought", piece) for piece in pieces(said.reasoning or "")]
    words = [Bit("words", piece) for piece in pieces(said.text)]
    sounds = [Bit("sound", piece=piece) for piece in spoken(work, form)]
    middle = _joint(words, sounds) if joint else _braided(words, sounds)
    return [Bit("role"), *thoughts, *middle, Bit("finish", said.finish_reason)]


def spoken(work: Work, form: SpeechForm) -> Iterator[Piece]:
    """The speech of a reply; nothing if none was asked for."""
    chat, tokens = work.chat, work.said.audio_tokens
    if chat.voice is None or tokens is None:
        return iter(())
    seconds = tokens / chat.model.rules.audio_out_tokens_per_s
    return speak(chat.voice, seconds, form, opening=len(work.said.text))


def _braided(words: list[Bit], sounds: list[Bit]) -> list[Bit]:
    """Text leads; once two thirds of it are out, speech follows and takes turns with the rest."""
    if not sounds:
        return words
    lead = max(1, len(words) * 2 // 3)
    braid, rest = words[:lead], words[lead:]
    for index, sound in enumerate(sounds):
        # The last delta before the finish frame is sound: text that is left goes before it.
        until = len(rest) if index == len(sounds) - 1 else index + 1
        braid += [*rest[index:until], sound]
    return braid


def _joint(words: list[Bit], sounds: list[Bit]) -> list[Bit]:
    both = [Bit("both", word.text, sound.piece) for word, sound in zip(words, sounds, strict=False)]
    return [*both, *words[len(both) :], *sounds[len(both) :]]
