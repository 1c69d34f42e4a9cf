"""What a machine is short of: room, descriptors, a steady clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak.faults.stage import Fault, Stage
from tests.soak.plan import Strike

_REFUSED = frozenset({2, 3})
"""Before anything was sent, or on the way."""
_FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
)
_JUMPS = ("-3600s", "+3600s", "-30d", "+400d", "-5s", "+20s")


@dataclass(frozen=True, slots=True)
class Means:
    """How a process is started so that it lacks something."""

    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def faketime() -> Path | None:
    """Where libfaketime is, if it is installed."""
    return next((Path(path) for path in _FAKETIME if Path(path).exists()), None)


def means_of(strike: Strike, clock: Path) -> Means:
    """How a fault of `SCARCE` is brought about."""
    match strike.fault:
        case "few descriptors":
            hard = 40 + int(strike.luck * 120)
            return Means(("prlimit", f"--nofile={hard}:{hard}"))
        case "few descriptors at first":
            return Means(("prlimit", f"--nofile={40 + int(strike.luck * 60)}:4096"))
        case "file size limit":
            return Means(("prlimit", f"--fsize={2000 + int(strike.luck * 200_000)}"))
        case _:
            clock.write_text("+0")
            return Means(environment=_shifted_by(clock))


def _shifted_by(clock: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as a real clock that is set
        "NO_FAKE_STAT": "1",
    }


def _at_start(_: Stage, __: Strike) -> bool:
    return True  # all of it was done by the way in which the process was started


def _jump(stage: Stage, strike: Strike) -> bool:
    stage.clock.write_text(_JUMPS[int(strike.luck * len(_JUMPS))])
    return True


def _fill(stage: Stage, strike: Strike) -> bool:
    stage.disk.fill()
    stage.living.wait(strike.for_s)
    stage.disk.free()
    return True


SCARCE: Mapping[str, Fault] = {
    "few descriptors": Fault(_at_start, _REFUSED),
    "few descriptors at first": Fault(_at_start),
    "file size limit": Fault(_at_start, _REFUSED, loses=True, blocks=True),
    "clock jump": Fault(_jump),
}
"""From the start of a process on."""
LATER = frozenset({"clock jump"})
"""Of them what needs a process that is prepared for it, and strikes later."""
ROOM: Mapping[str, Fault] = {"disk full": Fault(_fill, _REFUSED, loses=True, blocks=True, weight=2)}
"""Where the disk is the round's own."""
