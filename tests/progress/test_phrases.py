"""What is said of an endpoint's limits: what binds now, what was found out, what was not tried."""

from typing import Any

import pytest

from omni_batch.endpoint_status import EndpointStatus, Held, Learned
from omni_batch.progress import phrases


def status(**known: Any) -> EndpointStatus:
    defaults = {"stated_requests_per_minute": 60.0, "stated_tokens_per_minute": 100_000.0}
    return EndpointStatus("e", **{**defaults, **known})


@pytest.mark.parametrize(
    ("held_by", "said"),
    [
        ("requests", "held by the limit of requests a minute"),
        ("tokens", "held by the limit of tokens a minute"),
        ("in_flight", "held by the number in flight (quota.max_in_flight)"),
        ("turn", "held by other runs that use the account"),
        ("media", "held by the next items, which are being prepared"),
        ("pause", ""),
        ("outage", ""),
        (None, ""),
    ],
)
def test_the_limit_that_binds_now_is_named(held_by: Held | None, said: str) -> None:
    assert phrases.held(status(held_by=held_by, in_flight=3)) == said


def test_a_run_that_the_catalogue_held_back_hears_how_to_state_more() -> None:
    bound = status(defaults=("requests_per_minute",), held_s={"requests": 50.0, "tokens": 9.0})
    assert phrases.untried(bound, 60) == (
        "held to the catalogue's 60 requests a minute, of which none was refused; "
        "if the account has more, state it: quota.requests_per_minute"
    )
    assert phrases.untried(bound, 600) == ""


@pytest.mark.parametrize(
    "known",
    [
        {"defaults": ()},
        {"defaults": ("tokens_per_minute",)},
        {"defaults": ("requests_per_minute",), "rate_limited": {"requests": 1}},
        {"defaults": ("requests_per_minute",), "held_s": {"in_flight": 60.0}},
    ],
)
def test_it_is_not_said_where_it_would_not_help(known: dict[str, Any]) -> None:
    assert phrases.untried(status(**{"held_s": {"requests": 50.0}, **known}), 60) == ""


def test_only_what_this_run_found_out_is_called_learned() -> None:
    assert phrases.learned(status(learned=Learned(50.0))) == "50 requests a minute (stated 60)"
    assert phrases.learned(status(learned=Learned(50.0, handed_on=True))) == ""
