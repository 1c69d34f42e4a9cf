"""Texts that repeat themselves, and thoughts that stand in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.stream.texts import AnswerText, split_thought


def joined(*pieces: str) -> tuple[str, bool]:
    """The text, and whether it is doubted."""
    text = AnswerText()
    for piece in pieces:
        text.add(piece)
    return text.decoded()[0], bool(list(text.doubts()))


@given(st.lists(st.text(max_size=6)))
def test_pieces_that_do_not_repeat_are_joined_as_they_are(pieces: list[str]) -> None:
    text, doubted = joined(*pieces)
    assert text == "".join(pieces) or doubted


@given(st.lists(st.text(min_size=1, max_size=6), min_size=5, max_size=9))
def test_pieces_that_hold_all_before_them_are_the_text_once(words: list[str]) -> None:
    words = ["A cat", " sat", *words]
    text, doubted = joined(*("".join(words[: end + 1]) for end in range(len(words))))
    assert (text, doubted) == ("".join(words), True)


@pytest.mark.parametrize(
    "pieces", [("=", "==", "====", "========", "=" * 16), ("1", "10"), ("ha", "ha"), ("a", "ab")]
)
def test_lines_and_numbers_are_no_repetition(pieces: tuple[str, ...]) -> None:
    assert joined(*pieces) == ("".join(pieces), False)


def test_two_pieces_that_look_like_a_repetition_are_left_and_doubted() -> None:
    assert joined("Hello", "Hello, world") == ("HelloHello, world", True)


def split(text: str, reasoning: str = "", **how: bool) -> tuple[str, str, list[str]]:
    how = {"asked_for": True, "closing_only": True} | how
    answer, thought, doubts = split_thought(text, reasoning, **how)
    return answer, thought, [doubt.rule for doubt in doubts]


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>\nhm\n</think>\n\nHello", "Hello", "hm"),
        ("\n <THINK>hm</THINK>Hello", "Hello", "hm"),
        ("<thinking>hm</thinking> Hello", "Hello", "hm"),
        ("<reasoning>hm</reasoning>Hello", "Hello", "hm"),
        ("<think>\n\n</think>\n\nHello", "Hello", ""),
        ("<think>a</think><think>b</think>Hello", "Hello", "a\nb"),
        ("<think>hm</think>Hello </think> x", "Hello </think> x", "hm"),
        ("<think>hm</think>", "", "hm"),
        ("Hello", "Hello", ""),
        ("Say `<think>` and `</thinker>`.", "Say `<think>` and `</thinker>`.", ""),
    ],
)
def test_a_thought_before_the_answer_is_moved(text: str, answer: str, thought: str) -> None:
    assert split(text) == (answer, thought, [])


def test_a_thought_that_nobody_asked_for_is_moved_and_said() -> None:
    found = split("<think>hm</think>Hello", asked_for=False, closing_only=False)
    assert found == ("Hello", "hm", ["thought-split"])


def test_a_closing_tag_alone_ends_a_thought_where_the_template_opens_it() -> None:
    assert split("hm\n</think>\n\nHello") == ("Hello", "hm", ["thought-split"])
    assert split("hm</think>Hello", asked_for=False)[0] == "hm</think>Hello"
    assert split("hm\n</think>\nHello", asked_for=False)[0] == "Hello"


@pytest.mark.parametrize("text", ["The tag </think> ends it.", "hm\n</think>\nHello"])
def test_a_text_that_talks_about_the_tag_stays(text: str) -> None:
    assert split(text, asked_for=False, closing_only=False) == (text, "", [])
    assert split(text, reasoning="hm") == (text, "hm", [])


def test_beside_a_thought_of_its_own_only_what_stands_first_is_taken() -> None:
    assert split("</think>\n\nHello", reasoning="hm") == ("Hello", "hm", [])
    assert split("<think>hm</think>Hello", reasoning="hm") == ("Hello", "hm", [])
    assert split("<think>so</think>Hello", reasoning="hm") == ("Hello", "hm\nso", [])


def test_a_thought_without_an_end_is_left_and_said() -> None:
    assert split("<think>hm") == ("<think>hm", "", ["thought-unclosed"])
