"""A run that buys nothing stops: what comes back is counted until something usable does. Pure."""

from collections import Counter
from typing import NamedTuple

from omni_batch.doubts import EMPTY_ANSWER
from omni_batch.errors import Interrupted, NothingBought, OmniBatchError, error_kind, error_message
from omni_batch.types import Attempt, Result

FIRST_ITEMS = 20
"""So many items that fail in one way, or paid answers that can't be used, before any can be."""
IN_A_ROW = 100
"""So many paid answers that can't be used after some that could, beside those in flight: when a
service restarts, all of these break off at once."""
_WAYS = 100  # a service that makes up a new code for each answer fills no memory


class _Way(NamedTuple):
    """How an item failed."""

    kind: str
    http_status: int | None
    code: str | None

    def __str__(self) -> str:
        status = f"HTTP {self.http_status}" if self.http_status else None
        code = self.code if self.code != str(self.http_status) else None
        return ", ".join(part for part in (self.kind, status, code) if part)


class FirstAnswers:
    """Takes in what this process got; a run that is resumed starts counting anew.

    Args:
        in_flight: requests that may be in flight.
    """

    def __init__(self, in_flight: int) -> None:
        self._in_flight = in_flight
        self._bought_any = False
        self._unusable = 0
        """Paid answers since the last usable one."""
        self._ways: Counter[_Way] = Counter()
        self._last: Exception | None = None

    def attempt_ended(self, attempt: Attempt) -> None:
        """One HTTP exchange has ended. Raises NothingBought."""
        if not _paid_in_vain(attempt):
            return
        self._last = attempt.error
        self._unusable += 1
        limit = IN_A_ROW + self._in_flight if self._bought_any else FIRST_ITEMS
        if self._unusable >= limit:
            none = "" if self._bought_any else " and none could"
            raise NothingBought(
                f"{self._unusable} answers in a row were paid for and can't be used{none}; "
                f"the last one: {_said(attempt.error)}; {_remedy(attempt.error, None)}"
            )

    def item_ended(self, result: Result) -> None:
        """An item has its result. Raises NothingBought; what was never sent counts for nothing."""
        if not result.attempts or result.reused_from is not None:
            return
        if result.succeeded and not _is_empty(result):
            self._bought_any, self._unusable = True, 0
            return
        if self._bought_any or len(self._ways) > _WAYS:
            return
        way = _way_of(result)
        self._ways[way] += 1
        if self._ways[way] >= FIRST_ITEMS:
            raise NothingBought(_all_alike(way, result))


def _all_alike(way: _Way, result: Result) -> str:
    if result.succeeded:
        return (
            f"the first {FIRST_ITEMS} answers are all empty; check model, request.prompt and "
            "request.max_tokens"
        )
    return (
        f"the first {FIRST_ITEMS} items all failed in one way and none succeeded ({way}): "
        f"{_said(result.error)}; {_remedy(result.error, way.http_status)}"
    )


def _paid_in_vain(attempt: Attempt) -> bool:
    """An answer came, and something is wrong with it. A wait for quota is no answer."""
    error, status = attempt.error, attempt.http_status
    if error is None or status is None or isinstance(error, Interrupted):
        return False
    return 200 <= status < 300 and (not isinstance(error, OmniBatchError) or error.uses_attempt)


def _is_empty(result: Result) -> bool:
    return any(doubt.rule == EMPTY_ANSWER for doubt in result.doubts)


def _way_of(result: Result) -> _Way:
    kind = error_kind(result.error) or EMPTY_ANSWER
    last = result.attempts[-1]
    return _Way(kind, last.http_status, getattr(result.error, "code", None))


def _said(error: Exception | None) -> str:
    return (error_message(error) or "").rstrip(". ")


def _remedy(error: Exception | None, http_status: int | None) -> str:
    if http_status == 404:
        return "check model and endpoint.base_url"
    if isinstance(error, OmniBatchError):
        return error.remedy.rstrip(".")
    return "see the log"
