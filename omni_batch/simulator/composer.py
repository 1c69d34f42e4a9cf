"""From a body to a reply: checks, media, tokens, words, frames. Knows no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omni_batch.simulator.answer import Answer, answer
from omni_batch.simulator.chat import Chat, Part
from omni_batch.simulator.facts import Medium
from omni_batch.simulator.frames import Envelope, Json, Stream, completion, stream
from omni_batch.simulator.media import look_at
from omni_batch.simulator.messages import read_messages
from omni_batch.simulator.parameters import (
    check_parameters,
    find_include_usage,
    find_model,
    find_stream,
    find_thinking,
    find_voice,
)
from omni_batch.simulator.refusal import unfit
from omni_batch.simulator.speech import SpeechForm
from omni_batch.simulator.tokens import Look, PromptTokens, prompt_tokens

FORBIDDEN_OUTPUT = "forbidden-output"
"""A prompt with this word gets a reply that content moderation stops half-way."""


@dataclass(frozen=True, slots=True)
class Work:
    """A request that passed all checks, with the reply it will get."""

    chat: Chat
    prompt: PromptTokens
    said: Answer
    envelope: Envelope

    @property
    def forbidden(self) -> bool:
        """Content moderation will stop the reply."""
        return FORBIDDEN_OUTPUT in self.chat.turns[-1].text

    def stream(self, form: SpeechForm) -> Stream:
        """The reply in frames."""
        return stream(self.chat, self.said, self.prompt, self.envelope, form)

    def completion(self) -> Json:
        """The reply as one JSON object."""
        return completion(self.chat, self.said, self.prompt, self.envelope)


def read_chat(body: Mapping[str, object]) -> Chat:
    """Check a body, all but its media.

    Raises:
        Refused: as the service would refuse it.
    """
    model = find_model(body)
    check_parameters(body, model)
    streamed = find_stream(body, model)
    thinking = find_thinking(body, model)
    limit, stop = body.get("max_tokens"), body.get("stop")
    return Chat(
        model=model,
        turns=read_messages(body.get("messages"), model),
        voice=find_voice(body, model, thinking=thinking),
        thinking=thinking,
        stream=streamed,
        include_usage=find_include_usage(body),
        max_tokens=limit if isinstance(limit, int) else model.max_output_tokens,
        sharp=body.get("vl_high_resolution_images") is True,
        stops=tuple(word for word in _listed(stop) if isinstance(word, str) and word),
    )


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def compose(
    body: Mapping[str, object], uid: str, *, text: str | None = None, oss_allowed: bool = False
) -> Work:
    """Check a request, measure its media, and decide what is answered.

    Args:
        body: the request's JSON.
        uid: id of the reply.
        text: says this instead of a description.
        oss_allowed: oss:// references may be used.
    Raises:
        Refused: as the service would refuse it.
    """
    chat = read_chat(body)
    last, looks = chat.turns[-1], list[tuple[Medium, Look]]()
    latest = []
    for turn in chat.turns:
        for part in turn.parts:
            if part.kind != "text":
                medium = look_at(part, chat.model.rules, oss_allowed=oss_allowed)
                looks.append((medium, _look(part, chat)))
                latest += [medium] if turn is last else []
    prompt = prompt_tokens([turn.text for turn in chat.turns], looks, chat.model.rules)
    if prompt.total > chat.max_input_tokens:
        raise unfit(f"Range of input length should be [1, {chat.max_input_tokens}]")
    return Work(chat, prompt, answer(chat, latest, text=text), Envelope(uid, chat.model.name))


def _look(part: Part, chat: Chat) -> Look:
    return Look(chat.sharp, part.fps, part.max_pixels)
