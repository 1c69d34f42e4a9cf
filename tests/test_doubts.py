"""Doubts: one text in the table, groups where many rows are shown."""

from hypothesis import given
from hypothesis import strategies as st

from omni_batch.doubts import Doubt, DoubtGroup, DoubtGroups, of_run_and_rows

OGG = Doubt("container-not-documented", "a.ogg is ogg")
FLAC = Doubt("container-not-documented", "b.flac is flac")
VOICE = Doubt("voice-not-listed", "voice Chery is not in the list")


@given(st.from_regex(r"[a-z]+(-[a-z]+)*", fullmatch=True), st.text())
def test_a_doubt_is_read_back_from_its_text(rule: str, message: str) -> None:
    assert Doubt.read(str(Doubt(rule, message))) == Doubt(rule, message)


def test_rows_are_grouped_by_rule_with_the_first_as_example() -> None:
    groups = DoubtGroups()
    groups.add_row("c0", [OGG, VOICE])
    groups.add_row("c1", [FLAC, FLAC])
    groups.add_row("c2", [])
    assert groups.all() == [
        DoubtGroup("container-not-documented", "a.ogg is ogg", 2, "c0"),
        DoubtGroup("voice-not-listed", VOICE.message, 1, "c0"),
    ]


def test_what_was_said_of_the_run_is_not_said_again_of_its_rows() -> None:
    groups = DoubtGroups([VOICE])
    other = Doubt(VOICE.rule, "voice Chrry is not in the list")
    groups.add_row("c0", [VOICE])
    groups.add_row("c1", [VOICE, other])
    assert groups.all() == [
        DoubtGroup(VOICE.rule, VOICE.message),
        DoubtGroup(VOICE.rule, other.message, 1, "c1"),
    ]


def test_a_doubt_of_the_run_that_rows_have_too_is_shown_with_their_number() -> None:
    of_rows = [DoubtGroup(VOICE.rule, VOICE.message[:10], 3, "c0")]
    other = DoubtGroup(VOICE.rule, "another voice")
    same = DoubtGroup(VOICE.rule, VOICE.message)
    assert of_run_and_rows([same, other], of_rows) == (other, *of_rows)
    assert of_run_and_rows([same], []) == (same,)


def test_what_concerns_the_run_comes_first_and_every_text_is_kept() -> None:
    groups = DoubtGroups([VOICE])
    groups.add_row("c0", [OGG])
    groups.add_run([Doubt("reuse-run-unreadable", "run a"), Doubt("reuse-run-unreadable", "run b")])
    assert [group.message for group in groups.all()] == [
        VOICE.message,
        "run a",
        "run b",
        OGG.message,
    ]
    assert [group.rows for group in groups.all()] == [0, 0, 0, 1]
