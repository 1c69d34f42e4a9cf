"""All that can be refused is refused before anything is sent, and leaves nothing behind."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from omni_batch.config import Config, parse_config
from omni_batch.errors import ConfigError, ManifestError, OmniBatchError
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.store import RunDir
from omni_batch.store.items import read_items
from omni_batch.store.record import read_record
from tests.conftest import write_csv
from tests.requests.manifest.support import read_items as read_manifest

SECRET = "sk-marker-0123456789"
ROWS = "item_id,prompt,subject\na,,cat\nb,hello,dog\nc,,bird\n"

Make = Callable[..., Config]


@pytest.fixture
def config(tmp_path: Path) -> Make:
    """A config over the given CSV against the bundled simulator; nothing is ever sent here."""

    def make(rows: str = ROWS, **changes: Any) -> Config:
        manifest = tmp_path / "rows.csv"
        manifest.write_text(rows, encoding="utf-8")
        tree = {
            "name": "test",
            "manifest": {"path": str(manifest)},
            "output": str(tmp_path / "runs"),
            "request": {"prompt": "Describe {{ subject }}."},
        }
        return parse_config({**tree, **changes})

    return make


def prepare(config: Config, run_id: str | None = None) -> RunDir:
    return prepare_run(make_plan(config), run_id)


def left_behind(config: Config) -> list[str]:
    output = Path(config.output)
    return [path.name for path in output.iterdir()] if output.exists() else []


def refusal(config: Config, error: type[OmniBatchError] = ConfigError) -> str:
    with pytest.raises(error) as refused:
        prepare(config)
    assert left_behind(config) == []
    return str(refused.value)


# --- what is prepared ---


def test_a_run_directory_holds_the_manifest_and_the_config(config: Make) -> None:
    run = prepare(config(), "run-1")
    assert left_behind(config()) == ["run-1"]
    assert sorted(path.name for path in run.root.iterdir()) == [
        "attempts",
        "audio",
        "items.parquet",
        "journal",
        "results",
        "run.json",
    ]
    record = read_record(run.record)
    assert (record.run_id, record.state, record.items, record.owner) == (
        "run-1",
        "prepared",
        3,
        None,
    )
    assert parse_config(record.config) == config()
    assert {"omni_batch", "python", "catalogue", "prefect", "pyarrow"} <= set(record.versions)
    items = read_items(run.items, 0, record.shard_size)
    assert [(item.item_id, item.prompt, item.source) for item in items] == [
        ("a", None, {"subject": "cat"}),
        ("b", "hello", {"subject": "dog"}),
        ("c", None, {"subject": "bird"}),
    ]


@pytest.mark.parametrize("shard_size", ["auto", 7, 250, 500, 1201, 5000])
def test_all_shards_together_are_the_manifest_in_order(config: Make, shard_size: int | str) -> None:
    rows = "item_id,subject\n" + "".join(f"row-{n},thing {n}\n" for n in range(1201))
    made = config(rows, shard_size=shard_size)
    run = prepare(made)
    record = read_record(run.record)
    shards = [read_items(run.items, n, record.shard_size) for n in record.shards]
    assert [item for shard in shards for item in shard] == [
        item for _, item in read_manifest(made.manifest)
    ]
    assert all(len(shard) == record.shard_size for shard in shards[:-1])


def test_the_run_never_looks_at_a_changed_manifest_again(config: Make) -> None:
    run = prepare(config())
    config("item_id,subject\nz,other\n")
    assert [item.item_id for item in read_items(run.items, 0, 500)] == ["a", "b", "c"]


def test_only_the_first_rows_are_read_under_a_limit(config: Make) -> None:
    run = prepare(config(ROWS + "a,,twice\nragged\n", limit=2))
    assert read_record(run.record).items == 2
    assert [item.item_id for item in read_items(run.items, 0, 500)] == ["a", "b"]


def test_a_limit_above_the_number_of_rows_is_harmless(config: Make) -> None:
    assert read_record(prepare(config(limit=99)).record).items == 3


def test_runs_of_one_second_get_names_of_their_own(config: Make) -> None:
    plan = make_plan(config())
    names = [prepare_run(plan).run_id for _ in range(4)]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"test-\d{8}-\d{6}(-\d+)?", name) for name in names)
    assert sorted(left_behind(config())) == sorted(names)


def test_a_name_that_is_taken_while_the_manifest_is_read_stays_with_who_took_it(
    config: Make,
) -> None:
    plan = make_plan(config())
    faster: list[RunDir] = []

    def overtake(rows: int) -> None:
        faster.append(prepare(config("item_id,subject\nz,other\n"), "same"))

    with pytest.raises(ConfigError, match="can't be written"):
        prepare_run(plan, "same", overtake)
    assert left_behind(config()) == ["same"]
    assert [item.item_id for item in read_items(faster[0].items, 0, 500)] == ["z"]


def test_a_run_without_a_name_of_its_own_gets_the_next_one_where_another_was_faster(
    config: Make,
) -> None:
    faster: list[str] = []

    def overtake(rows: int) -> None:
        (draft,) = Path(config().output).glob(".*.preparing")
        faster.append(draft.name.split(".")[1])
        prepare(config("item_id,subject\nz,other\n"), faster[0])

    slower = prepare_run(make_plan(config()), on_rows=overtake)
    assert slower.run_id == read_record(slower.record).run_id == f"{faster[0]}-2"
    assert sorted(left_behind(config())) == [faster[0], slower.run_id]


def test_reading_is_told_now_and_then(config: Make) -> None:
    told: list[int] = []
    rows = "item_id,subject\n" + "".join(f"{n},x\n" for n in range(2500))
    prepare_run(make_plan(config(rows)), on_rows=told.append)
    assert told == [0, 1000, 2000]


def test_what_is_only_doubtful_is_a_warning(config: Make) -> None:
    speech = {"modalities": ["text", "audio"], "voice": "Chery", "prompt": "hi"}
    (voice,) = make_plan(config(request=speech)).doubts
    assert "voice Chery is not in the catalogue's list" in voice.message
    (model,) = make_plan(config(model="qwen3-omni-flahs")).doubts
    assert "did you mean qwen3-omni-flash?" in model.message


# --- what is refused ---


def test_ids_that_stand_there_twice_are_refused_with_both_rows(config: Make) -> None:
    message = refusal(config(ROWS + "b,,twice\n"), ManifestError)
    assert "item_id 'b' appears in rows 2 and 4" in message


def test_rows_of_the_same_content_need_ids(config: Make) -> None:
    message = refusal(config("subject\ncat\ndog\ncat\n"), ManifestError)
    assert "appears in rows 1 and 3" in message


def test_a_variable_that_is_no_column_is_refused_with_the_nearest(config: Make) -> None:
    message = refusal(config(request={"prompt": "Describe {{ subjct }}."}))
    assert "{{ subjct }} is not a column; did you mean subject?" in message
    assert "rows.csv, line 2: " in message


def test_a_row_that_lacks_a_column_of_the_template_is_refused_by_its_line(
    config: Make, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"item_id": "a", "subject": "cat"}\n{"item_id": "b", "note": "x"}\n')
    message = refusal(config(manifest={"path": str(path)}))
    assert "rows.jsonl, line 2: request.prompt: {{ subject }}" in message


def test_a_template_with_a_fault_is_refused_by_its_line(config: Make) -> None:
    assert "request.prompt, line 2" in refusal(config(request={"prompt": "a\n{{ b"}))


def test_a_row_with_nothing_to_send_is_refused_by_its_line(config: Make) -> None:
    message = refusal(config(request={}), ManifestError)
    assert "rows.csv, line 2: the row has nothing to send" in message


def test_messages_that_are_none_are_refused_by_their_line(config: Make) -> None:
    rows = 'item_id,subject,messages\na,x,\nb,x,"[{""role"": ""king""}]"\n'
    message = refusal(config(rows), ManifestError)
    assert "rows.csv, line 3: messages, turn 1: role 'king'" in message


@pytest.mark.parametrize("rows", ["", "item_id,subject\n", "item_id,subject\n\n\n"])
def test_a_manifest_without_rows_is_refused(config: Make, rows: str) -> None:
    assert re.search("is empty|has no rows", refusal(config(rows), ManifestError))


def test_a_fault_in_the_last_row_leaves_nothing_behind(config: Make) -> None:
    rows = "item_id,subject\n" + "".join(f"{n},x\n" for n in range(1200)) + "1200\n"
    assert "line 1202" in refusal(config(rows), ManifestError)


def test_a_missing_manifest_is_refused(config: Make, tmp_path: Path) -> None:
    gone = config(manifest={"path": str(tmp_path / "gone.csv")})
    assert "gone.csv does not exist" in refusal(gone, ManifestError)


def test_a_realtime_model_is_refused(config: Make) -> None:
    assert "WebSocket only" in refusal(config(model="qwen3-omni-flash-realtime"))


def test_an_unknown_endpoint_is_refused_with_the_nearest(config: Make) -> None:
    message = refusal(config(endpoint={"name": "dashscope-bejing"}))
    assert "did you mean dashscope-beijing?" in message


def test_a_missing_key_is_refused_by_the_name_of_its_variable(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    message = refusal(config(endpoint={"name": "dashscope-beijing"}))
    assert "DASHSCOPE_API_KEY" in message
    assert SECRET not in message


def test_a_check_needs_no_key(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    make_plan(config(endpoint={"name": "dashscope-beijing"}), needs_key=False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"request": {"modalities": ["text", "audio"], "thinking": True}},
            "speech is not available in thinking mode",
        ),
        (
            {"model": "qwen3-omni-30b-a3b-captioner", "request": {"modalities": ["text", "audio"]}},
            "does not speak",
        ),
        ({"model": "other", "request": {"modalities": ["text", "audio"]}}, "set request.voice"),
        ({"media": {"roots": ["gone"]}}, "media.roots"),
    ],
)
def test_what_no_answer_could_satisfy_is_refused(
    config: Make, changes: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(config(**changes))


def test_a_name_that_is_taken_is_refused_and_the_run_that_has_it_stands(config: Make) -> None:
    run = prepare(config(), "run-1")
    before = run.record.read_bytes()
    with pytest.raises(
        ConfigError, match=r"run-1 exists already; choose another --run-id, .* omni-batch resume"
    ):
        prepare(config(), "run-1")
    assert run.record.read_bytes() == before
    assert left_behind(config()) == ["run-1"]


@pytest.mark.parametrize(
    "run_id", ["", "..", "../up", "/tmp/x", "a/b", ".hidden", "a b", "x" * 101]
)
def test_a_name_that_is_no_plain_name_is_refused(config: Make, run_id: str) -> None:
    with pytest.raises(ConfigError, match="run id"):
        prepare(config(), run_id)
    assert left_behind(config()) == []


def test_an_output_that_is_no_folder_is_refused(config: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        prepare(config(output=str(tmp_path / "file")))


# --- secrets ---


def test_no_file_of_a_run_holds_the_key(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", SECRET)
    run = prepare(config(endpoint={"name": "dashscope-beijing"}))
    files = [path for path in run.root.rglob("*") if path.is_file()]
    assert {"run.json", "items.parquet"} <= {path.name for path in files}
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    endpoint = json.loads(run.record.read_bytes())["config"]["endpoint"]
    given = {key for key, value in endpoint.items() if value is not None}
    assert given == {
        *("name", "insecure", "rows", "weight"),
        *("completion_window_h", "fallback", "lost_jobs"),
    }


# --- quota ---


def test_the_catalogue_fills_in_the_quota_that_the_config_leaves_open(
    config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", SECRET)
    plan = make_plan(
        config(endpoint={"name": "dashscope-beijing"}, quota={"requests_per_minute": 7})
    )
    assert plan.model
    quota = plan.endpoints[0].quota
    assert quota.requests_per_minute == 7
    assert quota.tokens_per_minute == plan.model.quota.tokens_per_minute
    assert quota.tokens_per_minute


def test_the_simulator_has_only_the_quota_of_the_config(config: Make) -> None:
    quota = make_plan(config(quota=yaml.safe_load("tokens_per_minute: 9"))).endpoints[0].quota
    assert (quota.requests_per_minute, quota.tokens_per_minute) == (None, 9)


def test_a_row_with_its_own_prompt_needs_no_column_of_the_template(
    config: Make, tmp_path: Path
) -> None:
    manifest = tmp_path / "mixed.jsonl"
    manifest.write_text('{"prompt": "Say hello."}\n{"subject": "the sea"}\n')
    changes = {"manifest": {"path": str(manifest)}, "request": {"prompt": "Say {{ subject }}."}}
    made = config(**changes)
    assert read_record(prepare(made).record).items == 2


def test_an_id_column_that_is_not_there_is_refused(config: Make, tmp_path: Path) -> None:
    manifest = write_csv(tmp_path / "skus.csv", [{"sku": "1", "prompt": "Say hello."}])
    with pytest.raises(ManifestError, match="there is no column 'skus'"):
        prepare(config(manifest={"path": str(manifest), "id_column": "skus"}))
    directory = prepare(config(manifest={"path": str(manifest), "id_column": "sku"}))
    assert [item.item_id for item in read_items(directory.items, 0, 500)] == ["1"]
