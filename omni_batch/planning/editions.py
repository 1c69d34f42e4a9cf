"""What a run would take by those of the vendor's editions that the catalogue does not follow."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from omni_batch import format as fmt
from omni_batch.catalogue import Dispute, Reading, TokenRules
from omni_batch.catalogue.prices import estimated_usage
from omni_batch.catalogue.tokens import PromptEstimate, estimate_prompt, rules_of
from omni_batch.doubts import Doubt
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem
from omni_batch.types import Modality, kind_of

_MEDIA = ("image", "audio", "video")
_TOUCHED: dict[str, frozenset[Modality]] = {
    "audio": frozenset({"audio", "video"}),
    "image": frozenset({"image", "video", "frames"}),
    "video": frozenset({"video", "frames"}),
}
"""First word of a token rule to the kinds of input that it counts."""
_Where = tuple[str, bool]
"""(endpoint, spoken): what a row is paid by."""


@dataclass(slots=True)
class _Sums:
    """Media tokens of the rows that one reading touches, where it makes a difference."""

    used: dict[_Where, PromptEstimate] = field(default_factory=lambda: defaultdict(PromptEstimate))
    other: dict[_Where, PromptEstimate] = field(default_factory=lambda: defaultdict(PromptEstimate))


class OtherEditions:
    """Adds up the rows of a run by each reading that has token rules of its own.

    Rows without the media that a reading is about cost nothing; memory does not grow with the rows.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rules = [*_other_rules(plan)]
        self._sums = [_Sums() for _ in self._rules]

    def add(self, prepared: PreparedItem) -> None:
        """Count one row that would be sent."""
        name = prepared.endpoints[0]
        if not self._rules or self._plan.endpoint(name).limits is None:
            return
        kinds = {kind_of(part) for turn in prepared.request.messages for part in turn.parts}
        where = (name, prepared.request.wants_audio)
        for rule, sums in zip(self._rules, self._sums, strict=True):
            if kinds & rule.touched:
                other = estimate_prompt(prepared.request, rule.tokens)
                sums.used[where] += _media(prepared.estimate)
                sums.other[where] += _media(other)

    def doubts(self) -> Iterator[Doubt]:
        """One for each reading that makes a difference to the rows."""
        for rule, sums in zip(self._rules, self._sums, strict=True):
            used, other = _total(sums.used), _total(sums.other)
            for kind in _MEDIA:
                if getattr(used, kind) != getattr(other, kind):
                    yield self._doubt(rule, sums, kind)

    def _doubt(self, rule: "_OtherRules", sums: _Sums, kind: str) -> Doubt:
        used, other = (getattr(_total(part), kind) for part in (sums.used, sums.other))
        taken = rule.dispute.taken
        by = f" ({taken.source}: {taken.says})" if taken else ""
        return Doubt(
            "editions-differ",
            f"{kind}: {used:,} tokens by the edition used{by}; {other:,} by another "
            f"({rule.reading.source}: {rule.reading.says}){self._money(sums, kind)}",
        )

    def _money(self, sums: _Sums, kind: str) -> str:
        """What the difference costs; nothing where there is no price or more than one currency."""
        if len(self._plan.currencies) != 1:
            return ""
        amount = self._cost(sums.other, kind) - self._cost(sums.used, kind)
        money = fmt.amount(abs(amount), self._plan.currencies[0])
        return f", {money} {'more' if amount > 0 else 'less'}" if amount else ""

    def _cost(self, prompts: dict[_Where, PromptEstimate], kind: str) -> float:
        costs = (
            self._plan.pricing(name, spoken=spoken).cost(
                estimated_usage(PromptEstimate(**{kind: getattr(prompt, kind)}), 0)
            )
            for (name, spoken), prompt in prompts.items()
        )
        return sum(cost.amount for cost in costs if cost)


@dataclass(frozen=True, slots=True)
class _OtherRules:
    """A reading with the whole rules that follow from it."""

    dispute: Dispute
    reading: Reading
    tokens: TokenRules
    touched: frozenset[Modality]


def free_quota_doubts(plan: Plan) -> Iterator[Doubt]:
    """That costs are shown without it, where the vendor's editions leave open who has one."""
    model = plan.model
    paid = any(endpoint.profile.key_region and endpoint.price for endpoint in plan.endpoints)
    if model is None or model.free_quota is None or not paid:
        return
    dispute = model.disputes.get("free-quota")
    if dispute is None:
        return
    said = "; ".join(f"{reading.says} ({reading.source})" for reading in dispute.readings)
    yield Doubt(
        "free-quota-not-counted",
        f"the cost leaves out a new account's free quota, {model.free_quota.tokens:,} tokens in "
        f"{model.free_quota.days} days; editions differ on its region: {said}",
    )


def _other_rules(plan: Plan) -> Iterator[_OtherRules]:
    if plan.model is None:
        return
    options = plan.config.request.model_dump()
    for dispute in plan.model.disputes.values():
        for reading in dispute.others:
            if reading.tokens is not None:
                changed = _changed(plan.model.tokens, reading.tokens)
                touched = frozenset().union(*(_TOUCHED[name.split("_")[0]] for name in changed))
                yield _OtherRules(dispute, reading, rules_of(reading.tokens, options), touched)


def _changed(used: TokenRules, other: TokenRules) -> list[str]:
    """Names of the rules that differ."""
    before, after = msgspec.structs.asdict(used), msgspec.structs.asdict(other)
    return [name for name, value in after.items() if value != before[name]]


def _media(estimate: PromptEstimate) -> PromptEstimate:
    return PromptEstimate(0, estimate.audio, estimate.image, estimate.video)


def _total(prompts: dict[_Where, PromptEstimate]) -> PromptEstimate:
    return sum(prompts.values(), PromptEstimate())
