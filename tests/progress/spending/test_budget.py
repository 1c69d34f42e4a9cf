"""When a run has spent enough."""

from typing import Any

import pytest

from omni_batch.config import BudgetConfig
from omni_batch.counts import Counts
from omni_batch.errors import BudgetReached
from omni_batch.progress.spending.budget import Month, Need, check_budget, would_pass


def budget(**limits: Any) -> BudgetConfig:
    return BudgetConfig.model_validate(limits)


SPENT = Counts(
    prompt_tokens=100,
    completion_tokens=30,
    estimated_tokens=20,
    cost={"USD": 0.5},
    estimated_cost={"USD": 0.25},
)
"""150 tokens and 0.75 USD, with what cut attempts may have cost."""


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        ({}, False),
        ({"max_cost": "0.75 USD"}, True),
        ({"max_cost": "0.74 USD"}, True),
        ({"max_cost": "0.76 USD"}, False),
        ({"max_tokens": 150}, True),
        ({"max_tokens": 149}, True),
        ({"max_tokens": 151}, False),
    ],
)
def test_a_limit_is_reached_when_it_is_spent(limits: dict[str, Any], reached: bool) -> None:
    if not reached:
        check_budget(budget(**limits), SPENT)
        return
    (key,) = limits
    with pytest.raises(BudgetReached, match=rf"budget\.{key}.*--set budget\.{key}="):
        check_budget(budget(**limits), SPENT)


@pytest.mark.parametrize(
    ("counts", "reached"),
    [
        (Counts(succeeded=0, failed=49), False),  # too few to say anything
        (Counts(succeeded=24, failed=26), True),
        (Counts(succeeded=25, failed=25), False),  # half of them are allowed to
        (Counts(succeeded=400, failed=100), False),
    ],
)
def test_the_rate_of_failures_is_judged_after_fifty(counts: Counts, reached: bool) -> None:
    limits = budget(max_failure_rate=0.5)
    if not reached:
        check_budget(limits, counts)
        return
    with pytest.raises(BudgetReached, match="26 of 50 items failed"):
        check_budget(limits, counts)


def test_what_would_pass_a_limit_is_told_with_both_amounts() -> None:
    limits = budget(max_cost="1 USD", max_tokens=200)
    assert would_pass(limits, SPENT, Need(50, 0.25)) is None
    assert would_pass(limits, SPENT, Need(50, 0.26)) == (
        "0.7500 USD spent, and the next item, by estimate 0.2600 USD, would pass budget.max_cost "
        "1 USD; raise it with: omni-batch resume … --set budget.max_cost=…"
    )
    assert would_pass(limits, SPENT, Need(51, 0.25)) == (
        "150 tokens used, and the next item, by estimate 51, would pass budget.max_tokens 200; "
        "raise it with: omni-batch resume … --set budget.max_tokens=…"
    )
    assert would_pass(budget(), SPENT, Need(10**9, 10**9)) is None


def test_a_month_counts_what_other_runs_have_spent() -> None:
    month = Month("November 2026", "December 2026", SPENT + Counts(answers=39))
    limits = budget(max_tokens=200, month={"max_tokens": 350, "max_answers": 40})
    assert would_pass(limits, SPENT, Need(50, 0), month) is None
    assert would_pass(limits, SPENT + Counts(answers=1), Need(1, 0), month) == (
        "40 answers paid for in November 2026, and the next item would pass "
        "budget.month.max_answers 40; the first night of December 2026 asks for what is left; or "
        "raise it with: omni-batch resume … --set budget.month.max_answers=…"
    )
    assert "budget.max_tokens 200" in (would_pass(limits, SPENT, Need(51, 0), month) or "")
    doubted = Month("November 2026", "December 2026", Counts(answers=38, in_doubt=1))
    assert would_pass(limits, Counts(), Need(1, 0, answers=1), doubted) is None
    assert would_pass(limits, Counts(), Need(1, 0, answers=2), doubted)


def test_failures_that_are_expected_are_no_rate() -> None:
    limits, expected = budget(max_failure_rate=0.5), Counts(failed=500)
    check_budget(limits, expected, expected)
    check_budget(limits, expected + Counts(succeeded=25, failed=25), expected)
    with pytest.raises(BudgetReached, match="26 of 50 items failed"):
        check_budget(limits, expected + Counts(succeeded=24, failed=26), expected)


def test_those_that_were_mended_make_it_no_more_lenient() -> None:
    limits, mended = budget(max_failure_rate=0.5), Counts(succeeded=500)
    with pytest.raises(BudgetReached, match="26 of 50 items failed"):
        check_budget(limits, mended + Counts(succeeded=24, failed=26), mended)
