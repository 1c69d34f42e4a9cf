"""What an answer cost: worked examples, counted by hand."""

import pytest

from omni_batch.catalogue import Price, catalogue
from omni_batch.catalogue.prices import cost_of
from omni_batch.types import Usage


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
    no_discount = cost_of(usage, price(), wants_audio=False)
    assert no_discount.amount == pytest.approx(1.8)
