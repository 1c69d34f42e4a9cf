"""What rules judge, and what they find. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from omni_batch.catalogue import Model
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.doubts import Doubt
from omni_batch.text import display_name
from omni_batch.types import (
    MEDIA_KINDS,
    Frames,
    Media,
    MediaKind,
    Message,
    Modality,
    Part,
    Request,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCapabilities:
    """What rules ask of a server; a dialect has more."""

    name: str
    takes: frozenset[Modality] = frozenset({"text", *MEDIA_KINDS})
    """Kinds of input it has a form for."""
    speaks: bool = True
    """Can answer with speech."""
    needs_voice: bool = False
    """Refuses a wish for speech without a voice."""
    takes_voice: bool = True
    """Has a place for the voice of an answer."""
    thinking_switch: bool = True
    """Has a place for the switch of thinking mode."""
    inline_max_bytes: int | None = None
    """Largest encoded file inside a request; None: no limit is known."""
    parameters: frozenset[str] | None = None
    """Names of the request options it reads; None: all. Others of ours are refused; what else is in
    `request.extra` goes out as it is."""
    doubted_parameters: frozenset[str] = frozenset()
    """Those it is sent although it is not known to read them."""
    no_options_beside: frozenset[Modality] = frozenset()
    """Kinds of media that it has no place for options of."""
    shares_options: bool = False
    """Options of media are members of the request: all media of a kind have the same."""
    keeps_places: bool = True
    """Media stand in their turns, between the texts there."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """What does the work of an option it does not read, by the option's name."""
    formats: Mapping[MediaKind, tuple[str, ...]] = field(default_factory=dict)
    """Short names of the formats it takes of a kind; a kind that is missing: any."""

    def voice_of(self, request: Request) -> str | None:
        """The voice that is sent; None leaves it to the server.

        The catalogue's default is the vendor's: another server has voices and a default of its own.
        """
        wanted = request.wants_audio and self.speaks and self.takes_voice
        left_to_server = request.voice_is_default and not self.needs_voice
        return request.voice if wanted and not left_to_server else None

    def refused_format(self, media: Media) -> str | None:
        """Why a medium's format is none for this server; None where it is one."""
        taken = self.formats.get(media.kind)
        if taken is None or media.format in taken:
            return None
        return (
            f"{display_name(media.reference)} is {media.format}; {self.name} servers take "
            f"{listed(taken)}: convert it to {taken[0]}"
        )


@dataclass(frozen=True, slots=True)
class Violation:
    """One reason why a request would fail."""

    rule: str
    """Stable id, such as `image-too-small`."""
    message: str
    """What, the value, the limit, what to do."""
    fact: str = ""
    """Field of the catalogue that it rests on, such as `limits.image_min_px`; empty where it is
    the form of the API that is broken."""


Finding = Violation | Doubt
"""What a rule finds: a reason to refuse, or something to say in the row."""


@dataclass(frozen=True)
class RuleContext:
    """One request before the rules."""

    request: Request
    model: Model | None
    """None where it is unknown, or where a server of one's own sets the limits."""
    estimate: PromptEstimate
    """Of this request, by the model's rules."""
    server: ServerCapabilities
    """The dialect."""
    thinking: bool = False
    """Whether the model answers in thinking mode, by request or by default."""
    can_speak: bool = True
    """Whether the model can, on any server."""
    files_inline: bool = True
    """Whether local files travel within the request; False where they are uploaded first."""

    @property
    def name(self) -> str:
        """The model, as the request calls it."""
        return self.request.model

    def limit(self, field: str) -> Any:
        """A field of the catalogue's limits; None where it is unknown."""
        return getattr(self.model.limits, field) if self.model else None

    @cached_property
    def media(self) -> tuple[Media, ...]:
        """All media of the request; a frame list counts as its images."""
        return self.request.media()

    @property
    def is_text(self) -> bool:
        """Whether there is nothing but text in it."""
        return all(isinstance(part, str) for part in self.parts())

    def parts(self) -> Iterator[Part]:
        """Those of all turns."""
        for message in self.request.messages:
            yield from message.parts

    def user_turns(self) -> Iterator[tuple[int, Message]]:
        """With their numbers among all turns, from 1."""
        for number, message in enumerate(self.request.messages, 1):
            if message.role == "user":
                yield number, message


def media_parts(message: Message) -> list[Media | Frames]:
    """All but the text."""
    return [part for part in message.parts if not isinstance(part, str)]


def name_of(part: Part) -> str:
    """What messages call it."""
    match part:
        case str():
            return repr(part[:40])
        case Media(reference=reference):
            return display_name(reference)
        case Frames(images):
            first = f" from {display_name(images[0].reference)} on" if images else ""
            return f"the list of {len(images)} frames{first}"


def number(value: float) -> str:
    """As a reader likes it: 10,485,760 or 180.01."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.7g}"


def listed(names: Iterable[str]) -> str:
    """Comma-separated."""
    return ", ".join(names)
