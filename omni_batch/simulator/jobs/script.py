"""What becomes of jobs and of calls about them, for `Simulator.script_jobs` and `script_calls`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from omni_batch.simulator.option_values import one_of

ENDS = ("completed", "expired", "cancelled", "failed", "never")
LINE_FAULTS: Mapping[str, str] = {
    "absent": "the line stands in neither file",
    "undone": "in the error file: its turn had not come when the job ended",
    "refused": "in the error file: an input that is too long",
    "broken_down": "in the error file: an internal error",
    "inspected": "in the output file, with status 400 of moderation",
    "limited": "in the output file, with status 429",
    "page": "in the output file, with status 502 and an HTML page",
    "unanswered": "in the error file, with status 0 and no body",
    "nothing": "in the output file, with neither response nor error",
    "half": "in the output file, cut in its middle",
    "twice": "in the output file, a second time with another text",
    "unbilled": "answered without a usage",
    "two_choices": "answered with a second choice",
    "empty": "answered with content null",
}
"""What may happen to a line of a job, and how its client sees it."""
CALLS = ("upload", "create", "look", "list", "download", "cancel")


@dataclass(frozen=True, slots=True)
class JobScript:
    """What becomes of the next job.

    Raises:
        ValueError: an unknown end or fault.
    """

    ends: str = "completed"
    """One of `ENDS`; failed: the file is refused."""
    lines: Mapping[int, str] = field(default_factory=dict)
    """By place in the file, from 0: one of `LINE_FAULTS`."""
    all_lines: str | None = None
    """The same for lines that are not named."""
    takes_s: float | None = None
    """Until it ends; None: `SimulatorOptions.job_s`."""
    strange: int = 0
    """Lines more, with ids that nobody sent."""
    reverse: bool = False
    """The last line comes first."""
    bom: bool = False
    crlf: bool = False
    """Lines end as on Windows, with a blank one in between."""
    empty_ids: bool = False
    """Absent files have an empty id in place of null."""
    capitals: bool = False
    """States are written in capitals."""
    complaints: tuple[tuple[str, str, int | None], ...] = ()
    """Of one that is refused: code, message and line, from 1."""
    forgets: tuple[str, ...] = ()
    """`output`: its files are not found; `job`: it is not found itself, once it has ended."""
    unlisted_s: float = 0.0
    """So long the list does not have it."""

    def __post_init__(self) -> None:
        one_of(self.ends, ENDS, "end")
        for fault in (*self.lines.values(), *([self.all_lines] if self.all_lines else ())):
            one_of(fault, LINE_FAULTS, "fault of a line")


@dataclass(frozen=True, slots=True)
class CallScript:
    """What the next call of a kind meets."""

    status: int | None = None
    """It is refused with this status; None: the connection ends without an answer."""
    is_done: bool = False
    """It takes effect all the same."""
    cut: float | None = None
    """Of a download: that share of it comes, then the connection ends."""
    packed: bool = False
    """A download comes as gzip, unasked."""
    retry_after_s: float | None = None
    page: bool = False
    """The refusal is a gateway's HTML page."""
