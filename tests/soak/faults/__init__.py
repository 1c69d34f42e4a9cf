"""All faults by their names, and when each may strike."""

from collections.abc import Mapping

from tests.soak.faults.by_hand import BY_HAND
from tests.soak.faults.by_loss import BY_LOSS, UNDER_IT
from tests.soak.faults.by_means import ROOM, SCARCE, faketime
from tests.soak.faults.by_service import BY_SERVICE
from tests.soak.faults.stage import Fault
from tests.soak.plan import Menu, Weights

FAULTS: Mapping[str, Fault] = {**BY_HAND, **BY_SERVICE, **SCARCE, **ROOM, **UNDER_IT, **BY_LOSS}


def menu(*, own_disk: bool) -> Menu:
    """What can be drawn on this machine."""
    scarce = {name: fault for name, fault in SCARCE.items() if name != "clock jump" or faketime()}
    living = {**BY_HAND, **BY_SERVICE, **UNDER_IT, **(ROOM if own_disk else {})}
    deadly = {name: fault for name, fault in living.items() if fault.ends_within_s}
    passing = {name: fault for name, fault in living.items() if name not in deadly}
    return Menu(_weights(scarce), _weights(deadly), _weights(passing), _weights(BY_LOSS))


def _weights(faults: Mapping[str, Fault]) -> Weights:
    return {name: fault.weight for name, fault in faults.items()}
