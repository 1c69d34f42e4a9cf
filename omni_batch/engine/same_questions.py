"""Equal questions of one run: one row asks, those that wait for it take its answer."""

import asyncio
from dataclasses import dataclass, field

from omni_batch.store.own_answers import OwnAnswers
from omni_batch.types import Result

_FAILURES = 2
"""So many rows ask in vain one after the other; then each row asks for itself, side by side."""


@dataclass(slots=True)
class _Question:
    """What is asked at this moment."""

    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    rows: int = 0
    """Of those that ask it or wait."""
    failures: int = 0


class SameQuestions:
    """Who asks what, in the event loop.

    Args:
        answers: those that the run has; None: every row asks for itself.
    """

    def __init__(self, answers: OwnAnswers | None) -> None:
        self.answers = answers
        self._open: dict[str, _Question] = {}

    def turn(self) -> "Turn":
        """For a new item."""
        return Turn(self.answers, self._open)


class Turn:
    """One item and its question. It holds the question until its result is written.

    Who waits here has no permit, no room in the budget and no media of its own in memory, only its
    place among the items under way: at least one of those is asking.
    """

    def __init__(self, answers: OwnAnswers | None, open_: dict[str, _Question]) -> None:
        self._answers, self._open = answers, open_
        self._fingerprint = ""
        self._question: _Question | None = None
        self._is_asking = False

    async def wait(self, fingerprint: str) -> None:
        """Until no other row asks the same; then it is this one's to ask."""
        if self._answers is None:
            return
        self._fingerprint = fingerprint
        self._question = question = self._open.setdefault(fingerprint, _Question())
        question.rows += 1
        await question.asking.acquire()
        self._is_asking = True
        if question.failures >= _FAILURES:
            self.leave_to_others()

    def leave_to_others(self) -> None:
        """The next may look: this one has nothing to ask, or lets others ask beside it."""
        if self._is_asking and self._question:
            self._is_asking = False
            self._question.asking.release()

    def written(self, result: Result) -> None:
        """Its result can be read by others."""
        if self._question is None or not result.succeeded:
            return
        if self._answers is not None and result.reused_from is None:
            self._answers.add(self._fingerprint, result.item.row_number)
        self.leave_to_others()

    def end(self) -> None:
        """The item is done with; a question that it still holds was asked in vain."""
        if (question := self._question) is None:
            return
        self._question = None
        question.rows -= 1
        if self._is_asking:
            self._is_asking = False
            question.failures += 1
            question.asking.release()
        if not question.rows:
            del self._open[self._fingerprint]


def alone() -> Turn:
    """Of an item that is asked whatever others ask."""
    return Turn(None, {})
