"""Time left and cost are right long before the end. Runs are made up, second by second."""

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from omni_batch.counts import Counts, Projection
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.progress.eta import ProgressEstimator


@dataclass(frozen=True)
class Story:
    """A run against a service that lets so many start a minute and takes so long for each."""

    items: int
    per_minute: float = 60.0
    in_flight: int = 16
    item_s: float = 5.0
    spread: float = 0.4
    """Of the logarithm of an item's time."""
    ramp_s: float = 10.0
    pauses: tuple[tuple[float, float], ...] = ()
    done_before: int = 0
    repeats: float = 0.0
    """Share of items that are paid twice."""

    def ends(self, seed: int) -> list[float]:
        """When each item ends."""
        chance, ends, flying, at_s = random.Random(seed), [], list[float](), 0.0
        for _ in range(self.done_before, self.items):
            if len(flying) == self.in_flight:
                at_s = max(at_s, heapq.heappop(flying))
            at_s = next((end for begin, end in self.pauses if begin <= at_s < end), at_s)
            takes_s = self.item_s * chance.lognormvariate(-(self.spread**2) / 2, self.spread)
            heapq.heappush(flying, at_s + takes_s)
            ends.append(at_s + takes_s)
            at_s += 60 / self.per_minute / min(1.0, 0.25 + 0.75 * at_s / self.ramp_s)
        return sorted(ends)

    def endpoint(self, at_s: float) -> EndpointStatus:
        """What the quota says at a moment."""
        left = (end - at_s for begin, end in self.pauses if begin <= at_s < end)
        return EndpointStatus("e", paused_s=max(left, default=0.0))

    def told(self, seed: int) -> Iterator[tuple[float, Counts, Projection]]:
        """(seconds that are left in truth, counts, what the estimator says), every second."""
        ends, before = self.ends(seed), self.counts(self.done_before)
        estimator, done = ProgressEstimator(self.items, 1000.0, before), 0
        for second in range(1, int(ends[-1]) + 1):
            while done < len(ends) and ends[done] <= second:
                done += 1
            counts = self.counts(self.done_before + done)
            yield (
                ends[-1] - second,
                counts,
                estimator.update(1000.0 + second, counts, [self.endpoint(second)]),
            )

    def counts(self, done: int) -> Counts:
        """So many items, at 0.01 each and as much again for those that are paid twice."""
        return Counts(
            succeeded=done,
            cost={"USD": 0.01 * done} if done else {},
            estimated_cost={"USD": 0.01 * self.repeats * done} if done else {},
        )


STORIES = {
    "paced": Story(600),
    "paced, in a quarter of an hour": Story(900, item_s=8, in_flight=32),
    "one long pause": Story(600, pauses=((300, 330),)),
    "an early pause": Story(900, pauses=((40, 65),)),
    "a pause every minute and a half": Story(
        900, pauses=tuple((second, second + 10.0) for second in range(60, 1500, 90))
    ),
    "a slow ramp": Story(900, ramp_s=40),
    "bounded by what is in flight": Story(2000, per_minute=1e6, item_s=4),
    "long items": Story(800, per_minute=1e6, item_s=25),
    "fast, with a pause": Story(5000, per_minute=1200, in_flight=64, item_s=2, pauses=((90, 105),)),
    "resumed in the middle": Story(1200, done_before=600, ramp_s=20),
    "a night": Story(20_000, per_minute=60),
}


@pytest.mark.parametrize("name", STORIES)
def test_time_left_is_right_within_a_fifth_after_a_tenth(name: str) -> None:
    story = STORIES[name]
    for seed in range(3):
        wrong, seen = 0, 0
        for left_s, counts, projection in story.told(seed):
            here = counts.done - story.done_before
            if here < (story.items - story.done_before) / 10:
                continue
            # The last ones end by chance, one by one; the display says so instead of a time.
            if story.items - counts.done <= 2 * story.in_flight:
                break
            seen += 1
            assert projection.left_s is not None
            wrong += not math.isclose(projection.left_s, left_s, rel_tol=0.2, abs_tol=story.item_s)
        assert seen > 20
        assert wrong == 0, f"{wrong} of {seen} seconds"


def test_before_the_first_item_nothing_is_said() -> None:
    estimator = ProgressEstimator(100, 0.0, Counts(succeeded=20, cost={"USD": 1.0}))
    assert estimator.update(30.0, Counts(succeeded=20, cost={"USD": 1.0})) == Projection()


def test_the_rate_is_that_of_the_last_minute_and_of_the_whole_process() -> None:
    estimator = ProgressEstimator(1000, 0.0, Counts(succeeded=100))
    for second in range(1, 181):
        projection = estimator.update(second, Counts(succeeded=100 + min(second, 120)))
    assert (projection.items_per_minute, projection.mean_items_per_minute) == (0, 40)


def test_an_item_that_takes_longer_than_the_window_still_counts() -> None:
    estimator = ProgressEstimator(10, 0.0, Counts())
    lefts = [
        estimator.update(second, Counts(succeeded=second // 100)).left_s for second in range(1, 300)
    ]
    assert lefts[98] is None
    assert lefts[99:] == [pytest.approx(900, rel=0.5)] * 200


@pytest.mark.parametrize("repeats", [0.0, 0.25])
def test_the_cost_of_the_whole_holds_what_cut_answers_may_cost(repeats: float) -> None:
    story = Story(600, repeats=repeats)
    for _, counts, projection in story.told(0):
        if counts.done:
            assert projection.cost["USD"] == pytest.approx(600 * 0.01 * (1 + repeats))


def test_what_earlier_processes_paid_says_nothing_of_what_is_left() -> None:
    """A retry: the first 90 items took three attempts each, the others take one."""
    before = Counts(succeeded=90, cost={"USD": 2.7})
    estimator = ProgressEstimator(100, 0.0, before)
    now = before + Counts(succeeded=5, cost={"USD": 0.05})
    assert estimator.update(10.0, now).cost == pytest.approx({"USD": 2.7 + 0.1})


def test_without_a_price_no_cost_is_made_up() -> None:
    assert ProgressEstimator(10, 0.0, Counts()).update(5.0, Counts(succeeded=5)).cost == {}


def test_in_a_pause_the_time_left_is_longer_by_the_pause() -> None:
    estimator = ProgressEstimator(1200, 0.0, Counts())
    for second in range(1, 601):
        before = estimator.update(second, Counts(succeeded=second))
    assert before.left_s == pytest.approx(600)
    for second in range(601, 661):
        endpoint = EndpointStatus("e", paused_s=661 - second)
        during = estimator.update(second, Counts(succeeded=600), [endpoint])
        assert during.left_s is not None
        assert 600 <= during.left_s <= 600 + endpoint.paused_s + 60
    assert during.items_per_minute == 0


def test_nobody_knows_how_long_an_endpoint_is_down() -> None:
    estimator = ProgressEstimator(100, 0.0, Counts())
    down, up, closed = (
        EndpointStatus("a", down_s=3.0),
        EndpointStatus("b"),
        EndpointStatus("c", closed="no such key"),
    )
    assert estimator.update(10.0, Counts(succeeded=10), [up, down]).left_s is not None
    assert estimator.update(20.0, Counts(succeeded=20), [down, closed]).left_s is None
    assert estimator.update(30.0, Counts(succeeded=20), [up, closed]).left_s == pytest.approx(
        80, rel=0.3
    )


def test_a_watch_of_a_week_stays_small() -> None:
    estimator = ProgressEstimator(10**7, 0.0, Counts())
    for second in range(1, 20_000):
        projection = estimator.update(float(second), Counts(succeeded=second))
    assert len(estimator._samples) <= 2048
    assert projection.left_s == pytest.approx(10**7 - second, rel=0.01)
    assert projection.items_per_minute == pytest.approx(60, rel=0.02)
