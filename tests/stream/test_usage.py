"""Tokens as billed: forgiving with what is null, absent or senseless."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.stream.usage import Bill, read_usage, vouched_for
from omni_batch.types import Usage

TOTALS = {"prompt_tokens": 10, "completion_tokens": 363, "total_tokens": 373}


def parse_usage(wire: object) -> Usage | None:
    return read_usage(wire)[0]


def test_every_member_has_its_place() -> None:
    assert parse_usage(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {
                "text_tokens": 10,
                "audio_tokens": 20,
                "image_tokens": 30,
                "video_tokens": 40,
                "cached_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 1},
            },
            "completion_tokens_details": {
                "text_tokens": 12,
                "audio_tokens": 30,
                "reasoning_tokens": 8,
            },
        }
    ) == Usage(
        prompt_tokens=100,
        completion_tokens=50,
        total_tokens=150,
        prompt_text_tokens=10,
        prompt_audio_tokens=20,
        prompt_image_tokens=30,
        prompt_video_tokens=40,
        completion_text_tokens=12,
        completion_audio_tokens=30,
        reasoning_tokens=8,
        cached_tokens=5,
        cache_creation_tokens=1,
    )


@pytest.mark.parametrize(
    ("details", "visible"),
    [
        ({"text_tokens": 168, "reasoning_tokens": 195}, 168),  # beside: the guide of 2025
        ({"text_tokens": 363, "reasoning_tokens": 195}, 168),  # inside: the reference of 2026
        ({"text_tokens": 363, "reasoning_tokens": 363}, 0),
        ({"text_tokens": 100, "reasoning_tokens": 195, "audio_tokens": 68}, 100),
        ({"text_tokens": 295, "reasoning_tokens": 195, "audio_tokens": 68}, 100),
        ({"text_tokens": 200, "reasoning_tokens": 195}, None),  # adds up to nothing
        ({"text_tokens": 363, "reasoning_tokens": 400}, None),
        ({"text_tokens": 363, "reasoning_tokens": None}, 363),
        ({"text_tokens": 363, "reasoning_tokens": 0}, 363),
        ({"text_tokens": 77}, 77),
        ({"text_tokens": None, "reasoning_tokens": 195}, None),
        (None, None),
    ],
)
def test_visible_text_never_counts_reasoning(details: object, visible: int | None) -> None:
    usage = parse_usage({**TOTALS, "completion_tokens_details": details})
    assert usage
    assert usage.completion_text_tokens == visible


@pytest.mark.parametrize("details", [None, {}, [], "x", {"audio_tokens": None}, {"x": 1}])
def test_details_may_be_null_absent_or_strange(details: object) -> None:
    wire = {**TOTALS, "prompt_tokens_details": details, "completion_tokens_details": details}
    assert parse_usage(wire) == parse_usage(TOTALS) == Usage(10, 363, 373)


@pytest.mark.parametrize("total", [None, 0, "373", -1, 50])
def test_a_missing_total_is_the_sum(total: object) -> None:
    assert parse_usage({**TOTALS, "total_tokens": total}) == Usage(10, 363, 373)


@pytest.mark.parametrize(
    "count",
    [None, "7.5", "seven", -1, 1.5, True, float("nan"), float("inf"), 2**40, 10**400, [], {}],
)
def test_a_senseless_count_is_unknown(count: object) -> None:
    usage = parse_usage({**TOTALS, "prompt_tokens_details": {"audio_tokens": count}})
    assert usage
    assert usage.prompt_audio_tokens is None
    assert parse_usage({**TOTALS, "prompt_tokens": count}) is None
    assert parse_usage({**TOTALS, "completion_tokens": count}) is None


def test_a_number_may_be_written_as_a_text() -> None:
    assert parse_usage({"prompt_tokens": "10", "completion_tokens": "2"}) == Usage(10, 2, 12)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert parse_usage({"prompt_tokens": 10.0, "completion_tokens": 2.0}) == Usage(10, 2, 12)


NAMES = st.sampled_from(["text_tokens", "audio_tokens", "reasoning_tokens", "cached_tokens", "x"])
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
DETAILS = VALUES | st.dictionaries(NAMES, VALUES, max_size=5)
WIRE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(TOTALS, VALUES)
    | {f"{side}_tokens_details": DETAILS for side in ("prompt", "completion")},
)


@given(WIRE | VALUES | st.lists(VALUES, max_size=2))
def test_nonsense_never_raises(wire: object) -> None:
    usage = parse_usage(wire)
    counts = [getattr(usage, name) for name in Usage.__slots__] if usage else []
    assert all(count is None or (type(count) is int and count >= 0) for count in counts)


@given(*[st.integers(0, 10**6)] * 3, st.booleans())
def test_both_ways_to_count_reasoning_mean_the_same(
    text: int, reasoning: int, audio: int, inside: bool
) -> None:
    details = {
        "text_tokens": text + reasoning if inside else text,
        "reasoning_tokens": reasoning,
        "audio_tokens": audio,
    }
    total = text + reasoning + audio
    wire = {"prompt_tokens": 1, "completion_tokens": total, "completion_tokens_details": details}
    usage = parse_usage(wire)
    assert usage
    assert usage.completion_text_tokens == text


def test_what_was_written_to_the_cache_is_read_in_both_forms() -> None:
    totals = {"prompt_tokens": 9, "completion_tokens": 1}
    for details in (
        {"cache_creation_input_tokens": 7, "cache_type": "ephemeral"},
        {"cache_creation": {"ephemeral_5m_input_tokens": 7}},
    ):
        usage = parse_usage({**totals, "prompt_tokens_details": details})
        assert usage is not None
        assert usage.cache_creation_tokens == 7


# --- Bills that contradict themselves ---


@pytest.mark.parametrize(
    ("changes", "usage", "said"),
    [
        ({"total_tokens": 50}, Usage(10, 363, 373), "total_tokens is 50"),
        ({"total_tokens": -1}, Usage(10, 363, 373), "total_tokens is -1"),
        ({"prompt_tokens": -1}, None, "prompt_tokens is -1"),
        ({"completion_tokens": 1.5}, None, "completion_tokens is 1.5"),
        (
            {"prompt_tokens_details": {"text_tokens": 8, "image_tokens": 66}},
            Usage(10, 363, 373),
            "74 input tokens by kind, but 10 in all",
        ),
        ({"prompt_tokens_details": {"cached_tokens": 11}}, Usage(10, 363, 373), "11 cached tokens"),
        (
            {"completion_tokens_details": {"audio_tokens": 400, "text_tokens": 1}},
            Usage(10, 363, 373),
            "401 output tokens",
        ),
    ],
)
def test_of_a_contradiction_what_is_vouched_for_is_kept(
    changes: dict[str, object], usage: Usage | None, said: str
) -> None:
    read, (doubt,) = read_usage({**TOTALS, **changes})
    assert read == usage
    assert doubt.rule == "usage-contradictory"
    assert said in doubt.message


def test_what_adds_up_is_not_doubted() -> None:
    details = {"completion_tokens_details": {"text_tokens": 363, "reasoning_tokens": 195}}
    assert read_usage({**TOTALS, **details})[1] == ()


# --- The bill of a reply, of all the usages in it ---


def bill(*usages: Usage) -> Bill:
    made = Bill()
    for usage in usages:
        made.add(usage)
    return made


REAL, ZERO = Usage(11, 9, 20, prompt_text_tokens=11), Usage(0, 0, 0)


@pytest.mark.parametrize(
    ("usages", "billed"),
    [
        ((REAL, ZERO), REAL),
        ((ZERO, REAL, ZERO), REAL),
        ((Usage(11, 1, 12), Usage(11, 5, 16), REAL), REAL),  # previews that grow
        ((Usage(11, 0, 11), Usage(0, 9, 9)), Usage(11, 9, 20)),  # each side apart
        ((Usage(0, 9, 9), Usage(11, 0, 11)), Usage(11, 9, 20)),
        ((Usage(11, 9, 20), REAL), REAL),  # the later one says more
    ],
)
def test_the_real_bill_is_kept(usages: tuple[Usage, ...], billed: Usage) -> None:
    assert bill(*usages).usage(of_answer=True) == billed
    assert not list(bill(*usages).doubts(of_answer=True))


def test_a_bill_that_shrinks_is_doubted_and_the_larger_one_kept() -> None:
    made = bill(REAL, Usage(11, 2, 13))
    assert made.usage(of_answer=True) == REAL
    assert [doubt.rule for doubt in made.doubts(of_answer=True)] == ["usage-contradictory"]


@pytest.mark.parametrize("usage", [ZERO, Usage(0, 9, 9), Usage(11, 0, 11)])
def test_no_tokens_are_no_bill_of_an_answer(usage: Usage) -> None:
    assert bill(usage).usage(of_answer=True) is None
    assert [doubt.rule for doubt in bill(usage).doubts(of_answer=True)] == ["usage-zero"]


def test_an_empty_answer_may_be_billed_for_its_prompt_only() -> None:
    usage = Usage(11, 0, 11)
    assert bill(usage).usage(of_answer=False) == usage


def test_only_a_bill_that_names_kinds_of_input_is_vouched_for() -> None:
    assert vouched_for(REAL)
    assert not vouched_for(Usage(11, 9, 20, cached_tokens=0))
    assert not vouched_for(None)


def test_a_bill_of_nothing_is_told_apart_from_no_bill() -> None:
    bill = Bill()
    (missing,) = bill.doubts(of_answer=True)
    assert missing.rule == "usage-missing"
    bill.add(Usage(0, 0, 0))
    (zero,) = bill.doubts(of_answer=True)
    assert zero.rule == "usage-zero"
    assert zero.message.startswith("the service billed 0 tokens in and 0 out, which is no bill")
    bill.add(Usage(5, 0, 5))
    (half,) = bill.doubts(of_answer=True)
    assert half.message.startswith("the service billed 5 tokens in and 0 out")
    assert list(bill.doubts(of_answer=False)) == []
