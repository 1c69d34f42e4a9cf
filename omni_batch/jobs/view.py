"""A job as the service shows it, whatever of the documented form is absent or odd. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from omni_batch.text import one_line

ENDS = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
"""States that a job does not leave; a word that nobody knows is none of them."""
_LATEST_S = 32_503_680_000  # the year 3000, in seconds: beyond it stand milliseconds
_WORDS_CHARS = 300
_ERRORS_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the service found wrong with a file, as a whole or in one line."""

    code: str
    message: str
    line: int | None = None
    """From 1."""

    def __str__(self) -> str:
        where = f", line {self.line}" if self.line else ""
        return f"{self.message} ({self.code}{where})" if self.code else self.message + where


@dataclass(frozen=True, slots=True)
class JobView:
    """What the service says of a job."""

    id: str
    status: str
    """In small letters."""
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    completed: int = 0
    failed: int = 0
    complaints: tuple[Complaint, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.status in ENDS

    @property
    def has_files(self) -> bool:
        """Whether it names a file to fetch."""
        return bool(self.output_file_id or self.error_file_id)


def job_view(tree: Any) -> JobView | None:
    """A job out of a reply; None where there is none."""
    if not isinstance(tree, dict) or not (job_id := _text(tree.get("id"))):
        return None
    counts = tree.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    metadata = tree.get("metadata")
    return JobView(
        id=job_id,
        status=(_text(tree.get("status")) or "unknown").lower(),
        input_file_id=_text(tree.get("input_file_id")),
        output_file_id=_text(tree.get("output_file_id")),
        error_file_id=_text(tree.get("error_file_id")),
        created_at=_time(tree.get("created_at")),
        expires_at=_time(tree.get("expires_at")),
        completed=_count(counts.get("completed")),
        failed=_count(counts.get("failed")),
        complaints=tuple(_complaints(tree.get("errors"))),
        metadata=metadata if isinstance(metadata, dict) else {},
    )


def jobs_of_list(tree: Any) -> tuple[list[JobView], bool]:
    """The jobs of one page of a list, and whether there are more."""
    if not isinstance(tree, dict) or not isinstance(tree.get("data"), list):
        return [], False
    found = [view for view in map(job_view, tree["data"]) if view is not None]
    return found, bool(tree.get("has_more"))


def _complaints(errors: Any) -> list[Complaint]:
    data = errors.get("data") if isinstance(errors, dict) else errors
    found = [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    return [
        Complaint(
            _text(each.get("code")) or "",
            _text(each.get("message")) or "no reason given",
            each["line"] if isinstance(each.get("line"), int) and each["line"] > 0 else None,
        )
        for each in found[:_ERRORS_KEPT]
    ]


def _text(value: Any) -> str | None:
    """A text that says something; an empty one stands for an absent one at some servers."""
    return one_line(value)[:_WORDS_CHARS] or None if isinstance(value, str) else None


def _count(value: Any) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 10**9 else 0


def _time(value: Any) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    seconds = value / 1000 if value > _LATEST_S else value
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _LATEST_S else None
