"""What a run would do, without sending anything: refused rows, tokens, cost, time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar

from omni_batch.catalogue.prices import estimated_usage
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.doubts import DoubtGroup, DoubtGroups
from omni_batch.errors import InvalidRequest, OmniBatchError
from omni_batch.planning.checked_items import CheckedItems
from omni_batch.planning.earlier_answers import EarlierAnswers, load_answers
from omni_batch.planning.editions import OtherEditions, free_quota_doubts
from omni_batch.planning.fitness.config import said_of
from omni_batch.planning.forecast import Forecast, Groups, budget_doubts, forecast
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem, fingerprint_of, prepare_item
from omni_batch.planning.reuse import open_reuse_index, same_question_doubts
from omni_batch.progress.month import month_of
from omni_batch.progress.spending.workload import Workload
from omni_batch.quota.loop_clock import pauses_left_out
from omni_batch.store.items import UniqueIds
from omni_batch.store.own_answers import LastQuestions
from omni_batch.store.remote.copies import runs_folder
from omni_batch.store.reuse_index import ReuseIndex
from omni_batch.types import Item, row_name

T = TypeVar("T")
_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Refused:
    """One reason why a row would fail; a row may have several."""

    item_id: str
    row_number: int
    error_kind: str
    rule: str | None
    message: str
    variant: str | None = None
    sample: int | None = None

    @property
    def name(self) -> str:
        """As of `Item.name`."""
        return row_name(self.item_id, self.variant, self.sample)


@dataclass(slots=True)
class CheckReport:
    """What is known of a manifest before it is sent."""

    items: int = 0
    refused_items: int = 0
    reused_items: int = 0
    """Answered by an earlier run; in none of the sums below."""
    same_items: int = 0
    """Ask the very same as another row, and would have its answer; in none of the sums below."""
    fitted_items: int = 0
    """Of those that would be sent: media of theirs would be changed first."""
    image_tokens_saved: int = 0
    """By images that are made smaller; counted in what would be sent."""
    cost_saved: float | None = None
    """The same as money; None without a price, or with several currencies."""
    refused: list[Refused] = field(default_factory=list)
    prompt: PromptEstimate = field(default_factory=PromptEstimate)
    completion_tokens: int = 0
    """Likely; between the two that follow."""
    completion_tokens_low: int = 0
    completion_tokens_high: int = 0
    cost: float | None = None
    """Likely, for prompts and completions; None without a price, or with several currencies."""
    cost_low: float | None = None
    cost_high: float | None = None
    currency: str | None = None
    estimated_by: str = ""
    """What the lengths of answers are estimated by: earlier answers, or a guess."""
    shortest_time_s: float | None = None
    """Under the quota."""
    variants: list["VariantEstimate"] = field(default_factory=list)
    """Their shares of all this; empty without variants."""
    warnings: list[DoubtGroup] = field(default_factory=list)
    """What is doubted about the run and about rows, by rule."""

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class VariantEstimate:
    """What the rows of one variant would take; refused and reused ones take nothing."""

    variant: str
    model: str
    items: int
    """That would be sent."""
    prompt_tokens: int
    completion_tokens_low: int
    completion_tokens_high: int
    cost_low: float | None
    """None without a price, or with several currencies."""
    cost_high: float | None
    currency: str | None


async def check_manifest(
    plan: Plan, on_rows: Callable[[int], None] = lambda rows: None
) -> CheckReport:
    """Read every row, probe all its media, hold it against every rule.

    Raises:
        ConfigError, ManifestError: what would refuse the whole run.
    """
    with pauses_left_out():
        return await _checked(plan, on_rows)


async def _checked(plan: Plan, on_rows: Callable[[int], None]) -> CheckReport:
    report, doubts = CheckReport(), DoubtGroups(plan.doubts)
    groups: dict[str | None, Groups] = {name: {} for name in plan.by_variant()}
    editions = {name: OtherEditions(asked) for name, asked in plan.by_variant().items()}
    earlier = await asyncio.to_thread(open_reuse_index, plan.config)
    if earlier is not None:
        doubts.add_run(earlier.doubts)
    known = _Known(earlier, LastQuestions() if plan.config.same_question == "reuse" else None)
    checked = CheckedItems(plan)
    async with aclosing(plan.media_source(checking=True)) as source:
        async for item, outcome in _outcomes(plan, checked, source):
            report.items += 1
            if isinstance(outcome, OmniBatchError):
                _refuse(report, item, outcome)
            elif not known.by_earlier_run(report, plan, outcome):
                doubts.add_row(item.name, outcome.doubts)
                if not known.by_other_row(report, plan, outcome):
                    _accept(report, groups[item.variant], outcome)
                    _count_fitted(report, plan.asking(item), outcome)
                    editions[item.variant].add(outcome)
            on_rows(report.items)
        doubts.add_run(source.doubts())
    doubts.add_run(same_question_doubts(plan) if report.same_items else ())
    doubts.add_run(checked.doubts())
    answers = await asyncio.to_thread(load_answers, plan, runs_folder(plan.config.output))
    expected = forecast(plan, groups, answers)
    _take_in(report, expected)
    report.variants = list(_estimates(plan, groups, answers))
    output = runs_folder(plan.config.output)
    month = await asyncio.to_thread(month_of, output, plan.config, datetime.now(UTC))
    doubts.add_run(budget_doubts(plan.config.budget, expected, month))
    doubts.add_run(said_of({name: found.doubts() for name, found in editions.items()}))
    if report.cost:
        for asked in plan.by_variant().values():
            doubts.add_run(free_quota_doubts(asked))
    report.warnings = doubts.all()
    return report


@dataclass(frozen=True, slots=True)
class _Known:
    """Answers that need not be asked for."""

    earlier: ReuseIndex | None
    own: LastQuestions | None

    def by_earlier_run(self, report: CheckReport, plan: Plan, prepared: PreparedItem) -> bool:
        """Whether an earlier run has the answer; then it is counted."""
        found = self.earlier is not None and fingerprint_of(plan, prepared) in self.earlier
        report.reused_items += found
        return found

    def by_other_row(self, report: CheckReport, plan: Plan, prepared: PreparedItem) -> bool:
        """Whether a row before it would have the answer; then it is counted."""
        if self.own is None:
            return False
        fingerprint = fingerprint_of(plan, prepared)
        found = self.own.row_number(fingerprint) is not None
        report.same_items += found
        if not found:
            self.own.add(fingerprint, prepared.item.row_number)
        return found


def _batches(plan: Plan, checked: CheckedItems) -> Iterator[list[Item]]:
    items, ids = iter(checked), UniqueIds(plan.times)
    while batch := list(islice(items, _AT_ONCE)):
        for item in batch:
            ids.add(item.item_id)
        yield batch
    ids.refuse_duplicates(item.item_id for item in CheckedItems(plan))


async def _outcomes(
    plan: Plan, checked: CheckedItems, source: MediaSource
) -> AsyncIterator[tuple[Item, PreparedItem | OmniBatchError]]:
    for items in _batches(plan, checked):
        tries = [_try(plan, source, item) for item in items]
        # Texts wait for nothing, and a task for each of them would take as long as its rules.
        side_by_side = any(item.messages or item.media_cells() for item in items)
        outcomes = await (asyncio.gather(*tries) if side_by_side else _in_turn(tries))
        for pair in zip(items, outcomes, strict=True):
            yield pair


async def _in_turn(tries: list[Coroutine[Any, Any, T]]) -> list[T]:
    return [await each for each in tries]


async def _try(plan: Plan, source: MediaSource, item: Item) -> PreparedItem | OmniBatchError:
    try:
        return await prepare_item(plan.asking(item), source, item)
    except OmniBatchError as exc:
        return exc


def _refuse(report: CheckReport, item: Item, error: OmniBatchError) -> None:
    report.refused_items += 1
    reasons: list[tuple[str | None, str]] = [(None, str(error))]
    if isinstance(error, InvalidRequest):
        reasons = [(broken.rule, broken.message) for broken in error.broken]
    for reason in reasons:
        where = item.item_id, item.row_number, error.kind
        report.refused.append(Refused(*where, *reason, item.variant, item.sample))


def _accept(report: CheckReport, groups: Groups, prepared: PreparedItem) -> None:
    report.prompt += prepared.estimate
    group = (prepared.endpoints[0], prepared.request.wants_audio)
    groups[group] = groups.get(group, Workload()) + prepared.work


def _count_fitted(report: CheckReport, asked: Plan, prepared: PreparedItem) -> None:
    """What making media fit saves: fewer tokens of images."""
    if prepared.unfitted is None:
        return
    saved = prepared.unfitted.image - prepared.estimate.image
    report.fitted_items += 1
    report.image_tokens_saved += saved
    spoken = prepared.request.wants_audio
    pricing = asked.pricing(prepared.endpoints[0], spoken=spoken)
    cost = pricing.cost(estimated_usage(PromptEstimate(image=saved), 0))
    if cost is not None and len(asked.currencies) == 1:
        report.cost_saved = (report.cost_saved or 0.0) + cost.amount


def _estimates(
    plan: Plan, groups: Mapping[str | None, Groups], answers: EarlierAnswers | None
) -> Iterator[VariantEstimate]:
    for name, asked in plan.by_variant().items():
        if name is not None:
            expected = forecast(asked, {name: groups[name]}, answers)
            work = sum(groups[name].values(), Workload())
            cost = expected.cost
            yield VariantEstimate(
                variant=name,
                model=asked.config.model,
                items=expected.items,
                prompt_tokens=work.prompt.total,
                completion_tokens_low=round(expected.completion_tokens.low),
                completion_tokens_high=round(expected.completion_tokens.high),
                cost_low=cost.low if cost else None,
                cost_high=cost.high if cost else None,
                currency=expected.currency,
            )


def _take_in(report: CheckReport, expected: Forecast) -> None:
    completion, cost = expected.completion_tokens, expected.cost
    report.completion_tokens = round(completion.likely)
    report.completion_tokens_low = round(completion.low)
    report.completion_tokens_high = round(completion.high)
    if cost is not None:
        report.cost, report.cost_low, report.cost_high = cost.likely, cost.low, cost.high
        report.currency = expected.currency
    report.estimated_by = expected.estimated_by
    report.shortest_time_s = expected.shortest_time_s
