"""Tasks for annotators and chats for trainers, held against the rules of their readers."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datasets
import jsonschema_rs
import pytest

from omni_batch.analytics.export.write import ExportOptions, export_run
from omni_batch.errors import ConfigError
from omni_batch.store import RunDir
from tests.conftest import SAMPLE
from tests.support.written_runs import Written, write_run

PHOTO, SOUND, FILM = "photos/coffee.jpg", "audio/announcement.mp3", "video/espresso.mp4"
URL = "https://example.com/cat.webp"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "label": {"enum": ["cat", 'a "b" & <c>', "à la carte"], "description": "the animal"},
        "score": {"type": "number"},
        "count": {"type": "integer"},
        "sure": {"type": "boolean"},
        "image": {"type": "string"},
        "prompt": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"enum": ["small", "wet"]}},
        "words": {"type": "array", "items": {"type": "string"}},
        "box": {"type": "object", "properties": {"w": {"type": "number"}}},
        "boxes": {
            "type": "array",
            "items": {"type": "object", "properties": {"w": {"type": "integer"}}},
        },
        "sizes": {"type": "object", "additionalProperties": {"type": "integer"}},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
    },
}
CAT: dict[str, Any] = {
    "label": "cat",
    "score": 0.5,
    "count": 2,
    "sure": True,
    "image": "indoors",
    "prompt": None,
    "tags": ["wet", "small", "wet"],
    "words": ["purr", "paw"],
    "box": {"w": 3},
    "boxes": [{"w": 1}, {"w": 2}],
    "sizes": [{"key": "tail", "value": 9}],
    "day": "2026-01-02",
    "at": "2026-01-02T03:04:05Z",
}
NEARLY_NOTHING = dict.fromkeys(CAT) | {"label": 'a "b" & <c>', "tags": []}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    turns = json.dumps(
        [{"role": "user", "content": [{"image": URL}, "And this?"]},
         {"role": "assistant", "content": "A dog."}]
    )  # fmt: skip
    rows = [
        Written("photo", "raw", CAT, columns={"image": (PHOTO,), "source": {"lang": "de", "n": 1}}),
        Written("lost", None, columns={"image": (PHOTO,)}),
        Written("net", "raw", NEARLY_NOTHING, columns={"image": (URL,), "prompt": "Which one?"}),
        Written("sound", "raw", CAT, columns={"audio": SOUND, "system": "Be brief."}),
        Written("film", "raw", CAT, columns={"video": FILM, "frames": (PHOTO, PHOTO)}),
        Written("../up", "raw", CAT, columns={"image": (PIXEL,), "messages": turns, "prompt": "?"}),
    ]
    return write_run(tmp_path / "run", rows, items=6, base_folder=SAMPLE, schema=SCHEMA)


# --- label-studio ---


def tasks_of(folder: Path, name: str = "tasks") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())
    return found


def config_of(folder: Path) -> ElementTree.Element:
    return ElementTree.fromstring((folder / "labels.xml").read_text())


def check_tasks(folder: Path, tasks: list[dict[str, Any]]) -> None:
    """What `LabelInterface` of label-studio-sdk 2.1.2 asks of a config, its tasks and predictions.

    Names are unique (`_unique_names_validation`), `toName` stands in the config
    (`_to_name_validation`), data has what objects show (`validate_task`), and regions are as
    `_validate_region_logic` and the `*Value` classes of `control_tags` want them.
    """
    named = [element for element in config_of(folder).iter() if "name" in element.attrib]
    assert len({element.attrib["name"] for element in named} - {""}) == len(named)
    controls = {each.attrib["name"]: each for each in named if "toName" in each.attrib}
    objects = {each.attrib["name"]: each for each in named if "toName" not in each.attrib}
    for task in tasks:
        for element in objects.values():
            variable = element.attrib.get("valueList", element.attrib.get("value", ""))
            assert variable.startswith("$")
            assert task["data"][variable[1:]] is not None
        for prediction in task["predictions"]:
            for region in prediction["result"]:
                assert region["to_name"] in objects
                check_region(region, controls[region["from_name"]])


def check_region(region: dict[str, Any], control: ElementTree.Element) -> None:
    assert region["type"] == control.tag.lower()
    assert region["to_name"] == control.attrib["toName"]
    key = {"textarea": "text"}.get(region["type"], region["type"])
    [(found, value)] = region["value"].items()
    assert found == key
    match key:
        case "choices":
            assert set(value) <= {choice.attrib["value"] for choice in control}
            assert len(value) == 1 or control.attrib["choice"] == "multiple"
        case "text":
            assert all(isinstance(text, str) for text in value)
        case "number":
            assert isinstance(value, int | float)
        case _:
            assert isinstance(value, str)


def said(task: dict[str, Any]) -> dict[str, Any]:
    """Field → value of a task's prediction."""
    [prediction] = task["predictions"]
    return {
        region["from_name"]: next(iter(region["value"].values())) for region in prediction["result"]
    }


def test_tasks_have_a_prediction_that_the_config_knows(run: RunDir, tmp_path: Path) -> None:
    counts = export_run(run, "label-studio", tmp_path / "out")
    tasks = tasks_of(tmp_path / "out")
    check_tasks(tmp_path / "out", tasks)
    assert (counts.items, counts.left_out) == (5, 1)
    assert [task["data"]["item_id"] for task in tasks] == [
        "photo", "net", "sound", "film", "../up",
    ]  # fmt: skip
    assert said(tasks[0]) == {
        "label": ["cat"],
        "score": 0.5,
        "count": 2,
        "sure": ["true"],
        "image": ["indoors"],
        "tags": ["wet", "small"],
        "words": ["purr", "paw"],
        "box.w": 3,
        "boxes": ['{"w":1}', '{"w":2}'],
        "sizes": ['[{"key":"tail","value":9}]'],
        "day": "2026-01-02",
        "at": ["2026-01-02T03:04:05Z"],
    }
    assert said(tasks[1]) == {"label": ['a "b" & <c>']}
    assert (tasks[0]["data"]["lang"], tasks[0]["data"]["n"]) == ("de", 1)


def test_the_config_has_a_control_for_each_field(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "label-studio", tmp_path / "out")
    view = config_of(tmp_path / "out")
    tags = {each.attrib["name"]: each.tag for each in view if "toName" in each.attrib}
    assert tags == {
        "label": "Choices",
        "score": "Number",
        "count": "Number",
        "sure": "Choices",
        "image": "TextArea",
        "prompt": "TextArea",
        "tags": "Choices",
        "words": "TextArea",
        "box.w": "Number",
        "boxes": "TextArea",
        "sizes": "TextArea",
        "day": "DateTime",
        "at": "TextArea",
    }
    choices = [choice.attrib["value"] for choice in view.iter("Choice")][:3]
    assert choices == ["cat", 'a "b" & <c>', "à la carte"]
    assert "label: the animal" in [header.attrib["value"] for header in view.iter("Header")]


def test_what_is_shown_lies_in_the_folder(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "label-studio", tmp_path / "my tasks")
    photo, net, sound, film, up = (task["data"] for task in tasks_of(tmp_path / "my tasks"))

    def file(address: str) -> bytes:
        name = address.removeprefix("/data/local-files/?d=my%20tasks/")
        return (tmp_path / "my tasks" / name).read_bytes()

    assert file(photo["image"]) == (SAMPLE / PHOTO).read_bytes()
    assert file(sound["audio"]) == (SAMPLE / SOUND).read_bytes()
    assert file(film["video"]) == (SAMPLE / FILM).read_bytes()
    assert [file(frame) for frame in film["frames"]] == [(SAMPLE / PHOTO).read_bytes()] * 2
    assert file(up["image"]).startswith(b"\x89PNG")
    assert net["image"] == URL
    assert up["prompt"] == "user: And this?\n\nassistant: A dog.\n\nuser: ?"
    assert {path.name for path in tmp_path.iterdir()} == {"run", "my tasks"}


@pytest.mark.parametrize(
    ("schema", "value", "tag", "found"),
    [
        ({"enum": ["yes", "no"]}, "no", "Choices", ["no"]),
        ({"type": "integer"}, 7, "Number", 7),
        ({"type": "array", "items": {"type": "number"}}, [0.5], "TextArea", ["0.5"]),
    ],
)
def test_a_schema_that_is_no_object_is_one_control(
    tmp_path: Path, schema: dict[str, Any], value: Any, tag: str, found: Any
) -> None:
    run = write_run(tmp_path / "run", [Written("a", "raw", value)], items=1, schema=schema)
    export_run(run, "label-studio", tmp_path / "out")
    check_tasks(tmp_path / "out", tasks_of(tmp_path / "out"))
    assert config_of(tmp_path / "out").findall(tag)[0].attrib["name"] == "annotation"
    assert said(tasks_of(tmp_path / "out")[0]) == {"annotation": found}


def test_names_that_are_empty_or_twice_are_still_names(tmp_path: Path) -> None:
    text = {"type": "string"}
    inner = {"type": "object", "properties": {"b": text}}
    schema = {"type": "object", "properties": {"": text, "a.b": text, "a": inner}}
    value = {"": "x", "a.b": "y", "a": {"b": "z"}}
    run = write_run(tmp_path / "run", [Written("1", "raw", value)], items=1, schema=schema)
    export_run(run, "label-studio", tmp_path / "out")
    check_tasks(tmp_path / "out", tasks_of(tmp_path / "out"))
    found = said(tasks_of(tmp_path / "out")[0])
    assert found == {"annotation": ["x"], "a.b": ["y"], "a.b_2": ["z"]}


def test_without_a_schema_the_text_is_the_prediction(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [Written("a", "a cup")], items=1)
    export_run(run, "label-studio", tmp_path / "out")
    check_tasks(tmp_path / "out", tasks_of(tmp_path / "out"))
    assert said(tasks_of(tmp_path / "out")[0]) == {"text": ["a cup"]}


def test_failed_items_are_tasks_without_a_prediction_if_asked_for(
    run: RunDir, tmp_path: Path
) -> None:
    export_run(run, "label-studio", tmp_path / "out", ExportOptions(failed_too=True))
    tasks = {task["data"]["item_id"]: task for task in tasks_of(tmp_path / "out")}
    assert tasks["lost"]["predictions"] == []


def test_a_label_that_xml_can_not_hold_is_refused(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"label": {"enum": ["a\x01b", "c"]}}}
    run = write_run(tmp_path / "run", [Written("a", "", {"label": "c"})], items=1, schema=schema)
    with pytest.raises(ConfigError, match=r"'a\\x01b' can't stand in a labelling config"):
        export_run(run, "label-studio", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- messages ---


def chats_of(path: Path) -> dict[str, dict[str, Any]]:
    return {chat["item_id"]: chat for chat in map(json.loads, path.read_text().splitlines())}


def test_a_chat_ends_with_the_annotation_as_it_is_stored(run: RunDir, tmp_path: Path) -> None:
    counts = export_run(run, "messages", tmp_path / "out.jsonl")
    chats = chats_of(tmp_path / "out.jsonl")
    assert list(chats) == ["photo", "net", "sound", "film", "../up"]
    assert (counts.items, counts.left_out, counts.embedded) == (5, 1, 0)
    answer = chats["photo"]["messages"][-1]
    assert answer["role"] == "assistant"
    assert json.loads(answer["content"]) == {**CAT, "sizes": {"tail": 9}}
    nearly_nothing = json.loads(chats["net"]["messages"][-1]["content"])
    assert nearly_nothing == {"label": 'a "b" & <c>', "prompt": None, "tags": []}
    for chat in chats.values():
        assert jsonschema_rs.is_valid(SCHEMA, json.loads(chat["messages"][-1]["content"]))
    turns = [turn for chat in chats.values() for turn in chat["messages"]]
    assert all(isinstance(turn["content"], str) for turn in turns)
    assert {turn["role"] for turn in turns} == {"system", "user", "assistant"}


def test_media_are_named_where_their_signs_stand(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "messages", tmp_path / "out.jsonl")
    chats = chats_of(tmp_path / "out.jsonl")
    for chat in chats.values():
        text = "".join(turn["content"] for turn in chat["messages"])
        for sign, name in {"<image>": "images", "<audio>": "audios", "<video>": "videos"}.items():
            assert text.count(sign) == len(chat[name])
    assert chats["photo"]["images"] == [str(SAMPLE / PHOTO)]
    assert chats["sound"]["audios"] == [str(SAMPLE / SOUND)]
    assert (chats["film"]["videos"], len(chats["film"]["images"])) == ([str(SAMPLE / FILM)], 2)
    assert chats["../up"]["images"] == [URL, PIXEL]
    assert [turn["content"] for turn in chats["../up"]["messages"]][1:4] == [
        "<image>And this?", "A dog.", "<image>?",
    ]  # fmt: skip


def test_the_model_is_told_what_it_was_told(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "messages", tmp_path / "out.jsonl")
    told = chats_of(tmp_path / "out.jsonl")["sound"]["messages"][0]
    assert told["role"] == "system"
    assert told["content"].startswith("Be brief.\n\nAnswer with JSON")
    assert '"à la carte"' in told["content"]


def test_the_library_reads_them(run: RunDir, tmp_path: Path) -> None:
    export_run(run, "messages", tmp_path / "out.jsonl")
    path, cache = str(tmp_path / "out.jsonl"), str(tmp_path / "hf")
    data: Any = datasets.load_dataset("json", data_files=path, split="train", cache_dir=cache)
    assert data.features["messages"] == datasets.List(
        {"role": datasets.Value("string"), "content": datasets.Value("string")}
    )
    assert data[0]["messages"][-1]["role"] == "assistant"


def test_signs_in_a_text_are_the_place_of_a_medium_or_leave_the_item_out(tmp_path: Path) -> None:
    rows = [
        Written("own", columns={"image": (PHOTO,), "prompt": "Is <image> a cup?"}),
        Written("none", columns={"prompt": "What does <image> mean in HTML?"}),
        Written("answer", "<audio>", columns={"prompt": "Which tag has sound?"}),
    ]
    run = write_run(tmp_path / "run", rows, items=3, base_folder=SAMPLE)
    counts = export_run(run, "messages", tmp_path / "out.jsonl")
    chats = chats_of(tmp_path / "out.jsonl")
    assert list(chats) == ["own"]
    assert chats["own"]["messages"][0]["content"] == "Is <image> a cup?"
    assert counts.items == 1
    assert counts.notes[0].startswith("2 items are left out: a text of theirs holds <image>")


def test_examples_of_the_config_are_left_out_which_is_said(run: RunDir, tmp_path: Path) -> None:
    record = json.loads(run.record.read_text())
    record["config"]["request"]["examples"] = [{"prompt": "EXAMPLE", "answer": "b"}]
    run.record.write_text(json.dumps(record))
    counts = export_run(run, "messages", tmp_path / "out.jsonl")
    assert "EXAMPLE" not in (tmp_path / "out.jsonl").read_text()
    assert counts.notes[0].startswith("the examples of request.examples (1)")


def test_media_that_are_gone_are_said(tmp_path: Path) -> None:
    row = Written("gone", columns={"image": ("photos/gone.jpg",), "prompt": "?"})
    run = write_run(tmp_path / "run", [row], items=1, base_folder=SAMPLE)
    counts = export_run(run, "messages", tmp_path / "out.jsonl")
    assert chats_of(tmp_path / "out.jsonl")["gone"]["images"] == ["photos/gone.jpg"]
    assert "photos/gone.jpg does not exist" in counts.missing[0]


def test_failed_items_have_no_chat(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no place for failed items"):
        export_run(run, "messages", tmp_path / "out.jsonl", ExportOptions(failed_too=True))
