"""The cases: what is stated, what is true, what must come out; and how a case is run."""

import asyncio
import dataclasses
import functools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from omni_batch.config import QuotaConfig
from omni_batch.endpoint_status import Learned
from omni_batch.quota import RateLimiter
from tests.benchmarks.quota_client import IDLE_TIMEOUT_S, Door, Ideal, work_off
from tests.benchmarks.quota_figures import (
    Figures,
    figures,
    ideal_starts_s,
    most_within,
    outage_figures,
)
from tests.benchmarks.quota_service import Service
from tests.benchmarks.quota_terms import Diary, Item, Terms
from tests.support.virtual_time import run

RPM, TPM = 600.0, 600_000.0
"""What is true unless a case says otherwise; an item has 1,000 tokens in the mean."""
FREE_RPM, FREE_TPM = 10 * RPM, 10 * TPM
"""LimiterPolicy that never bind."""

_BLOCK = 100
_LONGEST_S = 50_000
Sizes = Literal["random", "blocks", "large", "wide"]

WINDOWS = ("bucket", "whole-minute", "sliding-second", "whole-second", "bucket-1")
"""Ways to count; `bucket` holds two seconds."""
Targets = Mapping[str, float]

_KNOWN: Targets = {"ratio": 1.03, "refused": 0, "failed": 0}
_FOUND_OUT: Targets = {"ratio": 1.15, "refused_share": 0.02, "in_flight_spread": 0.25, "failed": 0}
STRICT: Targets = {"ratio_to_mean_latency": 1.04, "refused_share": 0.003, "failed": 0}
_LOOSE: Targets = {"ratio_to_mean_latency": 1.02, "refused": 0, "failed": 0}
_SOON: Targets = {"ratio": 1.15, "refused_share": 0.02, "failed": 0}
_IN_THE_END: Targets = {"refused_share": 0.02, "failed": 0}
"""Where even a client that knows the limit is refused, or too few items come to learn from."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run."""

    name: str
    terms: Terms
    stated: QuotaConfig
    targets: Targets = field(hash=False)
    """Figure to the most it may be. Without targets it is only told."""
    items: int = 1200
    sizes: Sizes = "random"
    after: "Case | None" = None
    """The run before, from which it has learned."""
    latency_s: tuple[float, float] = (1.0, 20.0)

    @property
    def block(self) -> int | None:
        """Items of one kind in a row."""
        return _BLOCK if self.sizes == "blocks" else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case."""

    case: Case
    figures: Figures
    diary: Diary
    learned: Learned

    @property
    def missed(self) -> list[str]:
        """Figures beyond their targets."""
        return missed(self.case.targets, self.figures)


def missed(targets: Targets, found: Figures) -> list[str]:
    """Figures beyond their targets."""
    return [name for name, most in targets.items() if not found.get(name, 0.0) <= most + 1e-9]


@functools.lru_cache(maxsize=8)
def run_case(case: Case, seed: int, *, ideal: bool = False) -> Outcome:
    """Run it in virtual time.

    Args:
        ideal: with the best client that there could be, to see which targets can be met.
    """
    learned = run_case(case.after, seed).learned if case.after and not ideal else None
    random.seed(f"{seed}/{case.name}")  # tenacity's jitter
    items = make_items(case, seed)
    service = Service(case.terms, seed)
    assert case.stated.max_in_flight
    most_begun = 2 * case.stated.max_in_flight

    async def main() -> Learned:
        quota = RateLimiter(case.stated, learned)
        starts_s = ideal_starts_s(items, case.terms, case.block)
        door: Door = Ideal(starts_s) if ideal else quota
        async with asyncio.timeout(_LONGEST_S):
            await work_off(items, door, service, most_begun)
        return quota.learned()

    found_out = run(main())
    return Outcome(case, figures_of(case, items, service.diary), service.diary, found_out)


def make_items(case: Case, seed: int) -> list[Item]:
    """Estimates of prompts are wrong by up to a fifth."""
    rng = random.Random(f"{seed}/items")
    made = []
    for number in range(case.items):
        prompt, completion = _tokens(case.sizes, number, rng)
        guess = round(prompt * rng.uniform(0.8, 1.2))
        made.append(Item(number, prompt, guess, completion, rng.uniform(*case.latency_s)))
    return made


def _tokens(sizes: Sizes, number: int, rng: random.Random) -> tuple[int, int]:
    match sizes:
        case "random":
            return rng.randint(100, 900), rng.randint(100, 900)
        case "large":
            return rng.randint(200, 1800), rng.randint(200, 1800)
        case "wide":
            total = rng.randint(300, 4000)
            return total // 2, total - total // 2
        case "blocks":
            least = 900 if number // _BLOCK % 2 else 100
            return rng.randint(least * 9 // 10, least * 11 // 10), least


def figures_of(case: Case, items: list[Item], diary: Diary) -> Figures:
    """Of a run, by what its case is about."""
    terms, per_s = case.terms, RPM / 60
    lost_s = diary.faults / per_s + terms.others_share * _length_s(terms.others_s)
    lost_s += _length_s(terms.outage_s)
    found = figures(items, terms, diary, block=case.block, lost_s=lost_s)
    if stated := case.stated.requests_per_minute:
        found["busiest_minute"] = most_within(60.0, diary.sent_s) / stated
    if terms.outage_s:
        found |= outage_figures(diary, terms.outage_s, per_s)
    if terms.cut:
        extra = len(diary.sent_s) - len(items) - len(diary.refused)
        stalls = max(diary.stalls.values(), default=0)
        found["faults"] = diary.faults
        found["extra_per_fault"] = extra / diary.faults
        found["late_per_stall"] = (
            (found["makespan_s"] - found["bound_s"]) / IDLE_TIMEOUT_S / max(1, stalls)
        )
    return found


def _length_s(span_s: tuple[float, float] | None) -> float:
    return span_s[1] - span_s[0] if span_s else 0.0


def _stated(rpm: float | None, tpm: float | None, in_flight: int = 512) -> QuotaConfig:
    return QuotaConfig(
        requests_per_minute=rpm, tokens_per_minute=tpm, max_in_flight=in_flight, adaptive=True
    )


def _known(name: str, rpm: float, tpm: float, sizes: Sizes = "random") -> Case:
    return Case(f"known-{name}", Terms(rpm, tpm), _stated(rpm, tpm), _KNOWN, sizes=sizes)


def _slow(name: str, sizes: Sizes) -> Case:
    """The limits of a new account, and as many in flight as they need."""
    known = Case(f"known-slow-{name}", Terms(60, 1e5), _stated(60, 1e5, 32), _KNOWN, sizes=sizes)
    # No client meets the limits exactly where two answers are all that may be used at once.
    targets = _KNOWN if sizes == "random" else {"failed": 0.0}
    return dataclasses.replace(known, items=120, targets=targets)


def _wrong(scenario: str, factor: float | None, items: int, targets: Targets) -> list[Case]:
    """The service's limits are others than stated: for each limit, and each way to count."""
    cases = []
    for limit in ("requests", "tokens"):
        rpm, tpm = (RPM, FREE_TPM) if limit == "requests" else (FREE_RPM, TPM)
        stated = [factor and rpm * factor, factor and tpm * factor]
        if factor:
            stated[limit == "requests"] = FREE_TPM if limit == "requests" else FREE_RPM
        for window in WINDOWS:
            if window == "bucket-1" and limit == "tokens":
                continue
            wanted = targets
            if window == "whole-minute":  # an empty one stops everybody until its end
                wanted = {key: most for key, most in targets.items() if key != "in_flight_spread"}
            terms = terms_of(rpm, tpm, window, jitter_s=0.004 if window == "bucket-1" else 0.010)
            name = f"{scenario}-{limit}-{window}-{items}"
            cases.append(Case(name, terms, _stated(stated[0], stated[1]), wanted, items))
    return cases


def terms_of(rpm: float | None, tpm: float | None, window: str, **more: Any) -> Terms:
    """How a service counts, of a name such as `sliding-second` or `bucket-10`."""
    burst = float(window.removeprefix("bucket-")) if window.startswith("bucket-") else None
    return Terms(rpm, tpm, "bucket" if burst else window, burst, **more)


def _strict(window: str, rpm: float, seconds: int, targets: Targets) -> Case:
    """Known, on a service that counts strictly, with short answers and some jitter."""
    return Case(
        f"strict-{window}-{rpm:g}-{seconds}",
        terms_of(rpm, FREE_TPM, window, jitter_s=0.004, any_phase=True),
        _stated(rpm, FREE_TPM),
        targets,
        items=round(rpm / 60 * seconds),
        latency_s=(1, 1),
    )


def _strict_tokens(window: str) -> Case:
    return Case(
        f"strict-tokens-{window}",
        terms_of(60, 1e5, window, jitter_s=0.004, any_phase=True),
        _stated(60, 1e5),
        {"ratio_to_mean_latency": 1.08, "refused_share": 0.01, "failed": 0},
        items=300,
        sizes="wide",
        latency_s=(1, 10),
    )


def _explored(case: Case) -> Case:
    stated = case.stated.model_copy(update={"explore": True})
    return dataclasses.replace(case, stated=stated)


def _again(before: Case) -> Case:
    name = before.name.replace("double", "next-run")
    return dataclasses.replace(
        before,
        name=name,
        after=before,
        targets={"ratio": 1.10, "refused_share": 0.02} if "second" not in name else _IN_THE_END,
    )


def _odd(name: str, targets: Targets, **terms: Any) -> Case:
    """LimiterPolicy as stated, but the service does something else as well."""
    return Case(
        name,
        Terms(RPM, FREE_TPM, **terms),
        _stated(RPM, FREE_TPM),
        targets,
    )


def _cases() -> list[Case]:
    double = _wrong("double", 2.0, 1200, {**_FOUND_OUT, "ratio": 1.10})
    outage = {"failed": 0, "back_after_s": 10, "first_second": 2, "busiest_second_after": 2}
    faults = {"failed": 0, "extra_per_fault": 1.2, "late_per_stall": 1, "refused_share": 0.02}
    surge = {"ratio": 1.15, "refused_share": 0.02, "failed": 0}
    waits = dataclasses.replace(
        _odd("retry-after", _SOON, window="whole-minute", retry_after=True),
        stated=_stated(2 * RPM, FREE_TPM),
    )
    counted = dataclasses.replace(waits.terms, refused_count=True)
    return [
        _known("requests", RPM, FREE_TPM),
        _known("tokens", FREE_RPM, TPM),
        _known("both", RPM, TPM),
        dataclasses.replace(  # answers get nine times longer every other block: no guess is right
            _known("blocks", RPM, TPM, "blocks"), targets={"ratio": 1.03, "refused_share": 0.005}
        ),
        _slow("requests", "random"),
        _slow("tokens", "large"),
        *(
            _strict(window, rpm, seconds, targets)
            for rpm, seconds in ((600, 30), (600, 120), (60, 120))
            for windows, targets in (
                (("sliding-second", "whole-second", "bucket-1"), STRICT),
                (("whole-minute", "bucket-10"), _LOOSE),
            )
            for window in windows
        ),
        *map(_strict_tokens, ("sliding-second", "whole-second", "bucket")),
        *_wrong("ceiling", 0.5, 1200, {"busiest_minute": 1.0, "refused": 0, "failed": 0}),
        *map(_explored, _wrong("half", 0.5, 12_000, _FOUND_OUT)),
        *double,
        *_wrong("double", 2.0, 12_000, _FOUND_OUT),
        *_wrong("unknown", None, 1200, _IN_THE_END),
        *_wrong("unknown", None, 12_000, _FOUND_OUT),
        *map(_again, double),
        _odd("outage", outage, outage_s=(50.0, 110.0)),
        _odd("faults", faults, cut=0.05, stall=0.05, error_500=0.05),
        _odd("burst-2", surge, burst_growth_per_s=2),
        _odd("burst-5", surge, burst_growth_per_s=5),
        waits,
        dataclasses.replace(waits, name="retry-after-counted", terms=counted),
        _odd("shared", {**_SOON, "ratio": 1.25}, others_s=(30.0, 90.0), others_share=0.4),
    ]


CASES = _cases()
