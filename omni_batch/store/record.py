"""run.json: what a run is, whose it is, how far it has come. Written whole, then renamed."""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from omni_batch.counts import Counts, Projection
from omni_batch.endpoint_status import EndpointStatus, JobStatus
from omni_batch.errors import ConfigError
from omni_batch.store.disk import PROCESS, Disk, reason_of, refuse_special, storage_errors
from omni_batch.store.trust import bounds
from omni_batch.text import one_line

_REASON_CHARS = 300
State = Literal["prepared", "running", "finished", "interrupted", "stopped"]


class Owner(msgspec.Struct, frozen=True):
    """The process that works on the run."""

    pid: int
    host: str
    since: datetime

    @classmethod
    def this_process(cls) -> "Owner":
        """Us, now."""
        return cls(os.getpid(), socket.gethostname(), datetime.now(UTC))


class Slice(msgspec.Struct, frozen=True):
    """Which part of a run a partition is: whole shards, one after the other."""

    number: int
    """From 0."""
    of: int
    """How many partitions there are."""
    first_shard: int
    items_of_run: int


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The content of run.json."""

    run_id: str
    state: State
    items: int
    """Of a partition: those of its shards."""
    shard_size: int
    created_at: datetime
    finished_at: datetime | None = None
    reason: str | None = None
    """Why it stopped before its end."""
    warnings: tuple[str, ...] = ()
    failed_before: int | None = None
    """Of a night: so many of its items come first, as they failed in an earlier one."""
    flow_run_id: str | None = None
    """The flow run of Prefect that made it from a config: retried, it goes on with it."""
    base_folder: str = ""
    """Where relative references of the manifest start."""
    owner: Owner | None = None
    counts: Counts = Counts()
    endpoints: tuple[EndpointStatus, ...] = ()
    """How each endpoint is used, and what was learned of its limits."""
    jobs: tuple[JobStatus, ...] = ()
    """Where requests go as files: its jobs at the service."""
    projection: Projection = Projection()
    text_factor: float = 1.0
    """Billed over estimated text tokens, as learned by the last process."""
    annotation_schema: dict[str, Any] | None = None
    """The JSON Schema of its typed answers, wherever the config has it from."""
    config: dict[str, Any] = {}
    marks: tuple[str, ...] = ()
    """Of users who prepared it as it stands, or consented to it: `store/trust/marks.py`."""
    versions: dict[str, str] = {}
    slice: Slice | None = None
    """Of a partition; None: the whole run."""

    @property
    def shards(self) -> range:
        """Numbers of its shards."""
        first = self.slice.first_shard if self.slice else 0
        return range(first, first + -(-self.items // self.shard_size))

    @property
    def rows(self) -> range:
        """Row numbers of its items."""
        start = self.shards.start * self.shard_size
        return range(start, start + self.items)

    def shard_rows(self, shard_number: int) -> range:
        """Row numbers of a shard."""
        start = shard_number * self.shard_size
        return range(start, min(start + self.shard_size, self.rows.stop))

    @property
    def in_flight(self) -> int:
        """Requests in progress."""
        return sum(endpoint.in_flight for endpoint in self.endpoints)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are asked, those of variants included."""
        asked = map(self.model_of, self.variants or (None,))
        return tuple(model for model in dict.fromkeys(asked) if model)

    def model_of(self, variant: str | None) -> str | None:
        """The model that a variant asks; None: the one of the config."""
        return self._own_keys(variant).get("model") or self.config.get("model")

    def request_of(self, variant: str | None) -> dict[str, Any]:
        """The keys of `request` as a variant asks; None: as the config has them."""
        return {**(self.config.get("request") or {}), **self._own_keys(variant)}

    def _own_keys(self, variant: str | None) -> dict[str, Any]:
        return (self.config.get("variants") or {}).get(variant) or {}

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the config's variants."""
        return tuple(self.config.get("variants") or ())

    @property
    def endpoint_names(self) -> str:
        """Names of all endpoints."""
        entries = self.config.get("endpoints") or [self.config.get("endpoint") or {}]
        return "+".join(entry.get("label") or entry.get("name") or "unknown" for entry in entries)

    @property
    def exit_code(self) -> int:
        """What a command that ran it returns."""
        if self.state == "finished":
            return 1 if self.counts.failed else 0
        return 130 if self.state == "interrupted" else 3


def read_record(path: Path) -> RunRecord:
    """Read a run.json.

    Raises:
        ConfigError: there is none, another program wrote it, or a number in it is out of bounds.
    """
    try:
        refuse_special(path)
        if path.stat().st_size > bounds.MOST_BYTES:
            raise ConfigError(f"{path} can't be read: it is larger than any run.json is")
        content = path.read_bytes()
        if not content.strip(b"\0"):  # a loss of power leaves a name without content, or zeros
            raise OSError("it is empty")
        record = msgspec.json.decode(content, type=RunRecord)
        tree = msgspec.to_builtins(record, builtin_types=(datetime,))
        problem = next(bounds.problems(tree), None)
    except FileNotFoundError:
        raise ConfigError(
            f"{path.parent} is not a run directory: it contains no run.json"
        ) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} can't be read: {_in_words(exc)}") from None
    except RecursionError:
        raise ConfigError(f"{path} can't be read: it is nested too deeply") from None
    if problem:
        raise ConfigError(f"{path} can't be used: {problem}; it was damaged or made up")
    return record


def _in_words(exc: Exception) -> str:
    return one_line(reason_of(exc))[:_REASON_CHARS]


def record_bytes(record: RunRecord) -> bytes:
    """A run.json."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def write_record(path: Path, record: RunRecord, disk: Disk = PROCESS) -> None:
    """Replace run.json in one step; readers see the old one or the new one."""
    with storage_errors(path, "written"):
        disk.replace(path, record_bytes(record))
