"""Prefect's temporary server: beside us, out of our terminal's reach, and never longer than us.

Prefect starts it as any child: in our process group, where one Ctrl-C ends both and we then talk
to nobody, with our whole environment, and for good where we are killed.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from omni_batch import interrupts
from omni_batch.providers.profiles import PROFILES

_LIFELINE = Path(__file__).with_name("lifeline.py")
_EXCEPTION = re.compile(r"[\w.]+(?:Error|Exception): ")
_PORT_TAKEN = "address already in use"
_withheld = {profile.api_key_env for profile in PROFILES.values()}
_begun: list["_Beside"] = []


def take_over() -> None:
    """From now on a temporary server begins and ends as said here, whoever asks Prefect for one."""
    import prefect.server.api.server as of_prefect  # takes its time

    ours = SimpleNamespace(**vars(subprocess) | {"Popen": _Beside})
    of_prefect.__dict__["subprocess"] = ours
    interrupts.before_leaving(_kill)


def withhold(variables: Iterable[str]) -> None:
    """Keep variables with keys out of the environment of a server that is not started yet."""
    _withheld.update(variables)


def end(within_s: float) -> None:
    """End it, in order if there is time. Prefect is not told, or it would start another one."""
    with suppress(subprocess.TimeoutExpired):
        for process in tuple(_begun):
            process.terminate()
            process.wait(within_s)
    _kill()


def last_words() -> str:
    """What it said last before it ended by itself: the reason of an exception."""
    lines = _begun[-1].said().splitlines() if _begun else []
    said = [line for line in map(str.strip, lines) if line]
    return next(filter(_EXCEPTION.match, reversed(said)), said[-1] if said else "")


def _kill() -> None:
    for process in tuple(_begun):
        process.kill()


class _Beside(subprocess.Popen[bytes]):
    """Prefect's command in a session of its own, at the end of a pipe that closes with us."""

    def __init__(self, args: list[str], env: Mapping[str, str]) -> None:
        python, _, *module = args  # python -m uvicorn ...
        self._has_failed = False
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        super().__init__(
            [python, "-P", str(_LIFELINE), *module],
            env={name: value for name, value in env.items() if name not in _withheld},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
        )
        _begun.append(self)

    def poll(self) -> int | None:
        """As Popen. The first time that it has ended alone this is an error.

        Prefect waits for its answer, and starts another one like it, until all patience is gone.
        """
        code = super().poll()
        if code is not None and not self._has_failed and _PORT_TAKEN not in self.said():
            self._has_failed = True
            raise RuntimeError(f"it ended at once, with code {code}")
        return code

    def said(self) -> str:
        """Its errors so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended."""
        code = super().wait(timeout)
        if self.stdin:
            self.stdin.close()
        self._log.close()
        if self in _begun:
            _begun.remove(self)
        return code
