"""What an operator does: signals, keys, a second terminal."""

import signal
from collections.abc import Mapping

from tests.soak.faults.stage import Fault, Stage
from tests.soak.plan import Strike

GRACE_S = 5
"""`shutdown_grace_s` of all runs here."""
ORDERLY_S = GRACE_S + 10.0
"""The grace, and what a busy machine takes besides."""
AT_ONCE_S = 5.0
_PATIENCE_S = 120.0
_CTRL_C = b"\x03"
_INTERRUPTED = 130


def _sends(number: signal.Signals) -> "Fault":
    def strike(stage: Stage, _: Strike) -> bool:
        stage.living.signal(number)
        return True

    codes = frozenset({_INTERRUPTED, -number})
    return Fault(strike, codes, ends_within_s=ORDERLY_S)


def _kill(stage: Stage, _: Strike) -> bool:
    stage.living.signal(signal.SIGKILL)
    return True


def _press_once(stage: Stage, _: Strike) -> bool:
    _interrupt(stage)
    return True


def _press_twice(stage: Stage, strike: Strike) -> bool:
    _interrupt(stage)
    if stage.living.wait(min(strike.for_s, 2)) is None:
        _interrupt(stage)
    return True


def _interrupt(stage: Stage) -> None:
    if stage.living.has_terminal:
        stage.living.press(_CTRL_C)
    else:
        stage.living.signal(signal.SIGINT)


def _close(stage: Stage, _: Strike) -> bool:
    if not stage.living.has_terminal:
        stage.living.signal(signal.SIGHUP)
    stage.living.close_window()
    return True


def _pause(stage: Stage, strike: Strike) -> bool:
    stage.living.signal(signal.SIGSTOP)
    stage.living.wait(strike.for_s)
    stage.living.signal(signal.SIGCONT)
    return True


def _resume_beside(stage: Stage, _: Strike) -> bool:
    if not (stage.run / "run.json").exists():
        return False
    second = stage.begin(["resume", str(stage.run), "--no-prefect"])
    code = second.wait(_PATIENCE_S)
    if code != 2 and stage.living.is_alive():
        stage.complain(f"a second resume beside a living run ended with {code}")
    return True


_LOOKS = (["status"], ["status", "--json"], ["report"], ["sql"], ["export", "--to", "jsonl"])


def _look(stage: Stage, strike: Strike) -> bool:
    if not (stage.run / "run.json").exists():
        return False
    command, *options = _LOOKS[int(strike.luck * len(_LOOKS))]
    arguments = [command, str(stage.run), *options]
    if command == "sql":
        arguments.append("select count(*) from results")
    if command == "export":
        arguments.append(str(stage.run.parent.parent / f"export-{strike.luck}.jsonl"))
    code = stage.begin(arguments).wait(_PATIENCE_S)
    if code not in (0, 2, 3):
        stage.complain(f"{' '.join(arguments)} beside a living run ended with {code}")
    return True


_FROM_START = frozenset({_INTERRUPTED, -signal.SIGINT})
BY_HAND: Mapping[str, Fault] = {
    "kill -9": Fault(
        _kill, frozenset({-signal.SIGKILL}), loses=True, ends_within_s=AT_ONCE_S, weight=6
    ),
    "SIGTERM": _sends(signal.SIGTERM),
    "SIGHUP": _sends(signal.SIGHUP),
    "Ctrl-C": Fault(_press_once, _FROM_START, ends_within_s=ORDERLY_S, weight=1.5),
    "Ctrl-C twice": Fault(_press_twice, _FROM_START, loses=True, ends_within_s=AT_ONCE_S),
    "window closed": Fault(
        _close, frozenset({_INTERRUPTED, -signal.SIGHUP}), ends_within_s=ORDERLY_S
    ),
    "paused": Fault(_pause, weight=2),
    "second resume": Fault(_resume_beside, weight=0.5),
    "looked at": Fault(_look, weight=0.7),
}
