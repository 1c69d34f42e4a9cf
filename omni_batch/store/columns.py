"""The two tables of a run, column by column. Schema, row and documentation all come from here.

A new column is one line. Rows are plain values, so that the journal can hold them as JSON.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
import pyarrow as pa

from omni_batch.errors import error_kind, error_message
from omni_batch.text import display_name
from omni_batch.types import Attempt, Result, Usage

R = TypeVar("R")
_TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column: what it is called, holds and means, and where its value comes from."""

    name: str
    type: pa.DataType
    description: str
    value: Callable[[R], Any]
    unit: str | None = None

    def field(self) -> pa.Field:
        """The Arrow field, with description and unit as metadata."""
        metadata = {"description": self.description, **({"unit": self.unit} if self.unit else {})}
        return pa.field(self.name, self.type, metadata=metadata)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every row of a run shares."""

    run_id: str
    model: str
    endpoint: str | None
    """Of rows that were never sent; None where there are several."""


@dataclass(frozen=True, slots=True)
class AttemptOf:
    """An attempt with the item it was made for."""

    facts: RunFacts
    result: Result
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class ResultOf:
    """A result with its run."""

    facts: RunFacts
    result: Result


def _usage(name: str) -> Callable[[ResultOf], int | None]:
    def value(row: ResultOf) -> int | None:
        answer = row.result.answer
        return getattr(answer.response.usage, name) if answer and answer.response.usage else None

    return value


def _response(name: str) -> Callable[[ResultOf], Any]:
    return lambda row: row.result.answer and getattr(row.result.answer.response, name)


def _wav(pick: Callable[[Any], Any]) -> Callable[[ResultOf], Any]:
    def value(row: ResultOf) -> Any:
        wav = row.result.answer.wav if row.result.answer else None
        return pick(wav) if wav else None

    return value


def _request(pick: Callable[[Any], Any]) -> Callable[[ResultOf], Any]:
    return lambda row: pick(row.result.request) if row.result.request else None


def _last_attempt(row: ResultOf) -> Attempt | None:
    return row.result.attempts[-1] if row.result.attempts else None


def _endpoint(row: ResultOf) -> str | None:
    last = _last_attempt(row)
    return (last and last.endpoint) or row.facts.endpoint


def _prompt(row: ResultOf) -> str | None:
    """The text of the last turn as it was sent; of an item that was never sent, its own."""
    request = row.result.request
    if request is None:
        return row.result.item.prompt
    return "\n".join(part for part in request.messages[-1].parts if isinstance(part, str))


def _media(row: ResultOf) -> list[str]:
    request = row.result.request
    if request is not None:
        return [display_name(media.reference) for media in request.media()]
    return [display_name(reference) for reference in row.result.item.references()]


def _modality(row: ResultOf) -> str:
    request = row.result.request
    return request.modality if request is not None else row.result.item.modality()


def _tokens(name: str, description: str) -> Column[ResultOf]:
    return Column(name, pa.int64(), description, _usage(name), "tokens")


RESULT_COLUMNS: tuple[Column[ResultOf], ...] = (
    Column("run_id", pa.string(), "id of the run", lambda r: r.facts.run_id),
    Column("item_id", pa.string(), "id from the manifest", lambda r: r.result.item.item_id),
    Column(
        "row_number", pa.int64(), "row in the manifest, from 0", lambda r: r.result.item.row_number
    ),
    Column(
        "status",
        pa.string(),
        "succeeded or failed",
        lambda r: "succeeded" if r.result.succeeded else "failed",
    ),
    Column("text", pa.string(), "the answer", _response("text")),
    Column("reasoning", pa.string(), "the thinking before the answer", _response("reasoning")),
    Column("annotation", pa.string(), "the answer as JSON, if one was asked for", lambda r: None),
    Column("finish_reason", pa.string(), "stop or length", _response("finish_reason")),
    Column(
        "audio_path",
        pa.string(),
        "WAV file of the speech, relative to the run directory",
        _wav(lambda wav: wav.path),
    ),
    Column(
        "audio_s",
        pa.float64(),
        "length of the speech",
        _wav(lambda wav: wav.speech.duration_s),
        "seconds",
    ),
    Column(
        "audio_sample_rate_hz",
        pa.int64(),
        "samples per second of the speech",
        _wav(lambda wav: wav.speech.sample_rate_hz),
        "hertz",
    ),
    Column(
        "audio_sha256", pa.string(), "SHA-256 of the WAV file", _wav(lambda wav: wav.sha256), "hex"
    ),
    Column("model", pa.string(), "model asked", lambda r: r.facts.model),
    Column(
        "endpoint",
        pa.string(),
        "endpoint asked, the last one; null if none of several was",
        _endpoint,
    ),
    Column(
        "modality",
        pa.string(),
        "what the last turn holds: text, image, audio, video or frames",
        _modality,
    ),
    Column("prompt", pa.string(), "text of the last turn as sent", _prompt),
    Column("media", pa.list_(pa.string()), "references of all media sent", _media),
    Column("voice", pa.string(), "voice asked for", _request(lambda request: request.voice)),
    _tokens("prompt_tokens", "billed input"),
    _tokens("completion_tokens", "billed output"),
    _tokens("total_tokens", "billed in all"),
    _tokens("prompt_text_tokens", "text in"),
    _tokens("prompt_audio_tokens", "sound in, the sound of videos included"),
    _tokens("prompt_image_tokens", "images in"),
    _tokens("prompt_video_tokens", "pictures of videos and frame lists in"),
    _tokens("completion_text_tokens", "text out, without reasoning"),
    _tokens("completion_audio_tokens", "speech out"),
    _tokens("reasoning_tokens", "thinking"),
    _tokens("cached_tokens", "input served from the context cache"),
    _tokens("cache_creation_tokens", "input written to the context cache"),
    Column(
        "estimated_prompt_tokens",
        pa.int64(),
        "input as estimated before sending",
        lambda r: r.result.estimated_prompt_tokens,
        "tokens",
    ),
    Column(
        "cost",
        pa.float64(),
        "money for the answer, by real usage and the catalogue's prices",
        lambda r: r.result.cost and r.result.cost.amount,
        "see currency",
    ),
    Column(
        "currency",
        pa.string(),
        "of cost: ISO 4217",
        lambda r: r.result.cost and r.result.cost.currency,
    ),
    Column(
        "attempts",
        pa.int64(),
        "HTTP exchanges made for the item",
        lambda r: r.result.attempts_before + len(r.result.attempts),
    ),
    Column("error_kind", pa.string(), "class of the failure", lambda r: error_kind(r.result.error)),
    Column(
        "error_code",
        pa.string(),
        "code the service gave",
        lambda r: getattr(r.result.error, "code", None),
    ),
    Column(
        "error_message",
        pa.string(),
        "what failed and what to do",
        lambda r: error_message(r.result.error),
    ),
    Column(
        "http_status",
        pa.int64(),
        "of the last exchange",
        lambda r: (last := _last_attempt(r)) and last.http_status,
    ),
    Column(
        "request_id",
        pa.string(),
        "the service's id of the last exchange",
        lambda r: (last := _last_attempt(r)) and last.request_id,
    ),
    Column("started_at", _TIME, "when the item's turn came", lambda r: r.result.started_at, "UTC"),
    Column(
        "first_chunk_s",
        pa.float64(),
        "from sending the last request to its first event",
        lambda r: (last := _last_attempt(r)) and last.first_chunk_s,
        "seconds",
    ),
    Column(
        "latency_s",
        pa.float64(),
        "from the item's turn to its end, waits included",
        lambda r: r.result.latency_s,
        "seconds",
    ),
    Column(
        "warnings",
        pa.list_(pa.string()),
        "what to look at although the item succeeded",
        lambda r: list(r.result.warnings),
    ),
    Column(
        "fingerprint",
        pa.string(),
        "hash of everything that decides the answer",
        lambda r: r.result.fingerprint,
        "hex",
    ),
    Column(
        "reused_from",
        pa.string(),
        "earlier run that paid for the answer; null where it was asked for here",
        lambda r: r.result.reused_from,
    ),
    Column(
        "source",
        pa.string(),
        "the row's other columns as JSON",
        lambda r: msgspec.json.encode(r.result.item.source, enc_hook=str).decode(),
        "JSON",
    ),
)


def _attempt_usage(name: str) -> Callable[[AttemptOf], int | None]:
    def value(row: AttemptOf) -> int | None:
        usage: Usage | None = row.attempt.usage
        return getattr(usage, name) if usage else None

    return value


ATTEMPT_COLUMNS: tuple[Column[AttemptOf], ...] = (
    Column("run_id", pa.string(), "id of the run", lambda r: r.facts.run_id),
    Column("item_id", pa.string(), "id from the manifest", lambda r: r.result.item.item_id),
    Column(
        "row_number", pa.int64(), "row in the manifest, from 0", lambda r: r.result.item.row_number
    ),
    Column("number", pa.int64(), "which attempt of the item, from 1", lambda r: r.attempt.number),
    Column("model", pa.string(), "model asked", lambda r: r.facts.model),
    Column(
        "endpoint",
        pa.string(),
        "endpoint asked",
        lambda r: r.attempt.endpoint or r.facts.endpoint,
    ),
    Column("started_at", _TIME, "when it was sent", lambda r: r.attempt.started_at, "UTC"),
    Column(
        "first_chunk_s",
        pa.float64(),
        "from sending to the first event",
        lambda r: r.attempt.first_chunk_s,
        "seconds",
    ),
    Column(
        "latency_s",
        pa.float64(),
        "from sending to the end",
        lambda r: r.attempt.latency_s,
        "seconds",
    ),
    Column("http_status", pa.int64(), "HTTP status", lambda r: r.attempt.http_status),
    Column(
        "request_id",
        pa.string(),
        "the service's id of the exchange",
        lambda r: r.attempt.request_id,
    ),
    Column(
        "error_kind", pa.string(), "class of the failure", lambda r: error_kind(r.attempt.error)
    ),
    Column(
        "error_code",
        pa.string(),
        "code the service gave",
        lambda r: getattr(r.attempt.error, "code", None),
    ),
    Column("error_message", pa.string(), "what failed", lambda r: error_message(r.attempt.error)),
    Column("prompt_tokens", pa.int64(), "billed input", _attempt_usage("prompt_tokens"), "tokens"),
    Column(
        "completion_tokens",
        pa.int64(),
        "billed output",
        _attempt_usage("completion_tokens"),
        "tokens",
    ),
    Column("total_tokens", pa.int64(), "billed in all", _attempt_usage("total_tokens"), "tokens"),
    Column(
        "text_chars",
        pa.int64(),
        "text that had arrived, reasoning included",
        lambda r: r.attempt.text_chars,
        "characters",
    ),
    Column(
        "audio_s",
        pa.float64(),
        "speech that had arrived",
        lambda r: r.attempt.audio_s,
        "seconds",
    ),
    Column(
        "text",
        pa.string(),
        "beginning of what had arrived, where it was no success",
        lambda r: r.attempt.text,
    ),
    Column(
        "cost",
        pa.float64(),
        "money by real usage",
        lambda r: r.attempt.cost and r.attempt.cost.amount,
        "see currency",
    ),
    Column(
        "estimated_tokens",
        pa.int64(),
        "prompt and what had arrived, where it was cut before the usage came",
        lambda r: r.attempt.estimated_tokens,
        "tokens",
    ),
    Column(
        "estimated_cost",
        pa.float64(),
        "money by that estimate",
        lambda r: r.attempt.estimated_cost and r.attempt.estimated_cost.amount,
        "see currency",
    ),
    Column(
        "currency",
        pa.string(),
        "of both costs: ISO 4217",
        lambda r: (money := r.attempt.cost or r.attempt.estimated_cost) and money.currency,
    ),
)


def schema(columns: Iterable[Column[Any]]) -> pa.Schema:
    """The Arrow schema of a table."""
    return pa.schema([column.field() for column in columns])


def result_row(facts: RunFacts, result: Result) -> dict[str, Any]:
    """One row of `results`, as plain values."""
    return _row(RESULT_COLUMNS, ResultOf(facts, result))


def attempt_rows(facts: RunFacts, result: Result) -> list[dict[str, Any]]:
    """The rows of `attempts` that belong to one item."""
    return [_row(ATTEMPT_COLUMNS, AttemptOf(facts, result, a)) for a in result.attempts]


def table(columns: Iterable[Column[Any]], rows: list[dict[str, Any]]) -> pa.Table:
    """Rows from the journal as an Arrow table; times come as ISO 8601 texts or datetimes."""
    columns = tuple(columns)
    arrays = [
        pa.array([_typed(row.get(column.name), column) for row in rows], type=column.type)
        for column in columns
    ]
    return pa.table(arrays, schema=schema(columns))


def _row(columns: Iterable[Column[R]], record: R) -> dict[str, Any]:
    return {column.name: column.value(record) for column in columns}


def _typed(value: Any, column: Column[Any]) -> Any:
    written = column.type == _TIME and isinstance(value, str)
    return datetime.fromisoformat(value) if written else value
