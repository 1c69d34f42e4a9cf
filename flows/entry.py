"""From a program without an event loop into the flow. Prefect's errors end here."""

import asyncio
import logging
import os
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from prefect import __version__
from prefect.client.orchestration import get_client
from prefect.exceptions import ExternalSignal, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, PREFECT_HOME
from pydantic import ValidationError

from omni_batch.engine.pipeline import execute
from omni_batch.errors import ConfigError
from omni_batch.providers.environment import check_proxies
from omni_batch.store import RunDir
from omni_batch.store.locks.lock import Taken, locked
from omni_batch.store.record import read_record
from omni_batch.text import one_line, redacted

from .secrets import key_variables, load_keys
from .temporary import server
from .watch import FlowRunWatch

Worked: TypeAlias = "asyncio.Future[FlowRunWatch]"
"""Told how the work ended, before Prefect takes it down."""
Work = Callable[[RunDir], Coroutine[Any, Any, None]]
# Not in the module of the flow, which Prefect pickles as a whole for the process that it starts.
_WORKED: "ContextVar[Worked | None]" = ContextVar("worked", default=None)
log = logging.getLogger("omni_batch")

_VERSION = re.compile(r"\d+\.\d+[\w.+-]{0,60}")
_DATABASE = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
_FIRST_START = (
    "Starting a temporary Prefect server; on its first start on this machine it makes its "
    "database, which takes about 20 seconds"
)
_LATER_START = "Starting a temporary Prefect server (about 10 seconds)"
_FIRST_START_S = 120.0
_HELLO_S = 10.0
_PATIENCE_S = 10.0
"""For the last words to a server, once the work is done: by default Prefect tries for minutes."""
_NO_PATIENCE_S = 1.0
_LAST_S = 0.4
"""For a temporary server that has had its last words."""
_left_open: list[asyncio.Runner] = []


def run_to_its_end(work: Work, directory: RunDir, say: Callable[[str], None]) -> None:
    """Do some work on a run as a flow run, see `batch.run_with_prefect`."""
    check_proxies()
    say(_waiting_for())
    server.withhold(key_variables(directory))
    _reach_api()
    logging.raiseExceptions = False  # Prefect tells of lost log lines on stderr, in the display
    runner = asyncio.Runner()
    worked: Worked = runner.get_loop().create_future()
    before = read_record(directory.record)
    try:
        whole = runner.run(_do(directory, work, worked))
    except (KeyboardInterrupt, ExternalSignal):
        _left_open.append(runner)
        record = read_record(directory.record)
        if record == before or record.state == "running":
            raise KeyboardInterrupt from None
        whole = False  # the run has ended already, and its page is not waited for
    except BaseException:
        _left_open.append(runner)
        raise
    if whole:
        runner.close()
    else:
        _left_open.append(runner)
        server.end(_LAST_S)


def who_waits() -> "Worked | None":
    """Who is to be told how the work ended; nobody in a process that Prefect has started."""
    return _WORKED.get()


def is_left_open() -> bool:
    """Whether threads of Prefect still wait for a server, so that the process can't just end."""
    return bool(_left_open)


async def _do(directory: RunDir, work: Work, worked: Worked) -> bool:
    """True once Prefect has taken down all; False if it does not when the work is done."""
    _WORKED.set(worked)
    flow = asyncio.ensure_future(work(directory))
    both: set[asyncio.Future[Any]] = {flow, worked}
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    if not worked.done():
        try:
            await flow
        except (PrefectHTTPStatusError, ValidationError) as exc:
            log.warning(
                "Prefect refuses the flow run (%s); the run goes on without it",
                one_line(str(exc))[:300],
            )
            await load_keys(directory)
            await execute(directory)
            return True
        raise ConfigError("Prefect did not start the flow run; add --no-prefect to do without it")
    watch = worked.result()
    patience_s = watch.patience_s(_PATIENCE_S if watch.answers else _NO_PATIENCE_S)
    await asyncio.wait({flow}, timeout=patience_s)
    if watch.is_hurried:
        return False
    if watch.answers and not flow.done():
        log.warning("Prefect's API does not take the end of the flow run; its page is incomplete")
    return flow.done()


def _reach_api() -> None:
    with alone_at_first_start():
        try:
            with get_client(httpx_settings={"timeout": _HELLO_S}, sync_client=True) as client:
                theirs = version_of(client.api_version())
        except Exception as exc:
            raise ConfigError(_refusal(exc)) from exc
    if _minor(theirs) != _minor(__version__):
        log.warning("%s; the run goes on, if need be without its page", both_versions(theirs))


def version_of(said: object) -> str:
    """The version that a server tells.

    Raises:
        ConfigError: it is none, so that this is not a server of Prefect.
    """
    if not isinstance(said, str) or not _VERSION.fullmatch(said):
        raise ConfigError("what answers there is not Prefect")
    return said


def both_versions(theirs: str) -> str:
    """Which versions meet."""
    url = redacted(PREFECT_API_URL.value() or "")
    return f"the Prefect server at {url} has version {theirs}, and this is Prefect {__version__}"


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _refusal(exc: Exception) -> str:
    if url := PREFECT_API_URL.value():
        return (
            f"Prefect's API at {redacted(url)} can't be reached ({why_not(exc)}): start it, or "
            "correct the URL (it ends in /api), unset PREFECT_API_URL, or add --no-prefect"
        )
    reason = server.last_words() or one_line(str(exc))
    return (
        f"no temporary Prefect server could be started ({reason:.300}): {_database()}start one "
        "with `prefect server start` and set PREFECT_API_URL, or add --no-prefect"
    )


def why_not(exc: Exception) -> str:
    """Why a server can't be reached, in a few words."""
    if isinstance(exc, ValueError):
        return "what answers there is not Prefect"  # it has sent a page, and no JSON
    return f"{one_line(str(exc)) or type(exc).__name__:.200}"


def _database() -> str:
    set_ = [name for name in _DATABASE if os.environ.get(name)]
    return f"look at {set_[0]} = {redacted(os.environ[set_[0]])}, or " if set_ else ""


@contextmanager
def alone_at_first_start() -> Iterator[None]:
    """Two servers at once that make the same database spoil it for each other."""
    home = PREFECT_HOME.value()
    with ExitStack() as stack:
        if not PREFECT_API_URL.value():
            try:
                home.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(home, _FIRST_START_S))
            except Taken:
                pass  # it has had its time
            except OSError as exc:
                raise ConfigError(_unwritable(exc.strerror)) from exc
            if not os.access(home, os.W_OK):
                raise ConfigError(_unwritable("permission denied or read-only"))
            if (home / "prefect.db").exists():
                stack.close()
        yield


def _unwritable(reason: str | None) -> str:
    home = PREFECT_HOME.value()
    return f"PREFECT_HOME = {home} can't be written: {reason}; correct it, or add --no-prefect"


def _waiting_for() -> str:
    url = PREFECT_API_URL.value()
    if url:
        return f"Connecting to Prefect at {redacted(url)}"
    return _LATER_START if (PREFECT_HOME.value() / "prefect.db").exists() else _FIRST_START
