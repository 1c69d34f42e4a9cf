"""One process at a time on a run at a store: an object that names it, renewed while it lives.

The object is written where there is none (`If-None-Match: *`), and over one version of it only
(`If-Match`), so of two processes one gets it. After each writing it is read again, for stores that
overlook such conditions. One that is not renewed lapses.
"""

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from omni_batch.errors import RunAtWork
from omni_batch.sources.fault import SourceFault
from omni_batch.sources.stores.object_store import WritableStore
from omni_batch.text import one_line

log = logging.getLogger("omni_batch")

NAME = "lease.json"
RENEWED_EVERY_S = 15.0
LAPSES_S = 60.0
"""Without a renewal for so long, whoever has it is taken for dead."""
_LOOK_EVERY_S = 1.0
_MOST_BYTES = 10_000


class Holder(msgspec.Struct, frozen=True):
    """Who works on the run."""

    nonce: str
    pid: int
    host: str
    machine: str
    """Of one boot, and of one container: pids mean something there."""
    since: datetime

    @property
    def words(self) -> str:
        """For people."""
        return one_line(f"process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M} UTC")

    @property
    def is_dead(self) -> bool:
        """Whether its process is known to be gone: it was one of this machine."""
        return self.machine == _machine() and not is_alive(self.pid)


def is_alive(pid: int) -> bool:
    """Whether there may be such a process on this machine."""
    if sys.platform == "win32":  # where this would end it
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


class Lease:
    """The lease of one run.

    Args:
        key: of the object.
        words: what the run is called.
        clock, pause: seconds that go by, and how to let some go by.
    """

    def __init__(
        self,
        store: WritableStore,
        key: str,
        words: str,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._store, self._key, self._words = store, key, words
        self._clock, self._pause = clock, pause
        self._mine = Holder(
            secrets.token_hex(16), os.getpid(), socket.gethostname(), _machine(), datetime.now(UTC)
        )
        self._version: str | None = None

    def take(self) -> None:
        """Take it; one that nobody renews is waited for until it lapses.

        Raises:
            RunAtWork: another process has it.
            SourceFault: the store can't be used.
        """
        seen: tuple[str, float] | None = None
        while not self._taken(self._store.create(self._key, self._content())):
            if (held := self._held()) is None:
                continue
            holder, version = held
            if seen is not None and version != seen[0]:
                raise RunAtWork(f"{self._words} is in use by {holder.words}; wait for it to end")
            if seen is None:
                seen = version, self._clock()
            lapsed = self._clock() - seen[1] > LAPSES_S
            if holder.is_dead or lapsed:
                if self._taken(self._store.replace(self._key, self._content(), version)):
                    return
                seen = None
                continue
            if self._clock() == seen[1]:
                log.warning(
                    "%s may be in use by %s; if that is gone, it goes on here in %.0f s",
                    *(self._words, holder.words, LAPSES_S),
                )
            self._pause(_LOOK_EVERY_S)

    def renew(self) -> None:
        """Show that this process lives.

        Raises:
            RunAtWork: another process has taken it.
            SourceFault: the store can't be used.
        """
        version = self._store.replace(self._key, self._content(), self._version or "")
        if not self._taken(version):
            held = self._held()
            who = held[0].words if held else "nobody any more"
            raise RunAtWork(f"{self._words} is in use by {who}, as this process was not heard of")

    def release(self) -> None:
        """Let others have it at once; where that fails, it lapses."""
        with suppress(SourceFault):
            if self._version is not None and self._taken(self._version):
                self._store.delete(self._key)
        self._version = None

    def _taken(self, version: str | None) -> bool:
        """Whether it is ours now; also where the answer to our own writing was lost."""
        held = self._held()
        if held is None or held[0].nonce != self._mine.nonce:
            return False
        self._version = version or held[1]
        return True

    def _content(self) -> bytes:
        # Another content each time: versions may be hashes of it.
        mark = {"renewed": datetime.now(UTC).isoformat(), "mark": secrets.token_hex(8)}
        return msgspec.json.encode({**msgspec.to_builtins(self._mine), **mark})

    def _held(self) -> tuple[Holder, str] | None:
        entry = self._store.entry(self._key)
        content = self._store.read(self._key, _MOST_BYTES) if entry else None
        if entry is None or content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Holder), entry.version
        except msgspec.DecodeError:
            raise SourceFault(
                f"{self._words}: its {NAME} is none of ours; remove it if nobody works on the run"
            ) from None


def _machine() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115
    return "/".join(parts)
