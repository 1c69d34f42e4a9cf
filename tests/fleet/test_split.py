"""How shards and limits are shared out among the partitions of a run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.config import parse_config
from omni_batch.counts import Counts
from omni_batch.errors import ConfigError
from omni_batch.fleet.shares import configs_of
from omni_batch.fleet.split import PartWork, ShardWork, split

SHARDS = st.lists(
    st.integers(1, 50).flatmap(
        lambda rows: st.integers(0, rows).map(lambda done: ShardWork(rows, Counts(succeeded=done)))
    ),
    min_size=1,
    max_size=30,
)


@given(SHARDS, st.integers(1, 12))
def test_every_shard_is_in_one_partition_and_none_is_empty(
    shards: list[ShardWork], workers: int
) -> None:
    parts = split(shards, workers)
    assert [shard for part in parts for shard in part.shards] == shards
    assert len(parts) == min(workers, len(shards))
    assert all(part.shards for part in parts)
    firsts = [part.first_shard for part in parts]
    assert firsts == [sum(len(part.shards) for part in parts[:n]) for n in range(len(parts))]


def test_partitions_have_about_as_many_open_rows_each() -> None:
    done, open_ = ShardWork(100, Counts(succeeded=100)), ShardWork(100, Counts())
    parts = split([done] * 10 + [open_] * 8, 4)
    assert [part.open_rows for part in parts] == [200] * 4


CONFIG = {
    "manifest": {"path": "rows.csv"},
    "quota": {"max_in_flight": 10, "requests_per_minute": 600},
    "budget": {
        "max_cost": "9 USD",
        "max_tokens": 1000,
        "month": {"max_cost": "20 USD", "max_answers": 100},
    },
}


def part(rows: int, **counts: object) -> PartWork:
    return PartWork(0, (ShardWork(rows, Counts(**counts)),))  # type: ignore[arg-type]


def test_what_is_left_of_a_limit_is_shared_by_the_rows_that_are_left() -> None:
    parts = [part(100, succeeded=100, cost={"USD": 3.0}), part(100), part(200)]
    elsewhere = Counts(cost={"USD": 5.0}, answers=40)
    budgets = [config.budget for config in configs_of(parse_config(CONFIG), parts, elsewhere)]
    costs = [budget.max_cost.amount for budget in budgets if budget.max_cost]
    assert costs == [pytest.approx(3.0), pytest.approx(2.0), pytest.approx(4.0)]
    assert [budget.max_tokens for budget in budgets] == [1, 333, 667]
    months = [budget.month for budget in budgets if budget.month]
    assert [month.max_answers for month in months] == [40, 60, 80]
    assert sum(month.max_cost.amount - 5.0 for month in months if month.max_cost) == pytest.approx(
        15
    )


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), min_size=2, max_size=6),
    st.integers(50, 5000),
    st.integers(0, 30),
)
def test_all_together_never_pass_a_limit(
    rows: list[tuple[int, int]], limit: int, elsewhere: int
) -> None:
    """Nor do they leave any of it, but where more was spent already."""
    parts = [part(open_ + spent, answers=spent, succeeded=spent) for open_, spent in rows]
    config = parse_config(
        {"manifest": {"path": "rows.csv"}, "budget": {"month": {"max_answers": limit}}}
    )
    try:
        configs = configs_of(config, parts, Counts(answers=elsewhere))
    except ConfigError:
        return
    months = [made.budget.month for made in configs if made.budget.month]
    own = [(month.max_answers or 0) - elsewhere for month in months]
    assert sum(own) == max(limit - elsewhere, sum(spent for _, spent in rows))


def test_requests_in_flight_are_shared_and_rates_are_the_accounts() -> None:
    quotas = [made.quota for made in configs_of(parse_config(CONFIG), [part(9)] * 3, Counts())]
    assert [quota.max_in_flight for quota in quotas] == [3, 3, 4]
    assert {quota.requests_per_minute for quota in quotas} == {600}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"quota": {"max_in_flight": 2}}, "quota.max_in_flight = 2 is fewer than 3 workers"),
        (
            {"budget": {"month": {"max_answers": 2}}},
            "budget.month.max_answers = 2 leaves 2 for 3 workers; raise it, or use fewer of them",
        ),
    ],
)
def test_a_limit_that_leaves_nothing_for_a_partition_is_refused(
    changes: dict[str, object], words: str
) -> None:
    config = parse_config({"manifest": {"path": "rows.csv"}, **changes})
    with pytest.raises(ConfigError, match=words):
        configs_of(config, [part(1)] * 3, Counts())
