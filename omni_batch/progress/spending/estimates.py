"""What items will take, learned from what they took. Pure.

Media follow published rules, text does not: no tokenizer is public. So the text estimate gets a
factor, and the length of answers is their mean so far.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

from omni_batch.catalogue.prices import Pricing, estimated_usage
from omni_batch.progress.spending.workload import Range, Workload
from omni_batch.types import Usage

_MEMORY = 50  # answers that the mean looks back on
_FACTOR_BOUNDS = (0.25, 4.0)  # beyond them something else was counted as text
_ENOUGH = 5
"""Answers that say how much the lengths of many differ."""
_LEAST_DOUBT = 0.1
"""The first rows of a manifest need not be like the others."""
_SURE = 20
"""Answers of which the longest says how long one may be."""


@dataclass(frozen=True, slots=True)
class AnswerBill:
    """What one answer took, whoever asked for it."""

    completion_tokens: int
    audio_tokens: int | None = None
    """Those of speech among them."""
    spoken: bool = False
    """Whether speech was asked for."""


@dataclass(slots=True)
class _Lengths:
    """Of the answers so far, of one kind."""

    count: int = 0
    mean: float = 0.0
    audio_share: float = 1.0
    """Tokens of speech among all that are billed; all of them as long as nobody says."""
    latest: deque[int] = field(default_factory=lambda: deque(maxlen=_MEMORY))

    def add(self, bill: AnswerBill) -> None:
        self.count += 1
        self.latest.append(bill.completion_tokens)
        share = min(self.count, _MEMORY)
        self.mean += (bill.completion_tokens - self.mean) / share
        if bill.audio_tokens is not None and bill.completion_tokens:
            gap = bill.audio_tokens / bill.completion_tokens - self.audio_share
            self.audio_share += gap / share


class TokenEstimates:
    """Feed it what was billed; ask it what to expect."""

    def __init__(self, earlier: Iterable[AnswerBill] = ()) -> None:
        self._lengths = {False: _Lengths(), True: _Lengths()}
        self._estimated_text = 0
        self._billed_text = 0
        for bill in earlier:
            self._lengths[bill.spoken].add(bill)

    @property
    def text_factor(self) -> float:
        """Billed over estimated text tokens, 1 before anything is known."""
        if not self._estimated_text:
            return 1.0
        least, most = _FACTOR_BOUNDS
        return min(max(self._billed_text / self._estimated_text, least), most)

    def knows(self, *, spoken: bool) -> bool:
        """Whether any answer of that kind has been seen."""
        return self._lengths[spoken].count > 0

    def tokens(self, work: Workload, *, spoken: bool) -> float:
        """Of items to come, prompts and answers together."""
        prompt, learned = work.prompt, self._lengths[spoken]
        media, text = prompt.total - prompt.text, prompt.text * self.text_factor
        # Asked for each request in flight, each second: no more than the mean is looked at.
        answers = work.items * learned.mean if learned.count else work.answers.likely
        return media + text + answers

    def answers(self, work: Workload, *, spoken: bool) -> Range:
        """Completion tokens of items to come. At most: if each were as long as the longest was."""
        learned, guess = self._lengths[spoken], work.answers
        if not learned.count:
            return guess
        high = work.items * max(learned.latest)
        return Range(
            work.items * min(learned.latest),
            work.items * learned.mean,
            high if learned.count >= _SURE else max(high, guess.high),
        )

    def bill(self, work: Workload, completion_tokens: float, *, spoken: bool) -> Usage:
        """The expected bill of items to come whose answers take so many tokens in all."""
        prompt = replace(work.prompt, text=math.ceil(work.prompt.text * self.text_factor))
        completion = math.ceil(completion_tokens)
        audio = math.ceil(completion * self._lengths[spoken].audio_share) if spoken else None
        return estimated_usage(prompt, completion, audio)

    def at_most(self, work: Workload, *, spoken: bool) -> Usage:
        """The bill of items to come if each answer were as long as has to be expected."""
        return self.bill(work, self.answers(work, spoken=spoken).high, spoken=spoken)

    def learn(self, estimated_text_tokens: int | None, usage: Usage, *, spoken: bool) -> None:
        """Take in the bill of one answer."""
        bill = AnswerBill(usage.completion_tokens, usage.completion_audio_tokens, spoken)
        self._lengths[spoken].add(bill)
        if estimated_text_tokens and usage.prompt_text_tokens:
            self._estimated_text += estimated_text_tokens
            self._billed_text += usage.prompt_text_tokens


def answers_like(earlier: Iterable[AnswerBill], items: int, *, spoken: bool) -> Range | None:
    """Completion tokens of so many items whose answers are like earlier ones.

    In 19 of 20 cases within low and high, if they are; None where too few are known.
    """
    known = [bill.completion_tokens for bill in earlier if bill.spoken == spoken]
    if len(known) < _ENOUGH:
        return None
    mean, apart = fmean(known), stdev(known)
    # The mean of the earlier ones is not exact, and the new ones scatter around it.
    doubt = 2 * apart * math.sqrt(items + items**2 / len(known))
    doubt = max(doubt, _LEAST_DOUBT * items * mean)
    return Range(max(items * mean - doubt, 0.0), items * mean, items * mean + doubt)


def cost_of_work(
    estimates: TokenEstimates,
    work: Workload,
    completion_tokens: float,
    pricing: Pricing,
) -> tuple[int, float]:
    """(tokens, money) of items to come; no money where the price is unknown."""
    usage = estimates.bill(work, completion_tokens, spoken=pricing.wants_audio)
    cost = pricing.cost(usage)
    return usage.total_tokens, cost.amount if cost else 0.0
