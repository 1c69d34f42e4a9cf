"""What a service does: it fails for a while, or dies with all that it was saying."""

from collections.abc import Mapping

from tests.soak.faults.stage import Fault, Stage
from tests.soak.plan import Strike
from tests.soak.service import USUAL_FAULTS

_STOPPED = frozenset({3})


def _fails(kind: str, share: float) -> Fault:
    def strike(stage: Stage, strike: Strike) -> bool:
        stage.service.fail({kind: share})
        stage.living.wait(strike.for_s)
        stage.service.fail(USUAL_FAULTS)
        return True

    return Fault(strike, _STOPPED)


def _restart(stage: Stage, strike: Strike) -> bool:
    stage.service.restart(strike.for_s / 2)
    return True


BY_SERVICE: Mapping[str, Fault] = {
    "service restarted": Fault(_restart, _STOPPED, loses=True, weight=1.5),
    "resets": _fails("reset", 0.7),
    "503": _fails("error_503", 0.7),
    "429": _fails("rate_limit", 0.6),
    "cut answers": _fails("cut", 0.7),
    "silent answers": _fails("stall", 0.4),
}
