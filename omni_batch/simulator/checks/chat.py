"""A request after it was understood."""

from collections.abc import Mapping
from dataclasses import dataclass

from omni_batch.simulator.checks.models import Model

Body = Mapping[str, object]
"""The JSON object that a request carries."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a message: text, or references to media."""

    kind: str
    """text, image, audio, video or frames."""
    text: str = ""
    refs: tuple[str, ...] = ()
    """URLs or data URIs; several only for frames."""
    fps: float | None = None
    """Frames a second to look at; for frames their spacing."""
    min_pixels: int | None = None
    max_pixels: int | None = None
    """Of an image, or of each frame of a video."""
    total_pixels: int | None = None
    """Of all frames of a video."""
    low_detail: bool = False
    """OpenAI: the image is looked at in one small size."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text parts, joined by a space."""
        return " ".join(part.text for part in self.parts if part.kind == "text")

    @property
    def media(self) -> list[Part]:
        """All other parts."""
        return [part for part in self.parts if part.kind != "text"]


@dataclass(frozen=True, slots=True)
class Chat:
    """A whole request that passed the checks which need no media."""

    model: Model
    turns: tuple[Turn, ...]
    voice: str | None
    """None: no speech was asked for."""
    thinking: bool
    stream: bool
    include_usage: bool
    max_tokens: int
    high_resolution: bool
    """vl_high_resolution_images."""
    stops: tuple[str, ...]
    choices: int = 1
    """How many replies are asked for."""
    audio_format: str = "wav"
    """In which speech is asked for."""
    schema: Mapping[str, object] | None = None
    """What the reply is held to while it is written."""

    @property
    def max_input_tokens(self) -> int:
        """The limit of this request; a smaller one when it thinks."""
        model = self.model
        return model.max_thinking_input_tokens if self.thinking else model.max_input_tokens
