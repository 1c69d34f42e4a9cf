"""How runs share what an account may use: they take turns, by one line for each account.

`Turns` is the line as a run sees it. `MachineTurns` is the one of all processes on a machine.
"""

from omni_batch.quota.sharing.machine import MachineTurns
from omni_batch.quota.sharing.turns import Turns, TurnTaker

__all__ = ["MachineTurns", "TurnTaker", "Turns"]
