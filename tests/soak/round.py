"""One round: a run from its manifest to its end, under all that was drawn for it."""

import json
import math
import os
import secrets
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.soak.disk import OwnDisk
from tests.soak.faults import FAULTS
from tests.soak.faults.by_means import LATER, Means, means_of
from tests.soak.faults.stage import Fault, Stage
from tests.soak.inputs import item_ids, write_inputs
from tests.soak.judge import judge, screen_faults, secret_faults
from tests.soak.plan import LifePlan, RoundPlan, Strike
from tests.soak.process import MARK, Life, none_left
from tests.soak.record import Record
from tests.soak.rows import kept
from tests.soak.service import USUAL_FAULTS, Service

KEY_ENV = "OMNI_BATCH_SOAK_KEY"
_LONGEST_LIFE_S = 150.0
_LINGER_S = 10.0
_LINGER_WHEN_KILLED_S = 35.0  # what was tied to a process has 30 s to see that it is gone
_LEFT_TO_SAY_S = 0.3  # of the service, when its client is dead
_MOST_PEACEFUL_LIVES = 10
_NOTHING_TO_DO = "nothing to resume"
_PEACE = LifePlan((), (), (), terminal=False, prefect=False)


class Round:
    """A run and what is done to it.

    Args:
        folder: for all that the round writes; it must not exist.
        prefect_home: of all rounds, as a first start in it takes its time.
        own_disk: its run is on a disk of its own, which goes with the round.
        until_s: on the clock of time.monotonic; afterwards nothing more is done to the run.
    """

    def __init__(
        self,
        plan: RoundPlan,
        folder: Path,
        prefect_home: Path,
        *,
        own_disk: bool = True,
        until_s: float = math.inf,
    ) -> None:
        self._plan, self._folder = plan, folder
        self._prefect_home = prefect_home
        self._own_disk, self._until_s = own_disk, until_s
        self._key = f"Zz9-{secrets.token_hex(12)}"
        self._mark = f"{os.getpid()}-{plan.number}."
        self._environment = {
            MARK: self._mark,
            KEY_ENV: self._key,
            "PREFECT_HOME": str(prefect_home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PYTHONFAULTHANDLER": "1",
        }
        self._screens = 0
        self._lost = 0
        self._pending: list[Strike] = []
        self._kept: dict[int, str] = {}
        self.complaints: list[str] = []
        self.record = Record(rounds=1, rows_wanted=plan.items, wavs_wanted=plan.items)

    def play(self) -> Record:
        """From the manifest to the judge."""
        self._folder.mkdir(parents=True)
        (self._folder / "screens").mkdir()
        with ExitStack() as stack:
            disk = OwnDisk(self._folder / "disk", mount=self._own_disk)
            stack.callback(self._put_away, disk)
            service = Service(
                self._folder,
                self._key,
                first_chunk_s=self._plan.first_chunk_s,
                chunk_interval_s=self._plan.chunk_interval_s,
            )
            stack.callback(service.stop)
            self._stage = Stage(
                run=disk.folder / "runs" / f"round-{self._plan.number}",
                service=service,
                disk=disk,
                clock=self._folder / "clock",
                begin=self._begin,
                complain=self.complaints.append,
            )
            write_inputs(self._folder, self._plan, service.base_url, KEY_ENV)
            for life in self._plan.lives:
                if not self._is_over() and time.monotonic() < self._until_s:
                    self._live(life, self._next_command())
            self._bring_to_its_end()
            if self._is_over():
                self._judge()
        if self.complaints:
            return self.failed()
        self.record.survived = self.record.faults
        return self.record

    def failed(self) -> Record:
        """What came of it, where it did not hold."""
        self.record.failed = (self._plan.number,)
        return self.record

    def _put_away(self, disk: OwnDisk) -> None:
        """Of a round that failed, the run is kept when its disk goes."""
        if self.complaints and disk.is_own:
            shutil.copytree(disk.folder, self._folder / "kept", symlinks=True)
        disk.close()

    # --- lives ---

    def _is_over(self) -> bool:
        """Whether nothing is left to be done, as far as the run knows."""
        record = self._record()
        is_whole = record.get("state") == "finished" and not record["counts"]["failed"]
        return is_whole and not self._pending

    def _record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads((self._stage.run / "run.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return record

    def _next_command(self) -> list[str]:
        record = self._record()
        if record.get("state") == "finished" and not self._pending:
            return ["retry", str(self._stage.run)]
        if record:
            return ["resume", str(self._stage.run)]
        return ["run", "config.yaml", "--run-id", self._stage.run.name]

    def _begin(
        self, arguments: Sequence[str], means: Means | None = None, *, terminal: bool = False
    ) -> Life:
        self._screens += 1
        screen = self._folder / "screens" / f"{self._screens:02d}-{arguments[0]}.txt"
        means = means or Means()
        return Life(
            arguments,
            cwd=self._folder,
            screen=screen,
            environment={**self._environment, **means.environment},
            prefix=means.prefix,
            terminal=terminal,
        )

    def _live(self, plan: LifePlan, command: list[str]) -> int:
        """One process to its end; its exit code."""
        asked_before, pending = self._requests(), len(self._pending)
        means = [means_of(strike, self._stage.clock) for strike in plan.means]
        way = [] if plan.prefect else ["--no-prefect"]
        life = self._begin([*command, *way], *means[:1], terminal=plan.terminal)
        self._stage.life = life
        self.record.with_prefect += plan.prefect
        struck = [strike for strike in _in_time(plan) if self._strike(strike, asked_before)]
        code = self._end_of(life, struck)
        self._stage.disk.free()
        self._stage.bring_back()
        self._check_end(life, code, struck, began=self._requests() > asked_before)
        self._settle(struck)
        self._stage.life = None
        self._pending += [strike for strike in struck if FAULTS[strike.fault].takes]
        has_looked = code in (0, 1) and len(self._pending) == pending
        if has_looked or _NOTHING_TO_DO in life.shown():
            self._pending = []
        if code == 3 and "--repair" in life.shown():
            self._repair()
        for strike in plan.after:
            self._strike_the_dead(strike)
        return code

    def _strike(self, strike: Strike, asked_before: int) -> bool:
        """At its instant, unless the process has ended by then."""
        life, due_s = self._stage.living, strike.after_s
        if strike.from_start:
            due_s -= time.monotonic() - life.started_s
        elif due_s:
            self._wait_for_a_request(asked_before)
        if life.wait(due_s) is not None:
            return False
        struck = FAULTS[strike.fault].strike(self._stage, strike)
        self.record.faults[strike.fault] += struck
        return struck

    def _wait_for_a_request(self, asked_before: int) -> None:
        life, until_s = self._stage.living, time.monotonic() + _LONGEST_LIFE_S
        while self._requests() == asked_before and time.monotonic() < until_s:
            if life.wait(0.02) is not None:
                return

    def _strike_the_dead(self, strike: Strike) -> None:
        before = len(self._kept)
        if self._stage.run.exists() and FAULTS[strike.fault].strike(self._stage, strike):
            self.record.faults[strike.fault] += 1
            self._pending.append(strike)
            self._kept = self._kept_now()
            taken = max(0, before - len(self._kept))
            self._lost += taken
            self.record.excused += taken

    def _end_of(self, life: Life, struck: Sequence[Strike]) -> int:
        limits_s = [FAULTS[strike.fault].ends_within_s for strike in struck]
        limit_s = next(filter(None, reversed(limits_s)), None)
        begun_s = time.monotonic()
        code = life.wait(limit_s or _LONGEST_LIFE_S)
        if code is None:
            limit_s = limit_s or _LONGEST_LIFE_S
            self.complaints.append(f"{life.screen.name} has not ended after {limit_s:g} s")
            life.signal(signal.SIGABRT)  # which makes it tell where it is
            code = life.wait(10)
            life.signal(signal.SIGKILL)
        elif limit_s:
            took_s = time.monotonic() - begun_s
            self.record.slowest_stop_s = max(self.record.slowest_stop_s, took_s)
        return -signal.SIGKILL if code is None else code

    def _check_end(self, life: Life, code: int, struck: Sequence[Strike], *, began: bool) -> None:
        self.record.lives += 1
        name, causes = life.screen.name, [*self._pending, *struck]
        faults = [FAULTS[strike.fault] for strike in causes]
        allowed = frozenset({0, 1}).union(*(fault.codes for fault in faults))
        if not began:
            allowed |= {130}
        if code == 2 and _NOTHING_TO_DO in life.shown():
            allowed |= {2}
        if code not in allowed or (code in (-1, -15) and began):
            what = ", ".join(strike.fault for strike in causes) or "nothing"
            self.complaints.append(f"{name} ended with {code} after {what}")
        self.complaints += [f"{name}: {fault}" for fault in screen_faults(life.shown())]
        linger_s = _LINGER_WHEN_KILLED_S if code == -signal.SIGKILL else _LINGER_S
        if left := none_left(self._mark, linger_s):
            self.record.left += len(left)
            self.complaints.append(f"{name} has left behind {left}")

    def _settle(self, struck: Sequence[Strike]) -> None:
        """No row may be gone after a life, and no answer that came be lost without a reason."""
        faults = [FAULTS[strike.fault] for strike in struck]
        time.sleep(_LEFT_TO_SAY_S)
        now, before = self._kept_now(), self._kept
        gone = before.items() - now.items()
        if gone and not any(fault.takes for fault in faults):
            self.complaints.append(f"rows that had been kept are gone: {sorted(gone)[:5]}")
        lost = self._stage.service.book.whole.total() - len(now)
        excused = sum(map(self._may_lose, faults))
        if lost - self._lost > excused:
            self.complaints.append(
                f"screen {self._screens}: {lost - self._lost} answers were lost, at most {excused} "
                f"may be after {[strike.fault for strike in struck]}"
            )
        self._lost, self._kept = lost, now
        self.record.excused += excused

    def _may_lose(self, fault: Fault) -> int:
        # What has come and is not written yet counts as in flight: twice as many items as requests.
        in_flight = 2 * self._plan.in_flight if fault.loses or fault.takes else 0
        return in_flight + (2 * self._plan.shard_size if fault.takes else 0)

    def _kept_now(self) -> dict[int, str]:
        self._requests()
        return kept(self._stage.run, self._stage.service.book)

    def _requests(self) -> int:
        self._stage.service.book.refresh()
        return self._stage.service.book.requests

    # --- the end ---

    def _bring_to_its_end(self) -> None:
        """As somebody would who does what the last line says."""
        retry, command = self._plan.retry, self._next_command()
        for _ in range(_MOST_PEACEFUL_LIVES):
            self._stage.service.fail({} if command[0] == "retry" else USUAL_FAULTS)
            self._live(_PEACE if command[0] != "retry" else retry, command)
            if command[0] == "retry":
                retry = _PEACE
            if self._is_over():
                return
            command = self._next_command()
        self.complaints.append(f"the run is not finished after {_MOST_PEACEFUL_LIVES} more lives")

    def _repair(self) -> None:
        before = len(self._kept)
        self._command("verify", str(self._stage.run), "--repair", codes={0, 1})
        self._pending, self._kept = [], self._kept_now()
        taken = before - len(self._kept)
        self._lost += taken
        self.record.excused += max(0, taken)

    def _has_lost_lines(self) -> bool:
        """Whether lines of a journal may be gone, or could not be written."""
        return any(FAULTS[name].takes or FAULTS[name].blocks for name in +self.record.faults)

    def _command(self, *arguments: str, codes: set[int]) -> str:
        life = self._begin(arguments)
        code = life.wait(_LONGEST_LIFE_S)
        if code not in codes:
            self.complaints.append(f"{life.screen.name} ended with {code}, not {sorted(codes)}")
        self.complaints += [f"{life.screen.name}: {fault}" for fault in screen_faults(life.shown())]
        return life.shown()

    def _judge(self) -> None:
        self._command("verify", str(self._stage.run), codes={0})
        self._requests()
        book = self._stage.service.book
        self.complaints += judge(self._stage.run, item_ids(self._plan), book, self.record)
        for folder in (self._folder, self._prefect_home):
            self.complaints += secret_faults(folder, self._key)
        if self.record.answered_twice > self.record.excused:
            self.complaints.append(
                f"{self.record.answered_twice} answers were paid for twice, "
                f"at most {self.record.excused} may be"
            )
        if self.record.unknown and not self._has_lost_lines():
            self.complaints.append(f"{self.record.unknown} requests stand in no table")


def _in_time(plan: LifePlan) -> list[Strike]:
    """All that is done to a process, in order; it ends by the last one."""
    means = [
        strike if strike.fault in LATER else replace(strike, after_s=0) for strike in plan.means
    ]
    ordered = sorted((*means, *plan.strikes[:-1]), key=_instant)
    return [*ordered, *plan.strikes[-1:]]


def _instant(strike: Strike) -> tuple[bool, bool, float]:
    return strike.after_s > 0, not strike.from_start, strike.after_s
