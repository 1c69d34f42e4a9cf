"""How runs share what an account may use: they take turns, by one line for each account.

`Turns` is the line as a run sees it. `MachineTurns` is the one of all processes on a machine,
`LineTurns` the one of a run's partitions, on whatever machines they are.
"""

from omni_batch.quota.sharing.line import LineTurns
from omni_batch.quota.sharing.machine import MachineTurns
from omni_batch.quota.sharing.turns import Turns, TurnTaker

__all__ = ["LineTurns", "MachineTurns", "TurnTaker", "Turns"]
