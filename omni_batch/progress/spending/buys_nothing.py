"""A run that buys nothing stops: what comes back is counted until something usable does. Pure."""

from collections import Counter
from typing import NamedTuple

from omni_batch.catalogue.prices import was_answered
from omni_batch.doubts import EMPTY_ANSWER
from omni_batch.errors import (
    EndpointError,
    Interrupted,
    MediaUnreachable,
    NothingBought,
    OmniBatchError,
    Rejected,
    StreamError,
    error_kind,
    error_message,
)
from omni_batch.types import Attempt, Item, Result

FIRST_ITEMS = 20
"""So many items that fail in one way, or so many paid answers that can't be used, stop a run that
has bought nothing so far."""
IN_A_ROW = 100
"""The same after a success. Paid answers count beside those in flight: when a service restarts, all
of these break off at once."""
_NO_ROWS_FAULT = (404, 405, 410)
"""HTTP: the address or the model is not there; other refusals may be for what the rows contain."""
_WAYS = 100  # a service that makes up a new code for each answer fills no memory


class _Way(NamedTuple):
    """How an item failed."""

    kind: str
    http_status: int | None
    code: str | None


class FirstAnswers:
    """Takes in what this process got; a run that is resumed starts counting anew.

    What fails comes sooner than what succeeds. So a suspicion is put on trial: nothing more is sent
    until all that is under way has come, and only if none of it is of use the run stops.

    Args:
        in_flight: requests that may be in flight.
        failed_before: so many items come first whose failures are expected and count for nothing.
    """

    def __init__(self, in_flight: int, failed_before: int = 0) -> None:
        self._in_flight, self._failed_before = in_flight, failed_before
        self._bought_any = False
        self._unusable = 0
        """Paid answers since the last usable one."""
        self._ways: Counter[_Way] = Counter()
        self._under_way = 0
        """Requests that were sent and whose answers have not been judged."""
        self._suspicion: NothingBought | None = None

    @property
    def on_trial(self) -> bool:
        """Whether nothing more should be sent until what is under way has come."""
        return self._suspicion is not None

    @property
    def verdict(self) -> NothingBought | None:
        """Why the run must stop."""
        return None if self._under_way else self._suspicion

    def attempt_started(self) -> None:
        """One request is sent."""
        self._under_way += 1

    def attempt_ended(self, item: Item, attempt: Attempt) -> None:
        """One HTTP exchange has ended; a whole answer is judged with its item."""
        if attempt.error is None:
            return
        self._under_way -= 1
        if self._is_expected(item) or not _paid_in_vain(attempt):
            return
        self._unusable += 1
        limit = IN_A_ROW + self._in_flight if self._bought_any else FIRST_ITEMS
        if self._unusable >= limit:
            none = "" if self._bought_any else " and none could"
            self._suspicion = NothingBought(
                f"{self._unusable} answers in a row were paid for and can't be used{none}; "
                f"the last one: {_said(attempt.error)}. {_remedy(attempt.error)}"
            )

    def item_left(self, unfinished: Result) -> None:
        """An item is left without a result because the run stops."""
        self._under_way -= _answers(unfinished)

    def item_ended(self, result: Result) -> None:
        """An item has its result; what was never sent counts for nothing."""
        self._under_way -= _answers(result)
        if not _was_asked(result):
            return
        if result.succeeded and not _is_empty(result):
            self._bought_any, self._unusable, self._suspicion = True, 0, None
            self._ways.clear()
            return
        if self._is_expected(result.item):
            return
        way = _way_of(result)
        limit = IN_A_ROW if self._bought_any else FIRST_ITEMS
        if len(self._ways) > _WAYS or (self._bought_any and not _is_no_rows_fault(result, way)):
            return
        self._ways[way] += 1
        if self._ways[way] >= limit:
            those = _those(self._ways[way], self._ways.total(), later=self._bought_any)
            self._suspicion = NothingBought(f"{those} {_alike(result, way)}")

    def _is_expected(self, item: Item) -> bool:
        return item.row_number < self._failed_before


def _answers(result: Result) -> int:
    """Whole answers that came for it; more than one where it was asked again."""
    return sum(attempt.error is None for attempt in result.attempts)


def _those(alike: int, items: int, *, later: bool) -> str:
    which = "last" if later else "first"
    return f"the {which} {alike} items all" if items == alike else f"{alike} of {items} items"


def _alike(result: Result, way: _Way) -> str:
    if result.succeeded:
        return "got an empty answer; check model, request.prompt and request.max_tokens"
    remedy = _remedy(result.error, way.http_status)
    return f"failed in one way and none succeeded ({way.kind}): {_said(result.error)}. {remedy}"


def _paid_in_vain(attempt: Attempt) -> bool:
    """An answer came, and something is wrong with it. A wait for quota is no answer."""
    error = attempt.error
    if error is None or isinstance(error, Interrupted) or not was_answered(attempt):
        return False
    return error.uses_attempt if isinstance(error, OmniBatchError) else True


def _was_asked(result: Result) -> bool:
    """Whether the service has said anything of the item, if only to the upload of its media."""
    if result.reused_from is not None:
        return False
    error = result.error
    refused = isinstance(error, EndpointError) and not isinstance(error, MediaUnreachable)
    return bool(result.attempts) or refused


def _is_empty(result: Result) -> bool:
    return any(doubt.rule == EMPTY_ANSWER for doubt in result.doubts)


def _way_of(result: Result) -> _Way:
    kind = error_kind(result.error) or EMPTY_ANSWER
    said = result.attempts[-1] if result.attempts else result.error
    return _Way(kind, getattr(said, "http_status", None), getattr(result.error, "code", None))


def _is_no_rows_fault(result: Result, way: _Way) -> bool:
    return isinstance(result.error, Rejected) and way.http_status in _NO_ROWS_FAULT


def _said(error: Exception | None) -> str:
    return (error_message(error) or "").rstrip(". ")


def _remedy(error: Exception | None, http_status: int | None = None) -> str:
    match error:
        case StreamError():
            return (
                "Check that endpoint.name and endpoint.base_url are those of the server, and that "
                "no proxy changes its replies"
            )
        case Rejected():
            named = "model and endpoint.base_url" if http_status == 404 else "model and request"
            return f"Check {named}"
        case OmniBatchError():
            return error.remedy.rstrip(".")
    return "See the log"
