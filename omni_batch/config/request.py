"""`request` and `annotation`: what to ask for, and what an answer has to be."""

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from omni_batch.config.frozen import Frozen
from omni_batch.config.plain import unsendable

_OWNED = frozenset({"model", "messages", "stream", "stream_options", "modalities", "audio"})


class ExampleConfig(Frozen):
    """One exchange that is shown to the model before each row: a row of its own, with its answer.

    Any other member is a variable of `request.prompt`; planning refuses one that it does not name.
    """

    model_config = ConfigDict(extra="allow")

    prompt: str | None = Field(default=None, min_length=1)
    """In place of `request.prompt`, filled in with the example's own members."""
    image: tuple[str, ...] = ()
    audio: str | None = None
    video: str | None = None
    frames: tuple[str, ...] = ()
    answer: Any
    """What the model should have said: a text, or a value that is written as JSON."""

    @field_validator("image", "frames", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if value is None:
            return ()
        return [value] if isinstance(value, str) else value

    @field_validator("answer")
    @classmethod
    def _sayable(cls, value: Any) -> Any:
        if value is None or (isinstance(value, str) and not value.strip()):
            raise ValueError("is empty; give a text, or a value that is written as JSON")
        if why := next(unsendable(value, "answer"), None):
            raise ValueError(why)
        return value

    @property
    def variables(self) -> dict[str, Any]:
        """Its members beside those that every example may have."""
        return dict(self.model_extra or {})


class RequestConfig(Frozen):
    """What to ask for. Ranges are the service's own (Model Studio chat reference, 2026)."""

    system: str | None = None
    prompt: str | None = None
    """Jinja2 template over the row's columns; a row's own `prompt` takes its place."""
    examples: tuple[ExampleConfig, ...] = ()
    """Exchanges that go before each row's own turns."""
    modalities: tuple[Literal["text", "audio"], ...] = ("text",)
    voice: str | None = None
    spoken_rows: Literal["all", "with_voice"] = "all"
    """with_voice: only rows that name a `voice` of their own are spoken, all others are text."""
    thinking: bool | None = None
    """null leaves it to the model's default."""
    thinking_budget: int | None = Field(default=None, ge=1)
    """Tokens of thinking; not together with reasoning_effort."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    temperature: float | None = Field(default=None, ge=0, lt=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    stop: str | tuple[str, ...] | None = None
    enable_search: bool | None = None
    vl_high_resolution_images: bool | None = None
    use_multichannel: bool | None = None
    fps: float | None = Field(default=None, ge=0.1, le=10)
    """Frames a second that are looked at in a video; how far apart the frames of a list are."""
    min_pixels: int | None = Field(default=None, ge=4_096, le=16_777_216)
    max_pixels: int | None = Field(default=None, ge=4_096, le=16_777_216)
    total_pixels: int | None = Field(default=None, ge=1)
    """For each image and video; the model's defaults are in its documents."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further top-level members of the request, sent unchanged."""

    @field_validator("modalities")
    @classmethod
    def _text_first(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if sorted(value) not in (["text"], ["audio", "text"]):
            raise ValueError("must be [text] or [text, audio]")
        return value

    @field_validator("extra")
    @classmethod
    def _as_json_says_it(cls, value: dict[str, Any]) -> dict[str, Any]:
        if why := next(unsendable(value, "extra"), None):
            raise ValueError(why)
        return value

    @model_validator(mode="after")
    def _one_way_to_limit_thinking(self) -> Self:
        if self.thinking_budget is not None and self.reasoning_effort is not None:
            raise ValueError("thinking_budget and reasoning_effort exclude each other; keep one")
        if owned := _OWNED.intersection(self.extra):
            raise ValueError(f"extra can't contain {', '.join(sorted(owned))}; use their own keys")
        return self

    @property
    def wants_audio(self) -> bool:
        """True when speech is asked for."""
        return "audio" in self.modalities


class AnnotationConfig(Frozen):
    """Typed answers: the schema, and how often an answer that breaks it is asked for again."""

    json_schema: dict[str, Any] | str | None = None
    """A JSON Schema, or the path of a JSON or YAML file with one."""
    model: str | None = None
    """A pydantic model by its import path, `package.module:Name`, in place of a schema."""
    max_reasks: int = Field(default=1, ge=0)
    response_format: Literal["auto", "off"] = "auto"
    """auto: the schema goes out as `response_format` as well, to servers that are known to hold
    answers to it. off: it is told in the prompt only."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.json_schema is None) == (self.model is None):
            raise ValueError("needs either json_schema or model")
        return self
