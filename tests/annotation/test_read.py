"""What a model says becomes a typed value: a repair changes syntax, never meaning."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.annotation.convert import Violation
from omni_batch.annotation.read import read_annotation
from omni_batch.annotation.schema import AnnotationSchema, read_schema

SCHEMA = read_schema(
    {
        "type": "object",
        "properties": {
            "animal": {"type": "string", "enum": ["red fox", "Owl", "hare"]},
            "count": {"type": "integer", "minimum": 0},
            "weight_kg": {"type": "number", "maximum": 500},
            "note": {"type": ["string", "null"]},
            "signs": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
            "awake": {"type": "boolean"},
            "seen_on": {"type": "string", "format": "date"},
            "seen_at": {"type": "string", "format": "date-time"},
        },
        "required": ["animal"],
    }
)
NOTHING_REQUIRED = read_schema(
    {"type": "object", "properties": {"kind": {"type": "string"}, "n": {"type": "integer"}}}
)
FOX = '{"animal": "red fox", "count": 2}'


def read(text: str, schema: AnnotationSchema = SCHEMA, *, cut: bool = False) -> Any:
    value = read_annotation(text, schema, cut=cut).value
    if isinstance(value, dict):
        return {name: each for name, each in value.items() if each is not None}
    return value


def refusal(text: str, schema: AnnotationSchema = SCHEMA, *, cut: bool = False) -> str:
    with pytest.raises(Violation) as caught:
        read_annotation(text, schema, cut=cut)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        FOX,
        f"\ufeff \n{FOX}\r\n",
        f"```json\n{FOX}\n```",
        f"~~~\n{FOX}\n~~~",
        f"```JSON {FOX}```",
        f"```json\n{FOX}",
        f"Of {{fox, owl}} [see below] I'd say \"fox\": {FOX} That's it, isn't it?",
        f"<result>{FOX}</result>",
        f"json: {FOX}",
        f'Input {{"image": "a.jpg"}} gives {FOX}',
        f"<think>An {{'animal': 'Owl'}}? No.</think>{FOX}",
        f'It might be {{"animal": "Owl"}}.\n</think>\n{FOX}',
        f"[THINK]hm[/THINK] {FOX}",
        f"{FOX}}}",
        f"{FOX}\n{FOX}",
        f'{{"answer": {FOX}}}',
        f"[{FOX}]",
        json.dumps(FOX),
    ],
)
def test_an_answer_is_found_in_any_wrapping(text: str) -> None:
    assert read(text) == {"animal": "red fox", "count": 2}


@pytest.mark.parametrize(
    ("text", "member", "value"),
    [
        ('{"animal": "Owl", "signs": ["a", "b",],}', "signs", ["a", "b"]),
        ("{'animal': 'Owl', 'note': \"the owl's\"}", "note", "the owl's"),
        ("{'animal': 'Owl', 'awake': True, 'note': None}", "awake", True),
        ('{animal: "Owl", count: 3}', "count", 3),
        ('{"animal": "Owl", /* two */ "count": 2 // seen\n}', "count", 2),
        ('{"animal": "Owl", # why\n "note": "# no comment, // nor this"}', "note",
         "# no comment, // nor this"),
        ("｛“animal”：“Owl”，“note”：“a b c”｝", "note", "a b c"),
        ('{"animal": "Owl", "note": "one\ntwo\tthree"}', "note", "one\ntwo\tthree"),
        ('{"animal":\u00a0"Owl",\u200b"count": 1}', "count", 1),
        (r'{"animal": "Owl", "note": "C:\Users\new"}', "note", r"C:\Users\new"),
        (r'{"animal": "Owl", "note": "\beta \alpha"}', "note", r"\beta \alpha"),
        (r'{"animal": "Owl", "note": "\\beta \u00e9 \ud83d\ude00"}', "note", "\\beta é 😀"),
        (r'{"animal": "Owl", "note": "half \ud83d pair"}', "note", "half \ufffd pair"),
    ],
)  # fmt: skip
def test_slips_of_syntax_with_one_reading_are_repaired(text: str, member: str, value: Any) -> None:
    assert read(text)[member] == value


@pytest.mark.parametrize(
    "text",
    [
        '{"animal": "Owl", "note": "she said "hoo" twice"}',
        '{"animal": "Owl", "signs": ["12" wing", "b"]}',
        '{"animal": "Owl", "signs": ["a", ...]}',
        '{"animal": "Owl", "count": }',
        '{"animal": "Owl", "count": 1,234}',
        '{"animal": "Owl", "count": 3 + 4}',
        '{"animal": "Owl", "count": 3-5}',
        '{"animal": "Owl", "weight_kg": 12kg}',
        '{"animal": "Owl", "weight_kg": ~3}',
        '{"animal": "Owl", "weight_kg": 0,5}',
        '{"animal": "Owl", "weight_kg": 4/5}',
        '{"animal": "Owl", "count": 12:30}',
        '{"animal": "Owl" | "hare"}',
        '{"animal": Owl}',
        r'{"animal": "Owl", "note": "C:\Users\"}',
        r"""{'animal': 'Owl', "note": "C:\new\docs"}""",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    assert refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I can't see an [image] in {your message}.",
        "An owl.",
        '<think>It is {"animal": "Owl"}</think>',
        '<think>Perhaps {"animal": "Owl"} but',
        '{"animal": "Owl"} or {"animal": "hare"}',
        '[{"animal": "Owl"}, {"animal": "hare"}]',
        '{"result": {"animal": "Owl"}, "data": {"animal": "hare"}}',
        '{"animal": "Owl", "animal": "hare"}',
        '{"Animal": "Owl", "ANIMAL": "hare"}',
        '{"draft": {"animal": "Owl"} broken {"animal": "hare"}}',
        "- animal: Owl",
    ],
)
def test_where_no_answer_surely_is_none_is_taken(text: str) -> None:
    assert refusal(text)


def test_a_row_of_nulls_that_nobody_said_is_no_answer() -> None:
    echo = json.dumps(NOTHING_REQUIRED.json_schema)
    for text in ("{}", '{"animal": "Owl"}', echo, '{"type": "object", "properties": {}}'):
        assert refusal(text, NOTHING_REQUIRED)
    assert read('{"kind": "x"}', NOTHING_REQUIRED) == {"kind": "x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"animal": "Owl", "note": "runs acr', "cut at the token limit"),
        ('{"animal": "Owl", "count": 1', "cut at the token limit"),
        ('{"animal": "Owl", "signs": ["a"', "cut at the token limit"),
        ('{"animal": "Owl"} or {"animal": "ha', "several answers"),
    ],
)
def test_an_open_value_may_have_gone_on(text: str, says: str) -> None:
    assert says in refusal(text, cut=True)


def test_what_is_cut_behind_a_whole_answer_does_not_matter() -> None:
    assert read(f"{FOX}\nThe fox is known for its", cut=True)["count"] == 2


@pytest.mark.parametrize(
    ("member", "said", "value"),
    [
        ("animal", '"OWL"', "Owl"),
        ("animal", '" red-fox "', "red fox"),
        ("count", '"17"', 17),
        ("count", "3.0", 3),
        ("count", "1e3", 1000),
        ("count", "9007199254740993", 9007199254740993),
        ("count", '"9007199254740993"', 9007199254740993),
        ("weight_kg", ".5", 0.5),
        ("weight_kg", "\u22125", -5.0),
        ("weight_kg", "0.30000000000000004", 0.30000000000000004),
        ("awake", '"no"', False),
        ("awake", "TRUE", True),
        ("note", '"null"', "null"),
        ("seen_on", '"2026-03-01"', "2026-03-01"),
        ("seen_at", '"2026-03-01T18:30:00+09:00"', "2026-03-01T09:30:00Z"),
        ("seen_at", '"1500-01-01T00:00:00Z"', "1500-01-01T00:00:00Z"),
    ],
)
def test_another_spelling_of_one_value_is_that_value(member: str, said: str, value: Any) -> None:
    found = read(f'{{"animal": "Owl", "{member}": {said}}}' if member != "animal"
                 else f'{{"animal": {said}}}')  # fmt: skip
    assert found[member] == value
    assert type(found[member]) is type(value)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("animal", '"fox"'),
        ("animal", '"Owls"'),
        ("animal", '"not an Owl"'),
        ("animal", "1"),
        ("animal", '["Owl"]'),
        ("animal", "null"),
        ("count", "3.5"),
        ("count", "true"),
        ("count", "-1"),
        ("count", "9223372036854775808"),
        ("count", '"1,234"'),
        ("count", '"3 owls"'),
        ("count", "1_000"),
        ("weight_kg", "NaN"),
        ("weight_kg", "1e400"),
        ("weight_kg", "501"),
        ("weight_kg", '"90%"'),
        ("awake", '"maybe"'),
        ("note", "1.10"),
        ("signs", '"a, b"'),
        ("signs", '["a", null]'),
        ("signs", '["1", "2", "3", "4", "5"]'),
        ("seen_on", '"2026-02-30"'),
        ("seen_on", '"01/03/2026"'),
        ("seen_on", '"2026-03-01T23:00:00-05:00"'),
        ("seen_at", '"2026-03-01T09:30:00"'),
        ("seen_at", "1772357400"),
        ("seen_at", '"9999-12-31T23:00:00-05:00"'),
    ],
)
def test_no_value_is_guessed_rounded_or_cut(member: str, said: str) -> None:
    text = f'{{"animal": {said if member == "animal" else chr(34) + "Owl" + chr(34)}'
    text += "}" if member == "animal" else f', "{member}": {said}}}'
    assert refusal(text).startswith(member)


def test_the_path_of_the_first_violation_is_said() -> None:
    schema = read_schema(
        {
            "type": "object",
            "properties": {
                "boxes": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"w": {"type": "number"}}},
                }
            },
        }
    )
    assert refusal('{"boxes": [{"w": 1}, {"w": "wide"}]}', schema).startswith("boxes.1.w: 'wide'")


def test_a_schema_has_the_last_word_on_members_that_it_forbids() -> None:
    strict = read_schema(SCHEMA.json_schema | {"additionalProperties": False})
    assert "why" in refusal('{"animal": "Owl", "why": "ears"}', strict)
    assert read('{"animal": "Owl", "why": "ears"}') == {"animal": "Owl"}


def test_an_answer_that_is_one_label_or_number() -> None:
    label = read_schema({"type": "string", "enum": ["cat", "dog"]})
    rating = read_schema({"type": "integer", "minimum": 1, "maximum": 5})
    assert [read(text, label) for text in ('"cat"', "cat\n", "```\n\"dog\"\n```")] == [
        *("cat", "cat", "dog")
    ]  # fmt: skip
    assert refusal("It is a cat, not a dog.", label)
    assert read("4", rating) == 4
    assert refusal("I'd give it a 4 out of 5.", rating)


def test_what_was_repaired_is_said() -> None:
    def rules(text: str) -> list[str]:
        return [doubt.rule for doubt in read_annotation(text, SCHEMA).doubts]

    assert rules(f"Well: {FOX}") == []
    assert rules("{'animal': 'Owl'}") == ["annotation-syntax"]
    assert rules('{"animal": "owl"}') == ["annotation-spelling"]
    assert rules(f"[{FOX}]") == ["annotation-wrapped"]


TEXTS = st.text(max_size=30)
VALUES = st.fixed_dictionaries(
    {"animal": st.sampled_from(["red fox", "Owl", "hare"])},
    optional={
        "count": st.integers(0, 2**63 - 1),
        "weight_kg": st.floats(-1e6, 500, allow_nan=False),
        "note": TEXTS,
        "signs": st.lists(TEXTS, max_size=4),
        "awake": st.booleans(),
    },
)
WRAPPINGS = st.sampled_from(
    ["%s", "```json\n%s\n```", "Here it is: %s\nAnything else?", "<think>no {}</think>%s", "\n%s"]
)


@given(VALUES, WRAPPINGS, st.booleans(), st.sampled_from([None, 2]))
def test_valid_json_is_taken_to_the_letter_in_any_wrapping(
    value: dict[str, Any], wrapping: str, ascii_only: bool, indent: int | None
) -> None:
    text = wrapping % json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert read(text) == {name: each for name, each in value.items() if each is not None}


@given(VALUES)
def test_a_python_dictionary_is_the_same_value(value: dict[str, Any]) -> None:
    try:
        assert read(repr(value)) == value
    except Violation:  # escapes that JSON has not: refused, never another value
        assert "\\" in repr(value)


@given(VALUES, st.data())
def test_an_answer_that_is_cut_anywhere_is_never_taken(
    value: dict[str, Any], data: st.DataObject
) -> None:
    text = json.dumps(value)
    assert refusal(text[: data.draw(st.integers(0, len(text) - 1))], cut=True)


@given(st.text(alphabet='{}[]":,\'\\ -0123456789.eaOwl`<>/think\n"', max_size=80))
def test_any_text_gives_a_value_or_one_short_line(text: str) -> None:
    for schema in (SCHEMA, NOTHING_REQUIRED):
        said = ""
        try:
            read_annotation(text, schema)
        except Violation as exc:
            said = str(exc)
        assert len(said) < 500


@pytest.mark.parametrize(
    "text",
    [
        "{" * 20_000,
        "[" * 20_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
        '{"animal": "Owl", "x": ' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"note": "' + "x" * 1_000_000,
        "{/*" * 20_000,
        ":{ " * 300_000,
        '{"a": 1} ' * 10_000,
        "The owl sat. " * 80_000,
        '{"animal": "Owl", "signs": ["a"' + ', "b"' * 200_000 + "]}",
    ],
    ids=range(10),
)
def test_large_and_deep_answers_are_refused_in_short(text: str) -> None:
    assert len(refusal(text)) < 500


def test_a_large_answer_is_a_value() -> None:
    note = "word " * 200_000
    assert read(json.dumps({"animal": "Owl", "note": note}))["note"] == note
