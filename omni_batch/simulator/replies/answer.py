"""What the simulated model says: facts about its input, so that a reply proves what arrived."""

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from omni_batch.simulator.checks.chat import Chat, Turn
from omni_batch.simulator.checks.media_info import Film, Frames, Medium, Picture, Sound
from omni_batch.simulator.replies import structured
from omni_batch.simulator.replies.tokens import text_tokens

SPEECH_S_PER_CHARACTER = 0.07
_PIECE = re.compile(r"\s*\S{1,12}")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply before it is cut into frames."""

    text: str
    reasoning: str | None
    finish_reason: str
    audio_tokens: int | None
    """Tokens of speech; None without speech."""

    @property
    def tokens(self) -> int:
        """All tokens of the reply: text, speech and reasoning."""
        reasoning = text_tokens(self.reasoning or "")
        return text_tokens(self.text) + (self.audio_tokens or 0) + reasoning

    def beginning(self) -> Self:
        """The first half, as it arrives when the server runs out of time."""
        tokens = None if self.audio_tokens is None else max(1, self.audio_tokens // 2)
        return replace(self, text=self.text[: len(self.text) // 2], audio_tokens=tokens)


def compose_answer(chat: Chat, media: Sequence[Medium], *, text: str | None = None) -> Answer:
    """Compose the reply to the last turn.

    Args:
        chat: the request.
        media: what the last turn carries, measured.
        text: says this instead of a description.
    """
    said = _say(chat, media) if text is None else text
    for stop in chat.stops:
        said = said.split(stop)[0]
    kept = _within(said, chat.max_tokens)
    reason = "stop" if kept == said else "length"
    reasoning = _think(chat.turns[-1], media) if chat.thinking else None
    spoken = _speech_tokens(kept, chat) if chat.voice else None
    return Answer(kept, reasoning, reason, spoken)


def _speech_tokens(text: str, chat: Chat) -> int:
    seconds = len(text) * SPEECH_S_PER_CHARACTER
    return max(1, math.ceil(seconds * chat.model.rules.audio_out_tokens_per_s))


def _within(text: str, max_tokens: int) -> str:
    """The longest run of whole pieces that fits; always at least the first one."""
    if text_tokens(text) <= max_tokens:
        return text
    kept = ""
    for piece in _PIECE.findall(text):
        if kept and text_tokens(kept + piece) > max_tokens:
            break
        kept += piece
    return kept


def pieces(text: str) -> Iterator[str]:
    """Cut a text into one to three words each, as deltas arrive; joined they are the text."""
    words = _PIECE.findall(text)
    start, size = 0, 1
    while start < len(words):
        yield "".join(words[start : start + size])
        start, size = start + size, size % 3 + 1
    if tail := text[sum(map(len, words)) :]:
        yield tail


def _say(chat: Chat, media: Sequence[Medium]) -> str:
    prose = " ".join(_sentences(chat, media))
    if chat.schema is not None:
        return json.dumps(structured.example(chat.schema, chat.schema, prose), ensure_ascii=False)
    instructions = [turn for turn in chat.turns if turn.role == "system" or turn is chat.turns[-1]]
    if any("json" in turn.text.lower() for turn in instructions):
        asked = " ".join(turn.text for turn in chat.turns if turn.role != "assistant")
        return structured.as_json(asked, prose, media)
    return prose


def _sentences(chat: Chat, media: Sequence[Medium]) -> Iterator[str]:
    yield from (describe(medium) for medium in media)
    last = chat.turns[-1]
    if last.text.strip():
        yield f'You {"asked" if media else "wrote"}: "{_beginning(last.text)}"'
    users = sum(turn.role == "user" for turn in chat.turns)
    if users > 1:
        yield f"This is turn {users} of our conversation."


def _beginning(text: str, *, words: int = 12, characters: int = 80) -> str:
    """The first words on one line, with an ellipsis where more follows."""
    # A schema or other JSON in the prompt would drown the sentence.
    every = text.partition("{")[0].split()
    short = " ".join(every[:words])[:characters].rstrip()
    return short if short == " ".join(every) else f"{short}…"


def describe(medium: Medium) -> str:
    """One sentence with the facts of one medium."""
    match medium:
        case Picture():
            look = _mostly(medium.colours)
            return f"An image of {medium.width_px} x {medium.height_px} pixels{look}."
        case Sound():
            return f"A recording of {medium.duration_s:.1f} seconds{_loudness(medium)}."
        case Film():
            sound = "with sound" if medium.sound_s else "without sound"
            size = f"{medium.width_px} x {medium.height_px} pixels"
            pace = f"{medium.duration_s:.1f} seconds at {medium.fps:.4g} frames a second"
            return f"A video of {pace}, {size}, {sound}{_mostly(medium.colours)}."
        case Frames():
            first = medium.pictures[0]
            size = f"{first.width_px} x {first.height_px} pixels"
            return f"A sequence of {len(medium.pictures)} frames, {size}{_mostly(first.colours)}."


def _mostly(colours: tuple[str, ...]) -> str:
    return f", mostly {' and '.join(colours)}" if colours else ""


def _loudness(sound: Sound) -> str:
    if sound.loudness_db is None:
        return ""
    if sound.loudness_db < -70:
        return ", silent"
    volume = "loud" if sound.loudness_db > -20 else "soft" if sound.loudness_db < -40 else "clear"
    rhythm = "with pauses as in speech" if 0.05 < sound.pause_share < 0.8 else "without pauses"
    return f", {volume}, {rhythm}"


def _think(turn: Turn, media: Sequence[Medium]) -> str:
    seen = f" and {_counted(len(media), 'media input')}" if media else ""
    words = _counted(len(turn.text.split()), "word")
    return f"The user sent {words}{seen}. I should answer in one plain sentence."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
