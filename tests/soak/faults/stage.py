"""What a fault may reach of a round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.soak.disk import OwnDisk
from tests.soak.plan import Strike
from tests.soak.process import Life
from tests.soak.service import Service


@dataclass(slots=True)
class Stage:
    """A round as it is played."""

    run: Path
    """Its run directory."""
    service: Service
    disk: OwnDisk
    clock: Path
    """File that says by how much the clock of its processes is off."""
    begin: Callable[[Sequence[str]], Life]
    """Another command, beside the one at work."""
    complain: Callable[[str], None]
    """Takes note of what should not be."""
    life: Life | None = None
    """The process at work."""
    record_copy: bytes = b""
    """Of run.json, where a fault has taken it."""

    @property
    def living(self) -> Life:
        """The process at work, where there must be one."""
        assert self.life is not None
        return self.life

    @property
    def record(self) -> Path:
        """Its run.json."""
        return self.run / "run.json"

    def bring_back(self) -> None:
        """Run.json from its copy, if it has gone and nobody has written it again."""
        if self.record_copy and (not self.record.exists() or not self.record.stat().st_size):
            self.record.write_bytes(self.record_copy)
        self.record_copy = b""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is done to a run, and what may come of it."""

    strike: Callable[[Stage, Strike], bool]
    """Does it; False where there was nothing to strike."""
    codes: frozenset[int] = frozenset()
    """Exit codes that it may lead to, besides those of a finished run."""
    loses: bool = False
    """Answers in flight may be lost by it, so that they are paid for again."""
    takes: bool = False
    """It takes rows away that had been kept; these are asked for again as well."""
    blocks: bool = False
    """Nothing can be written while it lasts."""
    ends_within_s: float | None = None
    """How soon the process must be gone; None where it need not end."""
    weight: float = 1.0
