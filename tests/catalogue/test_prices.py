"""What an answer cost: worked examples, counted by hand."""

from datetime import UTC, datetime

import pytest

from omni_batch.catalogue import Price, catalogue
from omni_batch.catalogue.prices import Pricing, cost_of, scaled, was_answered, with_cost
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.errors import (
    EndpointError,
    Interrupted,
    ItemTimeout,
    NoResponse,
    RateLimited,
    StreamError,
    Unavailable,
)
from omni_batch.types import Attempt, Cost, Usage


def price(model: str = "qwen3-omni-flash", region: str = "beijing") -> Price:
    known = catalogue().model(model)
    assert known
    found = known.price(region)
    assert found
    return found


# Beijing, CNY for a million: text in 1.8, sound in 15.8, pictures in 3.3; text out 6.9, or 12.7
# when media came in; speech out 62.6.


def test_text_for_text() -> None:
    usage = Usage(1000, 500, 1500, prompt_text_tokens=1000, completion_text_tokens=500)
    cost = cost_of(usage, price(), wants_audio=False)
    assert cost.currency == "CNY"
    assert cost.amount == pytest.approx((1000 * 1.8 + 500 * 6.9) / 1e6)
    assert cost.amount == pytest.approx(0.00525)


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("prompt_image_tokens", 3.3),
        ("prompt_video_tokens", 3.3),
        ("prompt_audio_tokens", 15.8),
    ],
)
def test_text_for_media_costs_more(kind: str, rate: float) -> None:
    usage = Usage(1000, 100, 1100, prompt_text_tokens=200, **{kind: 800})
    expected = (200 * 1.8 + 800 * rate + 100 * 12.7) / 1e6
    assert cost_of(usage, price(), wants_audio=False).amount == pytest.approx(expected)


def test_a_video_is_seen_and_heard() -> None:
    usage = Usage(8000, 100, 8100, prompt_video_tokens=7202, prompt_audio_tokens=125)
    # 673 text tokens are left: 0.0012114 + 0.0237666 + 0.001975 + 0.00127
    assert cost_of(usage, price(), wants_audio=False).amount == pytest.approx(0.028223)


def test_the_text_is_free_when_speech_is_billed() -> None:
    usage = Usage(207, 103, 310, completion_text_tokens=20, completion_audio_tokens=83)
    cost = cost_of(usage, price(), wants_audio=True)
    assert cost.amount == pytest.approx(0.0055684)  # 207 * 1.8 + 83 * 62.6 = 5568.4


def test_an_answer_without_a_spoken_token_costs_its_prompt() -> None:
    usage = Usage(1000, 9, 1009, completion_audio_tokens=0)
    assert cost_of(usage, price(), wants_audio=True).amount == pytest.approx(0.0018)


def test_output_that_nobody_explains_is_speech_where_speech_was_asked_for() -> None:
    usage = Usage(0, 1000, 1000)
    assert cost_of(usage, price(), wants_audio=True).amount == pytest.approx(0.0626)


def test_reasoning_costs_as_text() -> None:
    usage = Usage(11, 363, 374, completion_text_tokens=168, reasoning_tokens=195)
    assert cost_of(usage, price(), wants_audio=False).amount == pytest.approx(0.0025245)


def test_prompt_tokens_that_nobody_explains_are_text() -> None:
    assert cost_of(Usage(1000, 0, 1000), price(), wants_audio=False).amount == pytest.approx(0.0018)
    odd = Usage(10, 0, 10, prompt_audio_tokens=20)  # more than there are in all
    assert cost_of(odd, price(), wants_audio=False).amount == pytest.approx(20 * 15.8 / 1e6)


def test_each_region_has_its_prices() -> None:
    usage = Usage(1_000_000, 1_000_000, 2_000_000)
    cost = cost_of(usage, price(region="singapore"), wants_audio=False)
    assert cost.currency == "USD"
    assert cost.amount == pytest.approx(0.43 + 1.66)


def test_what_has_no_price_costs_nothing() -> None:
    nothing = Price(region="here", currency="EUR")
    usage = Usage(5, 5, 10, prompt_image_tokens=2, prompt_audio_tokens=1, completion_audio_tokens=1)
    assert cost_of(usage, nothing, wants_audio=True).amount == 0
    assert cost_of(usage, nothing, wants_audio=False).amount == 0


def test_cached_text_costs_what_the_list_says() -> None:
    newest = catalogue().model("qwen3.8-omni-flash")
    assert newest
    rates = newest.price("international")
    assert rates
    usage = Usage(1_000_000, 0, 1_000_000, cached_tokens=400_000)
    cost = cost_of(usage, rates, wants_audio=False)
    assert cost.amount == pytest.approx(0.6 * 0.15 + 0.4 * 0.016)
    none_cached = cost_of(Usage(10, 0, 10), rates, wants_audio=False)
    assert none_cached.amount == pytest.approx(10 * 0.15 / 1e6)
    no_discount = cost_of(usage, price(), wants_audio=False)
    assert no_discount.amount == pytest.approx(1.8)


def test_only_the_text_of_a_prompt_is_cheaper_from_the_cache() -> None:
    """A discount for cached input is known of text only: pictures count in full."""
    rates = Price(region="r", currency="CNY", text_in=1.0, image_in=3.0, cached_in=0.1)
    usage = Usage(1000, 0, 1000, prompt_image_tokens=800, cached_tokens=900)
    assert cost_of(usage, rates, wants_audio=False).amount == pytest.approx(
        (200 * 0.1 + 800 * 3.0) / 1e6
    )


def test_a_discount_scales_every_rate_and_nothing_else() -> None:
    half = scaled(price(), 0.5)
    usage = Usage(1000, 100, 1100, prompt_audio_tokens=300, prompt_image_tokens=300)
    for wants_audio in (False, True):
        full, halved = (cost_of(usage, rates, wants_audio=wants_audio) for rates in (price(), half))
        assert halved.amount == pytest.approx(full.amount / 2)
    assert (half.region, half.currency) == (price().region, price().currency)


# --- attempts without a bill ---

PROMPT = PromptEstimate(text=100, image=300)
BROKEN = StreamError("broke off")


def attempt(**facts: object) -> Attempt:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    return Attempt(1, at, 0.5, **facts)  # type: ignore[arg-type]


def estimated(**facts: object) -> Attempt:
    return with_cost(attempt(**facts), PROMPT, Pricing(price(), False, 12.5))


def test_a_bill_is_what_counts_where_there_is_one() -> None:
    usage = Usage(1000, 500, 1500)
    billed = estimated(http_status=200, usage=usage, error=BROKEN, text="cut", text_chars=3)
    assert billed.cost == cost_of(usage, price(), wants_audio=False)
    assert (billed.estimated_tokens, billed.estimated_cost) == (None, None)


def test_an_answer_that_was_cut_is_estimated_by_what_had_arrived() -> None:
    cut = estimated(http_status=200, error=BROKEN, text="abcd" * 20, text_chars=80)
    assert cut.cost is None
    assert cut.estimated_tokens == 100 + 300 + 20
    assert cut.estimated_cost == Cost(
        pytest.approx((100 * 1.8 + 300 * 3.3 + 20 * 12.7) / 1e6),  # type: ignore[arg-type]
        "CNY",
    )


def test_of_a_long_text_the_beginning_says_what_a_character_takes() -> None:
    """1.5 characters of Chinese are a token; of 3,000 the first 30 were kept."""
    cut = estimated(http_status=200, error=BROKEN, text="你好吗" * 10, text_chars=3000)
    assert cut.estimated_tokens == 400 + 2000


def test_a_text_that_is_not_at_hand_takes_a_token_for_four_characters() -> None:
    assert estimated(http_status=200, error=BROKEN, text_chars=80).estimated_tokens == 400 + 20
    assert estimated(http_status=200, error=BROKEN).estimated_tokens == 400


def test_speech_is_estimated_by_its_seconds() -> None:
    spoken = attempt(http_status=200, error=BROKEN, audio_s=2.0, text="abcd", text_chars=4)
    cut = with_cost(spoken, PROMPT, Pricing(price(), True, 12.5))
    assert cut.estimated_tokens == 400 + 25 + 1
    assert cut.estimated_cost is not None
    speech = 25 * 62.6  # the text beside it is free
    assert cut.estimated_cost.amount == pytest.approx((100 * 1.8 + 300 * 3.3 + speech) / 1e6)
    unknown_rate = with_cost(spoken, PROMPT, Pricing(price(), True, None))
    assert unknown_rate.estimated_tokens == 400 + 1


@pytest.mark.parametrize(
    ("status", "error", "at_work"),
    [
        (200, BROKEN, True),
        (299, BROKEN, True),
        (200, ItemTimeout("too long"), True),
        (200, None, True),
        (None, BROKEN, True),
        (None, Interrupted("stopped"), True),
        (None, NoResponse("silent"), True),
        (None, ItemTimeout("too long"), True),
        (None, Unavailable("refused"), False),
        (429, RateLimited("slow down"), False),
        (300, EndpointError("moved"), False),
        (199, EndpointError("early"), False),
        (503, ItemTimeout("too long"), False),
        (None, None, False),
    ],
)
def test_a_refusal_costs_nothing_and_what_was_at_work_is_estimated(
    status: int | None, error: Exception | None, at_work: bool
) -> None:
    made = estimated(http_status=status, error=error)
    assert (made.estimated_tokens, made.estimated_cost is not None) == (
        (400, True) if at_work else (None, False)
    )
    assert made.cost is None


def test_what_was_waited_for_in_vain_was_not_answered() -> None:
    assert not was_answered(attempt(error=NoResponse("silent")))
    assert was_answered(attempt(error=BROKEN))


def test_without_a_price_tokens_are_estimated_and_money_is_not() -> None:
    cut = with_cost(attempt(http_status=200, error=BROKEN), PROMPT, Pricing(None, False))
    assert (cut.estimated_tokens, cut.estimated_cost) == (400, None)
    billed = with_cost(attempt(usage=Usage(1, 1, 2)), PROMPT, Pricing(None, False))
    assert (billed.cost, billed.estimated_tokens) == (None, None)
