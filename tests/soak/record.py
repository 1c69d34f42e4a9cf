"""What came of the rounds: one record, and the table that is printed of it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Record:
    """Of one round, or of many: two of them add up."""

    rounds: int = 0
    lives: int = 0
    """Processes that worked on a run."""
    with_prefect: int = 0
    """Of them through Prefect's temporary server."""
    faults: Counter[str] = field(default_factory=Counter)
    """That struck, by name."""
    survived: Counter[str] = field(default_factory=Counter)
    """Of them those in rounds that held."""
    rows: int = 0
    rows_wanted: int = 0
    wavs: int = 0
    """Bit exact with what the service sent."""
    wavs_wanted: int = 0
    answered_twice: int = 0
    """Whole answers of the service to an item beyond its first."""
    excused: int = 0
    """As many as may have been: what was in flight at kills, and rows that were taken away."""
    unknown: int = 0
    """Requests that the service got and that stand in no table of the run."""
    in_doubt: int = 0
    """Requests whose process died before their end, as the table says."""
    left: int = 0
    """Processes that were left behind."""
    slowest_stop_s: float = 0.0
    failed: tuple[int, ...] = ()
    """Numbers of the rounds that did not hold."""

    def __add__(self, more: "Record") -> "Record":
        sums = {name: getattr(self, name) + getattr(more, name) for name in _SUMS}
        slowest_stop_s = max(self.slowest_stop_s, more.slowest_stop_s)
        return Record(**sums, slowest_stop_s=slowest_stop_s)


_SUMS = tuple(name for name in Record.__dataclass_fields__ if name != "slowest_stop_s")


def as_table(record: Record, seed: int, minutes: float) -> str:
    """All of it, for people."""
    return "\n".join(_lines(record, seed, minutes))


def _lines(record: Record, seed: int, minutes: float) -> Iterator[str]:
    yield f"{'fault':<28}{'struck':>8}{'survived':>10}"
    for name, count in record.faults.most_common():
        yield f"{name:<28}{count:>8}{record.survived[name]:>10}"
    yield f"{'all':<28}{record.faults.total():>8}{record.survived.total():>10}"
    yield ""
    yield from _aligned(
        (
            ("rounds", f"{record.rounds}"),
            ("processes", f"{record.lives}, {record.with_prefect} of them through Prefect"),
            ("rows", f"{record.rows:,} of {record.rows_wanted:,}"),
            ("bit-exact WAVs", f"{record.wavs:,} of {record.wavs_wanted:,}"),
            (
                "answered twice",
                f"{record.answered_twice} (in flight or taken away: at most {record.excused})",
            ),
            ("in doubt", f"{record.in_doubt}"),
            ("requests in no table", f"{record.unknown}"),
            ("processes left behind", f"{record.left}"),
            ("slowest orderly stop", f"{record.slowest_stop_s:.1f} s"),
            ("seed", f"{seed}, {minutes:.1f} minutes"),
        )
    )
    for number in record.failed:
        yield f"round {number} failed: python -m tests.soak --seed {seed} --round {number}"


def _aligned(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    return (f"{name:<34}{value}" for name, value in pairs)
