"""Few-shot examples: turns that go before those of every row, refused before a row is read."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import omni_batch
from omni_batch.config import parse_config
from omni_batch.errors import ConfigError
from omni_batch.planning.check import check_manifest
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.planning.prepared_item import prepare_item
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.simulator import Simulator
from omni_batch.store import RunDir
from omni_batch.store.record import read_record
from omni_batch.types import Item
from tests.conftest import MakeConfig, prompts, read_table
from tests.support.media_files import picture, sound

ITEMS = [Item(item_id=name, row_number=number, prompt=name) for number, name in enumerate("ab")]
SCHEMA = {
    "type": "object",
    "properties": {
        "animal": {"type": "string", "enum": ["cat", "owl"]},
        "count": {"type": "integer", "minimum": 0},
    },
    "required": ["animal", "count"],
}
OWL = {"animal": "owl", "count": 1}
ANNOTATION = {"json_schema": SCHEMA}


@pytest.fixture
def owl(tmp_path: Path) -> str:
    (tmp_path / "owl.png").write_bytes(picture())
    return "owl.png"


def messages(simulator: Simulator) -> list[list[dict[str, Any]]]:
    sent: list[Any] = [request.body["messages"] for request in simulator.requests]
    return sent


# --- what is sent ---


async def test_examples_go_between_the_system_message_and_the_row(
    make_config: MakeConfig, simulator: Simulator, owl: str
) -> None:
    earlier = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "O"}])
    rows = [{"item_id": "a", "messages": earlier, "prompt": "And this?"}]
    examples = [
        {"image": owl, "prompt": "What is it?", "answer": {"animal": "owl", "Größe": 1}},
        {"prompt": "And a mouse?", "answer": "A mouse."},
    ]
    asked = {"system": "Be brief.", "examples": examples}
    await omni_batch.run_batch(make_config(rows, request=asked))
    ((system, first, said, second, text, *own),) = messages(simulator)
    assert system == {"role": "system", "content": "Be brief."}
    assert [part["type"] for part in first["content"]] == ["image_url", "text"]
    assert first["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert said == {"role": "assistant", "content": '{"animal": "owl", "Größe": 1}'}
    assert second == {"role": "user", "content": "And a mouse?"}
    assert text == {"role": "assistant", "content": "A mouse."}
    assert [turn["content"] for turn in own] == ["Hi", "O", "And this?"]


@pytest.mark.parametrize(
    ("example", "question"),
    [
        ({"subject": "owls"}, "How many owls?"),
        ({"subject": None}, "How many ?"),
        ({"prompt": "My {{ own }}"}, "My {{ own }}"),
    ],
)
def test_the_template_is_filled_in_with_the_example_s_own_members(
    make_config: MakeConfig, example: dict[str, Any], question: str
) -> None:
    rows = [{"item_id": "a", "subject": "cats"}]
    asked = {"prompt": "How many {{ subject }}?", "examples": [{**example, "answer": "3"}]}
    user, assistant = make_plan(make_config(rows, request=asked)).examples.turns
    assert (user.parts, assistant.parts) == ((question,), ("3",))


def test_columns_with_other_names_have_them_in_examples_too(
    make_config: MakeConfig, owl: str
) -> None:
    config = make_config(
        [{"item_id": "a", "file_name": owl, "Group Name": "owls"}],
        manifest={"path": "x.csv", "columns": {"image": "file_name"}},
        request={
            "prompt": "{{ file_name | first }} of {{ Group_Name }}",
            "examples": [{"image": owl, "Group Name": "birds", "answer": "o"}],
        },
    )
    manifest = config.manifest.model_copy(update={"path": "manifest.csv"})
    plan = make_plan(config.model_copy(update={"manifest": manifest}), base_folder(config))
    assert plan.examples.turns[0].parts[-1] == "owl.png of birds"


def base_folder(config: Any) -> Path:
    return Path(config.output).parent


async def test_rows_with_prompts_of_their_own_see_examples_by_the_template(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    asked = {"prompt": "Name {{ it }}.", "examples": [{"it": "this", "answer": "A."}]}
    rows = [{"item_id": "a", "prompt": "And that?", "it": "x"}]
    await omni_batch.run_batch(make_config(rows, request=asked))
    (turns,) = messages(simulator)
    assert [turn["content"] for turn in turns] == ["Name this.", "A.", "And that?"]


async def test_urls_and_data_uris_are_examples_too(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    written = "data:image/png;base64," + base64.b64encode(picture()).decode()
    examples = [
        {"image": written, "answer": "noise"},
        {"audio": "https://x.org/a.wav", "answer": "s"},
    ]
    plan = make_plan(make_config(prompts(1), request={"examples": examples}))
    image, audio = plan.examples.media.values()
    assert (image.width_px, audio.url) == (48, "https://x.org/a.wav")


async def test_a_file_of_an_example_is_uploaded_once_for_all_rows(
    make_config: MakeConfig, simulator: Simulator, owl: str
) -> None:
    simulator.change(policy_valid_s=20)  # so each upload gets a folder of its own
    config = make_config(
        prompts(5),
        request={"examples": [{"image": owl, "answer": "o"}]},
        media={"transport": "upload"},
    )
    run = await omni_batch.run_batch(config)
    assert run.counts.succeeded == 5
    urls = {turns[0]["content"][0]["image_url"]["url"] for turns in messages(simulator)}
    assert urls == {f"oss://{key}" for key in simulator.files}
    assert len(urls) == 1


async def test_a_file_of_an_example_is_looked_at_once(
    make_config: MakeConfig, simulator: Simulator, owl: str, tmp_path: Path
) -> None:
    """It is gone when rows are prepared, and nobody notices before it is to be sent."""
    config = make_config(prompts(2), request={"examples": [{"image": owl, "answer": "o"}]})
    plan = make_plan(config)
    (tmp_path / owl).unlink()
    prepared = [await prepare_item(plan, MediaSource(plan.loader()), item) for item in ITEMS]
    assert [each.request.media()[0].width_px for each in prepared] == [48, 48]


# --- what counts ---


async def test_examples_count_in_tokens_costs_and_fingerprints(
    make_config: MakeConfig, owl: str
) -> None:
    def config(*examples: dict[str, Any]) -> Any:
        return make_config(
            prompts(3), endpoint={"name": "simulator"}, request={"examples": list(examples)}
        )

    bare = await check_manifest(make_plan(config()))
    shown = await check_manifest(make_plan(config({"image": owl, "answer": "An owl. " * 40})))
    assert shown.prompt.image > 0
    assert shown.prompt.text > bare.prompt.text + 3 * 60
    assert (shown.cost or 0) > (bare.cost or 0) > 0
    asked = [[], [{"prompt": "a", "answer": "b"}], [{"prompt": "a", "answer": "c"}]]
    plans = [make_plan(config(*examples)) for examples in asked]
    prepared = [await prepare_item(plan, MediaSource(plan.loader()), ITEMS[0]) for plan in plans]
    assert len({fingerprint(each.request, "here") for each in prepared}) == 3


async def test_the_simulator_bills_examples_as_they_are_estimated(
    make_config: MakeConfig, owl: str
) -> None:
    examples = [{"image": owl, "prompt": "What?", "answer": "noise"}]
    run = await omni_batch.run_batch(make_config(prompts(1), request={"examples": examples}))
    (row,) = read_table(run.path)
    assert abs(row["estimated_prompt_tokens"] - row["prompt_tokens"]) <= 12
    assert (row["prompt"], row["modality"], row["media"]) == ("Say 0.", "text", [])


# --- what is refused ---

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"image": "gone.png"}, "example 1: gone.png does not exist; check the config"),
    ({"image": "OWL.png"}, "there is owl.png: correct the config"),
    ({"image": "../up.png"}, "example 1: ../up.png lies outside media.roots"),
    ({"image": "notes.txt"}, "example 1: notes.txt"),
    ({"image": ["owl.png"], "audio": "a.wav"}, "request.examples: turn 1 contains image, audio"),
    ({"frames": ["owl.png"]}, "request.examples: .* is short; .* takes 2 at least"),
    ({"prompt": "Look: <image>"}, "example 1: the text says '<image>'"),
    ({}, "example 1: it asks nothing"),
    ({"prompt": "x", "lable": "y"}, "example 1: unknown member lable"),
    ({"prompt": "x", "promt": "y"}, "did you mean prompt?"),
    ({"prompt": "x", "subject": "y"}, "subject .its prompt is no template"),
    (
        {"prompt": "x", "answer": {"animal": "dog", "count": 1}},
        "example 1: its answer breaks .*dog",
    ),
    ({"prompt": "x", "answer": {"animal": "owl"}}, "breaks the schema of annotation: .*count"),
    ({"prompt": "x", "answer": {"animal": "Owl", "count": 1}}, "not quite what the schema"),
    ({"prompt": "x", "answer": json.dumps(OWL)}, "not quite what the schema"),
    ({"prompt": "x", "answer": "An owl."}, "breaks the schema"),
]


@pytest.mark.parametrize(("example", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_an_example_that_can_t_be_used_is_refused_before_a_row_is_read(
    make_config: MakeConfig, tmp_path: Path, owl: str, example: dict[str, Any], says: str
) -> None:
    (tmp_path / "a.wav").write_bytes(sound())
    (tmp_path / "notes.txt").write_text("no picture")
    example = {"answer": OWL, **example}
    config = make_config(
        [{"not": "a row that could be sent"}],
        annotation=ANNOTATION,
        request={"examples": [example]},
    )
    with pytest.raises(ConfigError, match=says):
        make_plan(config)


def test_the_example_at_fault_is_named_by_its_number(make_config: MakeConfig) -> None:
    examples = [{"prompt": "a", "answer": "b"}, {"prompt": "a", "image": "gone.png", "answer": "b"}]
    with pytest.raises(ConfigError, match=r"request\.examples, example 2: gone\.png"):
        make_plan(make_config(prompts(1), request={"examples": examples}))


def test_a_variable_is_what_json_can_say(make_config: MakeConfig) -> None:
    examples = [{"a": float("inf"), "answer": "x"}]
    with pytest.raises(ConfigError, match="example 1: a is inf, which JSON has no number for"):
        make_plan(make_config(prompts(1), request={"prompt": "{{ a }}", "examples": examples}))


def test_a_variable_that_an_example_lacks_is_refused(make_config: MakeConfig) -> None:
    asked = {"prompt": "{{ a }} {{ b }}", "examples": [{"a": 1, "answer": "x"}]}
    with pytest.raises(ConfigError, match=r"example 1: request.prompt needs \{\{ b \}\}: give"):
        make_plan(make_config(prompts(1), request=asked))


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ({"prompt": "x"}, r"request.examples.0.answer is missing"),
        ({"prompt": "x", "answer": ""}, "is empty; give a text"),
        ({"prompt": "x", "answer": None}, "is empty; give a text"),
        ({"prompt": "x", "answer": {"a": float("nan")}}, "answer.a is nan"),
        ({"prompt": "", "answer": "x"}, "prompt"),
        ({"image": 3, "answer": "x"}, "image"),
    ],
)
def test_a_malformed_example_is_no_config(example: dict[str, Any], says: str) -> None:
    tree: Mapping[str, Any] = {"manifest": {"path": "r.csv"}, "request": {"examples": [example]}}
    with pytest.raises(ConfigError, match=says):
        parse_config(tree)


def test_a_model_that_takes_one_turn_takes_no_examples(make_config: MakeConfig) -> None:
    config = make_config(
        [{"item_id": "a", "audio": "a.wav"}],
        model="qwen3-omni-30b-a3b-captioner",
        request={"examples": [{"prompt": "a", "answer": "b"}]},
    )
    with pytest.raises(ConfigError, match=r"request\.examples: 3 turns; .* takes 1"):
        make_plan(config)


async def test_a_row_that_lost_its_picture_is_not_saved_by_one_in_an_example(
    make_config: MakeConfig, owl: str
) -> None:
    rows = [{"item_id": "a", "prompt": "<image> What is it?"}]
    config = make_config(rows, request={"examples": [{"image": owl, "answer": "o"}]})
    report = await check_manifest(make_plan(config))
    (refused,) = report.refused
    assert "<image>" in refused.message


def test_a_run_goes_on_with_its_examples(make_config: MakeConfig, owl: str) -> None:
    """What run.json keeps is what was asked."""
    asked = {"prompt": "{{ n }}?", "examples": [{"image": owl, "n": 1, "answer": OWL}]}
    rows = [{"item_id": "a", "n": "2"}]
    plan = make_plan(make_config(rows, request=asked, annotation=ANNOTATION))
    record = read_record(RunDir(prepare_run(plan).root).record)
    again = make_plan(parse_config(record.config), Path(record.base_folder))
    assert again.examples == plan.examples
