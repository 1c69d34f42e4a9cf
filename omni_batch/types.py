"""The nouns. Each is made once, by one module, frozen, and handed on.

manifest → Item → Media → Request → Chunk… → Response → Result → row + WAV → Parquet → report
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

from omni_batch.changes import Traits, Window
from omni_batch.doubts import Doubt
from omni_batch.errors import OmniBatchError

Modality = Literal["text", "image", "audio", "video", "frames"]
MediaKind = Literal["image", "audio", "video"]
Role = Literal["system", "user", "assistant"]
MEDIA_KINDS: frozenset[MediaKind] = frozenset(get_args(MediaKind))
MODALITIES: frozenset[Modality] = frozenset(get_args(Modality))
MEDIA_COLUMNS: tuple[Modality, ...] = ("image", "audio", "video", "frames")
"""Columns of a manifest with references, in the order they are sent."""


@dataclass(frozen=True, slots=True)
class Item:
    """One manifest row, read but not yet looked into."""

    item_id: str
    row_number: int
    """Position in the run, from 0; orders the results. That in the manifest, where each of its rows
    is asked once, and none comes first because it failed in an earlier night."""
    prompt: str | None = None
    system: str | None = None
    voice: str | None = None
    image: tuple[str, ...] = ()
    audio: str | None = None
    video: str | None = None
    frames: tuple[str, ...] = ()
    messages: str | None = None
    """Earlier turns as JSON text."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """The row's other columns, free for templates, carried into the results."""
    variant: str | None = None
    """Which of the config's `variants` asks."""
    sample: int | None = None
    """Which of several answers to the same question, from 1."""

    @property
    def name(self) -> str:
        """What the item is called where there may be others of the same manifest row."""
        return row_name(self.item_id, self.variant, self.sample)

    def media_cells(self) -> dict[Modality, tuple[str, ...]]:
        """References of the row's own media by column, in the order they are sent.

        Empty columns are left out, and so are media in `messages`.
        """
        cells = ((column, getattr(self, column)) for column in MEDIA_COLUMNS)
        return {name: (cell,) if isinstance(cell, str) else cell for name, cell in cells if cell}

    def references(self) -> tuple[str, ...]:
        """All media of the row itself."""
        return tuple(chain.from_iterable(self.media_cells().values()))

    def modality(self) -> Modality:
        """The first kind of input, besides text, of the row's own columns."""
        return next(iter(self.media_cells()), "text")


def row_name(item_id: str, variant: str | None, sample: int | None) -> str:
    """A name that no other row of the run has: `cat-1.terse.2`; the id alone, where that is one."""
    return ".".join(str(part) for part in (item_id, variant, sample) if part is not None)


PartOptions = tuple[tuple[str, str | int | float], ...]
"""Options beside one medium by their wire names, sorted: ("fps", 2.0), ("detail", "low")."""


@dataclass(frozen=True, slots=True)
class Media:
    """One image, recording or video. Holds no bytes.

    A manifest gives kind and reference; the rest is known once it is loaded: a file or a data URI
    is probed by its content and found readable, a URL may be.
    """

    kind: MediaKind
    reference: str
    """As the manifest gave it."""
    options: PartOptions = ()
    """What a part of `messages` says of this medium alone; sent where the server has a place."""
    url: str | None = None
    """What the service fetches itself; None means the file at `path` travels inline."""
    object_version: str | None = None
    """Of an object in a store of the user's: what the store says of its content, which may be
    nothing. `url` is its address, for which a signed one is sent; None for all other media."""
    path: Path | None = None
    held: object = field(default=None, compare=False, repr=False)
    """What keeps the file at `path` there, where it is not the user's own: a member of an archive,
    an object of a store."""
    mime_type: str = ""
    format: str = ""
    """Short format name as the wire wants it for audio: mp3, wav, …"""
    size_bytes: int | None = None
    sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    duration_s: float | None = None
    """Of a recording, or of the pictures of a video."""
    duration_guessed: bool = False
    """`duration_s` and `sound_s` rest on a bit rate or the like: they refuse nothing."""
    sound_s: float | None = None
    """Of a video's sound, which may end before or after its pictures."""
    frames_per_s: float | None = None
    frame_count: int | None = None
    has_sound: bool = False
    probed: bool = False
    """Its content was looked at: format and type are by it, not by a name."""
    traits: Traits | None = None
    """What a closer look found, where media are made to fit."""
    begin_s: float | None = None
    """Of a window of a recording: where in that it begins."""
    made_from: str | None = None
    """Hash of what it is made from and how, where it is made to fit."""
    doubts: tuple[Doubt, ...] = ()
    """What was odd about it, or was done for the user to find or read it."""


@dataclass(frozen=True, slots=True)
class Frames:
    """A video given as still images in order; silent."""

    kind: ClassVar[Literal["frames"]] = "frames"
    images: tuple[Media, ...]
    options: PartOptions = ()
    """As of `Media`, for all of them."""
    taken_from: Media | None = None
    """The video that they are made from, where it is made to fit."""


Part = str | Media | Frames


def kind_of(part: Part) -> Modality:
    """The kind of input that it counts as."""
    return "text" if isinstance(part, str) else part.kind


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation."""

    role: Role
    parts: tuple[Part, ...]
    is_example: bool = False
    """Of the config, the same before each row; not the row's own."""

    def with_media(self, loaded: Mapping[Media, Media]) -> "Message":
        """The same turn with other media in place of its own."""
        return replace(self, parts=tuple(_replaced(part, loaded) for part in self.parts))


def _replaced(part: Part, loaded: Mapping[Media, Media]) -> Part:
    match part:
        case str():
            return part
        case Media():
            return loaded[part]
        case Frames(images):
            return replace(part, images=tuple(loaded[image] for image in images))


def media_of(messages: Iterable[Message]) -> tuple[Media, ...]:
    """All media in their order; a frame list counts as its images."""
    parts = (part for message in messages for part in message.parts if not isinstance(part, str))
    lists = (part.images if isinstance(part, Frames) else (part,) for part in parts)
    return tuple(chain.from_iterable(lists))


def _each(part: Part) -> tuple[Media | Frames, ...]:
    match part:
        case str():
            return ()
        case Frames(images, taken_from=None):
            return images
    return (part,)


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides the answer, in no dialect yet."""

    model: str
    messages: tuple[Message, ...]
    modality: Modality
    """What the last user turn holds besides text."""
    wants_audio: bool = False
    voice: str | None = None
    voice_is_default: bool = False
    """It is the catalogue's; nobody asked for it."""
    role_as_turns: bool = False
    """A system message goes as a first exchange."""
    thinking: bool | None = None
    """None leaves it to the model's default."""
    omni: bool = True
    """Whether the model knows `modalities`; a plain text model does not."""
    response_format: Mapping[str, Any] | None = None
    """What servers hold the answer to, where they are known to do so; None for nothing."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """temperature, top_p, max_tokens, …: wire names, only those that were set."""
    media_options: Mapping[str, float] = field(default_factory=dict)
    """fps, min_pixels, max_pixels, total_pixels: for each image and video."""

    def media(self) -> tuple[Media, ...]:
        """All media in the order they are sent; a frame list counts as its images."""
        return media_of(self.messages)

    def own_media(self) -> tuple[Media, ...]:
        """Those of the row itself."""
        return media_of(turn for turn in self.messages if not turn.is_example)

    def own_parts(self) -> tuple[Media | Frames, ...]:
        """The same, but a video that is sent as frames is one."""
        parts = chain.from_iterable(turn.parts for turn in self.messages if not turn.is_example)
        return tuple(chain.from_iterable(map(_each, parts)))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as billed. A member is None where the service did not say."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_text_tokens: int | None = None
    prompt_audio_tokens: int | None = None
    prompt_image_tokens: int | None = None
    prompt_video_tokens: int | None = None
    completion_text_tokens: int | None = None
    """Visible text only, whichever way the service counts reasoning."""
    completion_audio_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None


class Chunk(NamedTuple):
    """One event of the stream, free of any dialect. A tuple: there are thousands in a reply."""

    text: str = ""
    transcript: str = ""
    reasoning: str = ""
    audio_base64: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    response_id: str | None = None
    error: OmniBatchError | None = None
    """An error the service sent inside the stream."""
    done: bool = False
    """The end mark of the stream."""
    whole: bool = False
    """It holds the whole answer so far, not the next piece of it."""
    refusal: str = ""
    """The model's own words of a refusal, in place of an answer."""
    doubts: tuple[Doubt, ...] = ()
    """What was passed over or guessed when it was read."""

    @property
    def has_content(self) -> bool:
        """True when it carries a part of the answer; a sign of life carries none."""
        return bool(self.text or self.audio_base64 or self.reasoning or self.transcript)


@dataclass(frozen=True, slots=True)
class Speech:
    """What was learned of the sound while it streamed."""

    samples: int
    sample_rate_hz: int

    @property
    def duration_s(self) -> float:
        """Seconds of sound."""
        return self.samples / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class Response:
    """A whole reply: the stream came to its proper end."""

    text: str
    reasoning: str | None
    finish_reason: str
    usage: Usage | None
    speech: Speech | None
    response_id: str | None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class WavFile:
    """Speech on disk, whole."""

    path: str
    """Relative to the run directory."""
    speech: Speech
    sha256: str
    """Of the file, as `sha256sum` prints it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Money."""

    amount: float
    currency: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP exchange, whatever came of it."""

    number: int
    """From 1 for each item."""
    started_at: datetime
    latency_s: float
    first_chunk_s: float | None = None
    http_status: int | None = None
    request_id: str | None = None
    usage: Usage | None = None
    text_chars: int = 0
    """Characters of text that had arrived."""
    audio_s: float = 0.0
    """Seconds of speech that had arrived."""
    error: Exception | None = None
    endpoint: str | None = None
    voice: str | None = None
    """As it was sent; None leaves it to the server."""
    text: str | None = None
    """The beginning of what had arrived, of an attempt that did not succeed."""
    cost: Cost | None = None
    """By the bill; None where none came."""
    estimated_tokens: int | None = None
    """Prompt and what had arrived, where the service was at work but sent no bill."""
    estimated_cost: Cost | None = None
    """The same as money."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it goes out: what is known of it where nothing is ever heard of its end."""

    number: int
    """As of `Attempt`."""
    started_at: datetime
    endpoint: str
    most_tokens: int
    """Prompt and the longest answer that has to be expected."""
    most_cost: Cost | None
    """The same as money."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a successful attempt yields."""

    response: Response
    wav: WavFile | None
    voice: str | None = None
    """As it was sent; None: the server chose one, or there is no speech."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one item.

    An answer that breaks the schema of `annotation` is there beside its error; else it is one.
    """

    item: Item
    started_at: datetime
    latency_s: float
    """From the item's start to its end, waiting included."""
    attempts: tuple[Attempt, ...] = ()
    attempts_before: int = 0
    """Attempts of earlier processes, which ended without a result or whose result was a failure."""
    request: Request | None = None
    answer: Answer | None = None
    error: Exception | None = None
    estimated_prompt_tokens: int | None = None
    estimated_text_tokens: int | None = None
    """The part of it that is a rule of thumb."""
    cost: Cost | None = None
    """Of the answer, by real usage; 0 for one that was paid for before."""
    reused_from: str | None = None
    """The run that paid for the answer; None where this row did."""
    reused_row: int | None = None
    """The row of this run that has the answer from which this one is taken."""
    fingerprint: str | None = None
    annotation: Any = None
    """The typed answer as plain JSON values."""
    doubts: tuple[Doubt, ...] = ()
    windows: tuple[Window, ...] = ()
    """Where a recording was too long for one request: what each window was answered."""

    @property
    def succeeded(self) -> bool:
        """True when there is an answer, of the kind that was asked for."""
        return self.answer is not None and self.error is None
