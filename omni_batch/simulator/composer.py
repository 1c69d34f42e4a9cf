"""From a body to a reply: checks, media, tokens, words. Knows no network."""

from __future__ import annotations

from collections.abc import Mapping

from omni_batch.simulator.answer import answer
from omni_batch.simulator.chat import Chat, Part
from omni_batch.simulator.dialects import Dialect
from omni_batch.simulator.facts import Medium
from omni_batch.simulator.media import Fetch, look_at
from omni_batch.simulator.tokens import Look, prompt_tokens
from omni_batch.simulator.work import Work


def compose(
    body: Mapping[str, object],
    uid: str,
    dialect: Dialect,
    *,
    text: str | None = None,
    oss: Fetch | None = None,
) -> Work:
    """Check a request, measure its media, and decide what is answered.

    Args:
        body: the request's JSON.
        uid: id of the reply.
        dialect: how the request is read.
        text: says this instead of a description.
        oss: gives what oss:// references stand for; None refuses them.
    Raises:
        Refused: as the server would refuse it.
    """
    chat = dialect.read(body)
    last, looks = chat.turns[-1], list[tuple[Medium, Look]]()
    latest = []
    for turn in chat.turns:
        for part in turn.parts:
            if part.kind != "text":
                medium = look_at(part, chat.model.rules, oss=oss)
                looks.append((medium, _look(part, chat)))
                latest += [medium] if turn is last else []
    prompt = prompt_tokens([turn.text for turn in chat.turns], looks, chat.model.rules)
    if prompt.total > chat.max_input_tokens:
        raise dialect.too_long(chat, prompt.total)
    return Work(chat, prompt, answer(chat, latest, text=text), uid)


def _look(part: Part, chat: Chat) -> Look:
    return Look(chat.sharp, part.fps, part.max_pixels)
