"""The two tables of a run, column by column. Schema, row and documentation all come from here.

A new column is one line. Rows are plain values, so that the journal can hold them as JSON.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import msgspec
import pyarrow as pa

from omni_batch.annotation.arrow import array_of, arrow_type
from omni_batch.annotation.shape import read_shape
from omni_batch.errors import error_kind, error_message
from omni_batch.text import shown_whole
from omni_batch.types import (
    Attempt,
    Cost,
    Frames,
    Item,
    Media,
    Request,
    Response,
    Result,
    Sent,
    Speech,
    Usage,
    WavFile,
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, type and meaning, and the attribute that holds its value."""

    name: str
    type: pa.DataType
    description: str
    path: str
    """Of what `_result_fields` or `_attempt_fields` gives; a wrong one is an error, never a null."""
    unit: str | None = None

    def field(self) -> pa.Field:
        """The Arrow field, with description and unit as metadata."""
        metadata = {"description": self.description, **({"unit": self.unit} if self.unit else {})}
        return pa.field(self.name, self.type, metadata=metadata)


IN_DOUBT = "in_doubt"
"""`error_kind` of a request that was sent and of whose end nothing is known."""
_NEVER_ENDED = "it was sent, and its process died before it ended; it may be on the bill"
_STRING, _STRINGS, _INT, _FLOAT = pa.string(), pa.list_(pa.string()), pa.int64(), pa.float64()
_INTS, _FLOATS = pa.list_(_INT), pa.list_(_FLOAT)
_TIME = pa.timestamp("us", tz="UTC")

# fmt: off
RESULT_COLUMNS = (
    Column("run_id", _STRING, "id of the run", "facts.run_id"),
    Column("item_id", _STRING, "id from the manifest", "item.item_id"),
    Column("row_number", _INT, "place in the run, from 0; the row of the manifest, unless there are variants or samples, or rows of a night that had failed and come first", "item.row_number"),
    Column("status", _STRING, "succeeded or failed", "status"),
    Column("text", _STRING, "the answer", "response.text"),
    Column("reasoning", _STRING, "the thinking before the answer", "response.reasoning"),
    Column("annotation", _STRING, "the typed answer; its type comes from the schema of `annotation`", "result.annotation"),
    Column("finish_reason", _STRING, "stop or length", "response.finish_reason"),
    Column("audio_path", _STRING, "WAV file of the speech, relative to the run directory", "wav.path"),
    Column("audio_s", _FLOAT, "length of the speech", "speech.duration_s", "seconds"),
    Column("audio_sample_rate_hz", _INT, "samples per second of the speech", "speech.sample_rate_hz", "hertz"),
    Column("audio_sha256", _STRING, "SHA-256 of the WAV file", "wav.sha256", "hex"),
    Column("model", _STRING, "model requested", "facts.model"),
    Column("endpoint", _STRING, "endpoint of the last attempt; null if several are configured and none was called", "endpoint"),
    Column("modality", _STRING, "what the last turn holds: text, image, audio, video or frames", "modality"),
    Column("prompt", _STRING, "text of the last turn as sent", "prompt"),
    Column("media", _STRINGS, "references of the row's media, in the order they are sent", "media"),
    Column("voice", _STRING, "voice as it was sent; null if the server chose one", "voice"),
    Column("prompt_tokens", _INT, "billed input", "usage.prompt_tokens", "tokens"),
    Column("completion_tokens", _INT, "billed output", "usage.completion_tokens", "tokens"),
    Column("total_tokens", _INT, "billed in all", "usage.total_tokens", "tokens"),
    Column("prompt_text_tokens", _INT, "text in", "usage.prompt_text_tokens", "tokens"),
    Column("prompt_audio_tokens", _INT, "sound in, the sound of videos included", "usage.prompt_audio_tokens", "tokens"),
    Column("prompt_image_tokens", _INT, "images in", "usage.prompt_image_tokens", "tokens"),
    Column("prompt_video_tokens", _INT, "pictures of videos and frame lists in", "usage.prompt_video_tokens", "tokens"),
    Column("completion_text_tokens", _INT, "text out, without reasoning", "usage.completion_text_tokens", "tokens"),
    Column("completion_audio_tokens", _INT, "speech out", "usage.completion_audio_tokens", "tokens"),
    Column("reasoning_tokens", _INT, "thinking", "usage.reasoning_tokens", "tokens"),
    Column("cached_tokens", _INT, "input served from the context cache", "usage.cached_tokens", "tokens"),
    Column("cache_creation_tokens", _INT, "input written to the context cache", "usage.cache_creation_tokens", "tokens"),
    Column("estimated_prompt_tokens", _INT, "input as estimated before sending", "result.estimated_prompt_tokens", "tokens"),
    Column("cost", _FLOAT, "money for the answer, by real usage and the catalogue's prices", "cost.amount", "see currency"),
    Column("currency", _STRING, "of cost: ISO 4217", "cost.currency"),
    Column("attempts", _INT, "HTTP exchanges made for the item", "attempts"),
    Column("error_kind", _STRING, "class of the failure", "error_kind"),
    Column("error_code", _STRING, "code the service gave", "error_code"),
    Column("error_message", _STRING, "what failed and what to do", "error_message"),
    Column("http_status", _INT, "of the last exchange", "last.http_status"),
    Column("request_id", _STRING, "the service's id of the last exchange", "last.request_id"),
    Column("started_at", _TIME, "when work on the item started", "result.started_at", "UTC"),
    Column("first_chunk_s", _FLOAT, "from sending the last request to its first event", "last.first_chunk_s", "seconds"),
    Column("latency_s", _FLOAT, "from started_at to the end, waits included", "result.latency_s", "seconds"),
    Column("warnings", _STRINGS, "what to check although the item succeeded, each as rule: message", "warnings"),
    Column("fingerprint", _STRING, "hash of everything that decides the answer", "result.fingerprint", "hex"),
    Column("reused_from", _STRING, "run that paid for the answer: an earlier one, or this one for another row; null if this row did", "result.reused_from"),
    Column("variant", _STRING, "which of the config's variants asked; null without variants", "item.variant"),
    Column("sample", _INT, "which answer to the same question, from 1; null without samples", "item.sample"),
    Column("sent_formats", _STRINGS, "format in which each of `media` was sent, in their order; jpeg for a video sent as frames", "sent.formats"),
    Column("sent_bytes", _INTS, "bytes of each as sent; null where the service fetches it, or where nothing was sent", "sent.bytes", "bytes"),
    Column("sent_sizes_px", _STRINGS, "width x height of each as sent", "sent.sizes_px", "pixels"),
    Column("sent_s", _FLOATS, "length of each as sent; of all windows together, and of what frames are spread over", "sent.seconds", "seconds"),
    Column("window_begins_s", _FLOATS, "where the windows of a long recording begin in it; null without any", "window_begins_s", "seconds"),
    Column("window_ends_s", _FLOATS, "where they end", "window_ends_s", "seconds"),
    Column("window_texts", _STRINGS, "the answer to each window", "window_texts"),
    Column("reused_row", _INT, "row_number of the row of this run that asked the very same, and whose answer this is; null otherwise", "result.reused_row"),
    Column("source", _STRING, "the row's other columns as JSON", "source", "JSON"),
)

ATTEMPT_COLUMNS = (
    Column("run_id", _STRING, "id of the run", "facts.run_id"),
    Column("item_id", _STRING, "id from the manifest", "item.item_id"),
    Column("row_number", _INT, "place in the run, from 0; the row of the manifest, unless there are variants or samples, or rows of a night that had failed and come first", "item.row_number"),
    Column("number", _INT, "which attempt of the item, from 1", "attempt.number"),
    Column("model", _STRING, "model requested", "facts.model"),
    Column("endpoint", _STRING, "endpoint of the attempt", "endpoint"),
    Column("started_at", _TIME, "when it was sent", "attempt.started_at", "UTC"),
    Column("first_chunk_s", _FLOAT, "from sending to the first event", "attempt.first_chunk_s", "seconds"),
    Column("latency_s", _FLOAT, "from sending to the end", "attempt.latency_s", "seconds"),
    Column("http_status", _INT, "HTTP status", "attempt.http_status"),
    Column("request_id", _STRING, "the service's id of the exchange", "attempt.request_id"),
    Column("error_kind", _STRING, "class of the failure; in_doubt: its process died before it ended", "error_kind"),
    Column("error_code", _STRING, "code the service gave", "error_code"),
    Column("error_message", _STRING, "what failed", "error_message"),
    Column("prompt_tokens", _INT, "billed input", "usage.prompt_tokens", "tokens"),
    Column("completion_tokens", _INT, "billed output", "usage.completion_tokens", "tokens"),
    Column("total_tokens", _INT, "billed in all", "usage.total_tokens", "tokens"),
    Column("text_chars", _INT, "text that had arrived, reasoning included", "attempt.text_chars", "characters"),
    Column("audio_s", _FLOAT, "speech that had arrived", "attempt.audio_s", "seconds"),
    Column("text", _STRING, "beginning of what had arrived, if the attempt failed", "attempt.text"),
    Column("cost", _FLOAT, "money by real usage", "cost.amount", "see currency"),
    Column("estimated_tokens", _INT, "prompt and what had arrived, if it was cut before the usage came; at most, if it is in doubt", "attempt.estimated_tokens", "tokens"),
    Column("estimated_cost", _FLOAT, "money by that estimate", "estimated_cost.amount", "see currency"),
    Column("currency", _STRING, "of both costs: ISO 4217", "currency"),
    Column("variant", _STRING, "which of the config's variants asked; null without variants", "item.variant"),
    Column("sample", _INT, "which answer to the same question, from 1; null without samples", "item.sample"),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What all rows share that are asked alike."""

    run_id: str
    model: str
    endpoint: str | None
    """Of rows that were never sent; None where there are several."""


def _absent(kind: type) -> Any:
    """Stands for a missing object: its attributes are None, so that paths need no conditions."""
    return SimpleNamespace(**{name: None for name in dir(kind) if not name.startswith("_")})


_NO_REQUEST, _NO_ATTEMPT, _NO_RESPONSE = _absent(Request), _absent(Attempt), _absent(Response)
_NO_USAGE, _NO_WAV, _NO_SPEECH, _NO_COST = map(_absent, (Usage, WavFile, Speech, Cost))


def _result_fields(facts: RunFacts, result: Result) -> SimpleNamespace:
    item, request, answer = result.item, result.request, result.answer
    wav = answer.wav if answer else None
    last = result.attempts[-1] if result.attempts else _NO_ATTEMPT
    parts = request.own_parts() if request else ()
    references = [_reference(part) for part in parts] if request else item.references()
    return SimpleNamespace(
        facts=facts,
        item=item,
        result=result,
        request=request or _NO_REQUEST,
        response=answer.response if answer else _NO_RESPONSE,
        usage=(answer and answer.response.usage) or _NO_USAGE,
        wav=wav or _NO_WAV,
        speech=wav.speech if wav else _NO_SPEECH,
        cost=result.cost or _NO_COST,
        last=last,
        status="succeeded" if result.succeeded else "failed",
        voice=answer.voice if answer else last.voice,
        endpoint=last.endpoint or facts.endpoint,
        modality=request.modality if request else item.modality(),
        prompt=_prompt(request) if request else item.prompt,
        media=[shown_whole(reference) for reference in references],
        sent=_sent(parts, result),
        window_begins_s=[window.begin_s for window in result.windows] or None,
        window_ends_s=[window.end_s for window in result.windows] or None,
        window_texts=[window.text for window in result.windows] or None,
        attempts=result.attempts_before + len(result.attempts),
        warnings=list(map(str, result.doubts)),
        source=msgspec.json.encode(item.source, enc_hook=str).decode(),
        **_error_fields(result.error),
    )


def _reference(part: Media | Frames) -> str:
    return (part if isinstance(part, Media) else part.taken_from or part.images[0]).reference


def _sent(parts: Sequence[Media | Frames], result: Result) -> SimpleNamespace:
    """What is known of each medium as it was sent, column by column."""
    shown = [part if isinstance(part, Media) else part.images[0] for part in parts]
    return SimpleNamespace(
        formats=[medium.format or None for medium in shown] or None,
        bytes=[_sent_bytes(part, result) for part in parts] or None,
        sizes_px=[m.width_px and f"{m.width_px} x {m.height_px}" for m in shown] or None,
        seconds=[_sent_s(part, result) for part in parts] or None,
    )


def _sent_bytes(part: Media | Frames, result: Result) -> int | None:
    if isinstance(part, Media) and part.begin_s is None:
        return part.size_bytes
    pieces = part.images if isinstance(part, Frames) else result.windows
    sizes = [piece.size_bytes for piece in pieces]
    return sum(filter(None, sizes)) if all(sizes) else None


def _sent_s(part: Media | Frames, result: Result) -> float | None:
    if isinstance(part, Frames):
        return part.taken_from.duration_s if part.taken_from else None
    if part.begin_s is not None and result.windows:
        return result.windows[-1].end_s
    return part.duration_s


def _attempt_fields(facts: RunFacts, result: Result, attempt: Attempt) -> SimpleNamespace:
    money = attempt.cost or attempt.estimated_cost or _NO_COST
    return SimpleNamespace(
        facts=facts,
        item=result.item,
        attempt=attempt,
        usage=attempt.usage or _NO_USAGE,
        cost=attempt.cost or _NO_COST,
        estimated_cost=attempt.estimated_cost or _NO_COST,
        currency=money.currency,
        endpoint=attempt.endpoint or facts.endpoint,
        **_error_fields(attempt.error),
    )


def _error_fields(error: Exception | None) -> dict[str, str | None]:
    return {
        "error_kind": error_kind(error),
        "error_code": getattr(error, "code", None),
        "error_message": error_message(error),
    }


def _prompt(request: Request) -> str:
    """The text of the last turn as it was sent."""
    return "\n".join(part for part in request.messages[-1].parts if isinstance(part, str))


def _row_of(columns: Sequence[Column]) -> Callable[[SimpleNamespace], dict[str, Any]]:
    names = [column.name for column in columns]
    values = attrgetter(*(column.path for column in columns))
    return lambda fields: dict(zip(names, values(fields), strict=True))


_to_result_row, _to_attempt_row = _row_of(RESULT_COLUMNS), _row_of(ATTEMPT_COLUMNS)


def result_columns(json_schema: Mapping[str, Any] | None) -> tuple[Column, ...]:
    """The columns of `results` of a run, by the schema of its typed answers if it has any."""
    if json_schema is None:
        return RESULT_COLUMNS
    kind = arrow_type(read_shape(json_schema))
    return tuple(
        replace(column, type=kind) if column.name == "annotation" else column
        for column in RESULT_COLUMNS
    )


def schema(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([column.field() for column in columns])


def result_row(facts: RunFacts, result: Result) -> dict[str, Any]:
    """One row of `results`, as plain values."""
    return _to_result_row(_result_fields(facts, result))


def attempt_rows(facts: RunFacts, result: Result) -> list[dict[str, Any]]:
    """The rows of `attempts` that belong to one item."""
    attempts = result.attempts
    return [_to_attempt_row(_attempt_fields(facts, result, attempt)) for attempt in attempts]


def in_doubt_row(facts: RunFacts, item: Item, sent: Sent) -> dict[str, Any]:
    """The row of a request until that of its end takes its place; columns without value are out."""
    cost = sent.most_cost
    money = {"estimated_cost": cost.amount, "currency": cost.currency} if cost else {}
    return {
        "run_id": facts.run_id,
        "item_id": item.item_id,
        "variant": item.variant,
        "sample": item.sample,
        "row_number": item.row_number,
        "number": sent.number,
        "model": facts.model,
        "endpoint": sent.endpoint,
        "started_at": sent.started_at,
        "error_kind": IN_DOUBT,
        "error_message": _NEVER_ENDED,
        "estimated_tokens": sent.most_tokens,
        **money,
    }


def table(columns: Sequence[Column], rows: list[dict[str, Any]]) -> pa.Table:
    """Rows from the journal as an Arrow table; days and times come as ISO 8601 texts or as such."""
    arrays = [array_of((row.get(column.name) for row in rows), column.type) for column in columns]
    return pa.table(arrays, schema=schema(columns))
