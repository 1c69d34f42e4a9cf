"""A request that passed all checks, with the reply it will get, before any server's shape."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from omni_batch.simulator.checks.chat import Chat
from omni_batch.simulator.replies.answer import Answer, pieces
from omni_batch.simulator.replies.speech import Piece, SpeechForm, speak
from omni_batch.simulator.replies.tokens import PromptTokens

FORBIDDEN_OUTPUT = "forbidden-output"
"""A prompt with this word gets a reply that content moderation stops half-way."""


@dataclass(frozen=True, slots=True)
class ReplyPlan:
    """What is known of a reply when it is composed."""

    chat: Chat
    prompt: PromptTokens
    answer: Answer
    uid: str
    created: int = field(default_factory=lambda: int(time.time()))
    """Seconds since 1970."""
    index: int = 0
    """Which of the replies it is, where several were asked for."""

    @property
    def choices(self) -> list[Self]:
        """As many replies as were asked for, all but the first in words of their own."""
        return [self, *map(self._other, range(1, self.chat.choices))]

    def _other(self, index: int) -> Self:
        answer = replace(self.answer, text=f"In other words ({index}): {self.answer.text}")
        return replace(self, answer=answer, index=index)

    @property
    def together(self) -> Self:
        """All replies as one, to count their tokens."""
        answers = [each.answer for each in self.choices]
        thoughts = [answer.reasoning for answer in answers if answer.reasoning is not None]
        text = "".join(answer.text for answer in answers)
        whole = replace(self.answer, text=text, reasoning="".join(thoughts) if thoughts else None)
        return replace(self, answer=whole)

    @property
    def forbidden(self) -> bool:
        """Content moderation would stop the reply."""
        return FORBIDDEN_OUTPUT in self.chat.turns[-1].text


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a reply; a dialect makes a frame of it."""

    kind: Literal["role", "thought", "words", "sound", "both", "finish"]
    text: str = ""
    """Words, or the reason to finish."""
    piece: Piece | None = None

    @property
    def finish_reason(self) -> str | None:
        """None for all steps but the last."""
        return self.text if self.kind == "finish" else None

    @property
    def sound_s(self) -> float:
        """How long its sound plays."""
        return self.piece.duration_s if self.piece else 0.0


def reply_steps(plan: ReplyPlan, form: SpeechForm, *, joint: bool = False) -> list[Step]:
    """The steps of a reply in order: role, reasoning, text, speech, finish.

    Args:
        plan: what is said.
        form: how speech is cut up.
        joint: words and speech come together as far as both reach.
    """
    answer = plan.answer
    thoughts = [Step("thought", piece) for piece in pieces(answer.reasoning or "")]
    words = [Step("words", piece) for piece in pieces(answer.text)]
    sounds = [Step("sound", piece=piece) for piece in spoken(plan, form)]
    middle = _joint(words, sounds) if joint else _interleaved(words, sounds)
    return [Step("role"), *thoughts, *middle, Step("finish", answer.finish_reason)]


def spoken(plan: ReplyPlan, form: SpeechForm) -> Iterator[Piece]:
    """The speech of a reply; nothing if none was asked for."""
    chat, tokens = plan.chat, plan.answer.audio_tokens
    if chat.voice is None or tokens is None:
        return iter(())
    seconds = tokens / chat.model.rules.audio_out_tokens_per_s
    return speak(chat.voice, seconds, form, opening=len(plan.answer.text))


def _interleaved(words: list[Step], sounds: list[Step]) -> list[Step]:
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


def _joint(words: list[Step], sounds: list[Step]) -> list[Step]:
    both = [
        Step("both", word.text, sound.piece) for word, sound in zip(words, sounds, strict=False)
    ]
    return [*both, *words[len(both) :], *sounds[len(both) :]]
