"""What a night comes to: its numbers, whether it failed, what to do; or why it was none. Pure."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from omni_batch.counts import Money
from omni_batch.errors import OmniBatchError, RunAtWork
from omni_batch.format import money
from omni_batch.store.record import State
from omni_batch.text import one_line

_REJECTED = 2
_BROKEN = 3


@dataclass(frozen=True, slots=True)
class Night:
    """A run of a config that is run again and again."""

    run_id: str
    path: str
    """Of the run directory."""
    state: State
    reason: str | None
    """Why it did not come to its end."""
    rows: int
    new: int
    """Asked, and in no earlier night."""
    changed: int
    """Asked, though there was an answer: to another question, or one that is gone."""
    retried: int
    """Asked again, after a failure."""
    reused: int
    failed_new: int
    failed_known: int
    """They asked the same before, and failed as well."""
    left: int
    """Without a result, and without an answer of an earlier night."""
    cost: Money
    """With what attempts without a bill may have cost."""
    fail_above: int | float | None
    """New failures that it may have: rows, or a share of all."""

    @property
    def failed(self) -> bool:
        """Whether there are more new failures than it may have."""
        return self.fail_above is not None and self.failed_new > self._allowed(self.fail_above)

    def _allowed(self, limit: int | float) -> Fraction:
        # By its digits: as a float, 0.29 of 100 rows would be less than 29.
        return Fraction(str(limit)) * (self.rows if isinstance(limit, float) else 1)

    @property
    def exit_code(self) -> int:
        """What a command that ran it returns."""
        if self.state != "finished":
            return 130 if self.state == "interrupted" else 3
        return 1 if self.failed else 0

    @property
    def words(self) -> str:
        """The night in a sentence."""
        if self.state == "finished" and self.rows == self.reused:
            return f"nothing new: all {self.rows:,} rows were answered before, nothing was sent"
        numbers = (
            f"{self.new:,} new, {self.changed:,} changed, {self.retried:,} retried, "
            f"{self.reused:,} reused of {self.rows:,} rows"
        )
        left = f"; {self.left:,} left undone" if self.left else ""
        return f"{numbers}; {self._failures}{left}; {self._cost}"

    @property
    def _failures(self) -> str:
        if not self.failed_new + self.failed_known:
            return "none failed"
        failed = self.failed_new + self.failed_known
        return f"{failed:,} failed ({self.failed_new:,} new, {self.failed_known:,} known)"

    @property
    def _cost(self) -> str:
        return f"cost {money(self.cost)}" if self.cost else "cost unknown"

    @property
    def to_do(self) -> tuple[str, ...]:
        """What a person has to do about it; nothing where all is well."""
        return tuple(filter(None, (self._about_its_end(), self._about_failures())))

    def _about_its_end(self) -> str | None:
        if self.state == "finished":
            return None
        reason = self.reason or "it did not come to its end"
        return (
            f"{self.state}: {reason}. The next night asks for what is left undone; to do it now: "
            f"omni-batch resume {self.path}"
        )

    def _about_failures(self) -> str | None:
        if not self.failed_new + self.failed_known:
            return None
        look = f"look at them with: omni-batch report {self.path}; the next night asks them first"
        if self.failed:
            limit = f"fail_above: {self.fail_above}"
            return f"{self.failed_new:,} new failures are more than {limit}; {look}"
        if self.fail_above is None:
            return f"{look}. Set fail_above to have a night fail for new ones"
        return look

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            **asdict(self),
            "failed": self.failed,
            "exit_code": self.exit_code,
            "words": self.words,
            "to_do": self.to_do,
        }


@dataclass(frozen=True, slots=True)
class NoNight:
    """A night that did not take place, or broke off without its numbers."""

    config: str
    """Path of the config's file."""
    state: Literal["rejected", "skipped", "broken"]
    """Skipped: another run was at work on its rows."""
    reason: str
    exit_code: int

    @classmethod
    def of(cls, exc: Exception, config: str) -> "NoNight":
        """What an exception has made of a night."""
        if isinstance(exc, RunAtWork):
            return cls(config, "skipped", one_line(str(exc)), _REJECTED)
        if isinstance(exc, OmniBatchError) and not exc.stops_run:
            return cls(config, "rejected", one_line(str(exc)), _REJECTED)
        kind = "" if isinstance(exc, OmniBatchError) else f"{type(exc).__name__}: "
        return cls(config, "broken", f"{kind}{one_line(str(exc))}", _BROKEN)

    @property
    def words(self) -> str:
        """The night in a sentence."""
        return f"the night of {self.config} was {self.state}: {self.reason}"

    @property
    def to_do(self) -> tuple[str, ...]:
        """What a person has to do about it."""
        if self.state == "skipped":
            return ("nothing, if it happens once; else start nights further apart",)
        again = f"the next night tries again; to do it now: omni-batch nightly {self.config}"
        return (f"mend what the reason says; {again}" if self.state == "rejected" else again,)

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "failed": True, "words": self.words, "to_do": self.to_do}
