"""The turns of all runs on this machine: one number for each account, in a small database.

SQLite, because its locks are released by the system when a process dies, whatever it was doing.
The number is the moment up to which the account's time has been given away, by the clock that all
processes of a machine share.
"""

import asyncio
import hashlib
import logging
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_FILE = "turns.sqlite"
_BUSY_S = 1.0
_FAR_S = 120.0
"""Further ahead nothing is given away: such a moment is of before the machine was started anew."""
_log = logging.getLogger(__name__)


def account_id(base_url: str, key: str | None, model: str) -> str:
    """Names what a limit is counted by. Nothing can be read from it."""
    return hashlib.sha256("\n".join((base_url, key or "", model)).encode()).hexdigest()[:32]


class MachineTurns:
    """Turns of one account among the processes of this machine.

    A run is never held up by it: where the folder can't be used, one line says that nothing is
    shared.

    Args:
        account: as `account_id` names it.
        folder: of the user's state; made where it is not there.
    """

    def __init__(self, account: str, folder: Path) -> None:
        self._account, self._path = account, folder / _FILE
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, "omni-batch-turns")
        self._broken = False

    async def lease(self, seconds: float) -> float:
        """Take the next stretch of so many seconds; see `Turns`."""
        loop = asyncio.get_running_loop()
        if self._broken:
            return loop.time()
        begin_s = await loop.run_in_executor(self._thread, self._take, seconds)
        return loop.time() + begin_s - time.monotonic()

    def close(self) -> None:
        """Ask for no more."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _take(self, seconds: float) -> float:
        try:
            database = self._database = self._database or self._open()
            with database:
                database.execute("BEGIN IMMEDIATE")
                return self._move(database, seconds)
        except (sqlite3.Error, OSError) as exc:
            self._broken = True
            _log.warning(
                "runs on this machine do not share the quota: %s can't be used (%s)",
                self._path,
                getattr(exc, "strerror", None) or exc,
            )
            return time.monotonic()

    def _move(self, database: sqlite3.Connection, seconds: float) -> float:
        now_s = time.monotonic()
        row = database.execute("SELECT free_s FROM turns WHERE account = ?", (self._account,))
        (free_s,) = row.fetchone() or (now_s,)
        far_s = max(_FAR_S, 50 * seconds)
        begin_s = max(now_s, free_s) if free_s < now_s + far_s else now_s
        database.execute(
            "INSERT OR REPLACE INTO turns VALUES (?, ?)", (self._account, begin_s + seconds)
        )
        return float(begin_s)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        database = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")  # whole after a kill at any moment
        database.execute("PRAGMA synchronous = OFF")  # nothing of it has to outlive the machine
        database.execute(
            "CREATE TABLE IF NOT EXISTS turns (account TEXT PRIMARY KEY, free_s REAL NOT NULL)"
        )
        return database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
