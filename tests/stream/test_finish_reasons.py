"""Why an answer ended, in the words of whatever stands behind a gateway."""

import pytest

from omni_batch.stream.finish_reasons import finish_reason


@pytest.mark.parametrize(
    ("meant", "words"),
    [
        ("stop", "stop STOP Stop eos EOS_TOKEN end_turn endTurn end-turn stop_sequence </s>"),
        ("stop", "FinishReason.STOP FINISH_REASON_STOP finish_reason_stop completed"),
        ("length", "length LENGTH max_tokens MAX_TOKENS maxTokens max-tokens max_length"),
        ("length", "FinishReason.MAX_TOKENS max_output_tokens model_length"),
        ("content_filter", "content_filter CONTENT_FILTER contentFilter SAFETY safety refusal"),
        (None, "null NULL none None undefined FINISH_REASON_UNSPECIFIED"),
    ],
)
def test_each_word_has_its_meaning(meant: str | None, words: str) -> None:
    assert {finish_reason(word) for word in words.split()} == {meant}


@pytest.mark.parametrize("said", ["", " ", "  null "])
def test_blanks_say_nothing(said: str) -> None:
    assert finish_reason(said) is None


@pytest.mark.parametrize("said", ["tool_calls", "error", "timeout", "5", "stopp", "x" * 9999])
def test_any_other_word_stays_as_it_is(said: str) -> None:
    assert finish_reason(said) == said
