"""A run's paths stay inside it, and a run has one owner at a time."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omni_batch.errors import ConfigError
from omni_batch.store import Owner, RunDir, RunRecord
from omni_batch.store.record import write_record
from omni_batch.store.run_dir import file_name
from omni_batch.types import row_name

ANY_ID = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
NEAR_ID = st.text(st.sampled_from("aAé\uff45e-_. /\\0f"), min_size=1, max_size=12)
IDS = ANY_ID | NEAR_ID
SAFE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,100}[A-Za-z0-9])?")


# --- file names ---


@given(item_id=IDS)
@example("..")
@example("../../etc/passwd")
@example("a\0b")
@example("-rf")
@example(".hidden")
@example("x" * 10_000)
@example("图" * 300)
@example("\u202egnp.exe")
def test_any_id_becomes_one_safe_file_name(item_id: str) -> None:
    name = file_name(item_id)
    assert SAFE.fullmatch(name)
    assert len(name) <= 80
    assert Path("audio", f"{name}.wav").parent == Path("audio")


@given(first=IDS, second=IDS)
@example("A", "a")
@example("é", "e\u0301")
@example("a b", "a-b")
@example("图一", "图二")
def test_different_ids_get_different_names_even_where_case_does_not_count(
    first: str, second: str
) -> None:
    assert (file_name(first).lower() == file_name(second).lower()) == (first == second)


VARIANTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,3}", fullmatch=True)
ROWS = st.tuples(NEAR_ID, VARIANTS, st.integers(1, 12))


@given(first=ROWS, second=ROWS)
@example(("a", "b", 1), ("a.b", "b", 1))
@example(("a.b", "c", 1), ("a", "b", 1))
@example(("a", "B", 1), ("a", "b", 1))
@example(("a", "b", 11), ("a", "b", 1))
def test_each_variant_and_sample_of_an_item_has_a_file_name_of_its_own(
    first: tuple[str, str, int], second: tuple[str, str, int]
) -> None:
    one, other = file_name(row_name(*first)), file_name(row_name(*second))
    assert (one.lower() == other.lower()) == (first == second)


@given(item_id=IDS)
def test_no_id_can_take_the_name_that_another_one_was_given(item_id: str) -> None:
    name = file_name(item_id)
    if name != item_id:
        assert file_name(name) != name
        assert file_name(name.lower()) != name.lower()


@pytest.mark.parametrize("item_id", ["a", "photo-1.jpg", "row_000017", "00000042", "a" * 80])
def test_plain_ids_keep_their_names(item_id: str) -> None:
    assert file_name(item_id) == item_id


@pytest.mark.parametrize("item_id", ["con", "nul", "com1", "lpt9.txt", "aux.a.b", "CON.txt"])
def test_names_that_windows_reserves_are_not_used(item_id: str) -> None:
    assert file_name(item_id).partition(".")[0].lower() not in {"con", "nul", "com1", "lpt9", "aux"}


def test_a_million_ids_without_a_plain_letter_have_room() -> None:
    """All that tells them apart is the hash: 64 bits of it."""
    assert re.fullmatch(r"item-[0-9a-f]{16}", file_name("图"))


# --- paths ---


def test_every_path_of_a_run_lies_inside_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run-1")
    assert run.run_id == "run-1"
    paths = {
        "record": run.record,
        "items": run.items,
        "journal": run.journal(3),
        "results": run.results(3),
        "attempts": run.attempts(12345),
        "speech": run.speech("../x"),
    }
    inside = {name: path.relative_to(run.root).as_posix() for name, path in paths.items()}
    hashed = file_name("../x")
    assert inside == {
        "record": "run.json",
        "items": "items.parquet",
        "journal": "journal/shard-00003.jsonl",
        "results": "results/part-00003.parquet",
        "attempts": "attempts/part-12345.parquet",
        "speech": f"audio/{hashed}.wav",
    }
    drafts = {run.unfinished_speech("../x") for _ in range(2)}
    assert len(drafts) == 2
    assert {(path.parent, path.suffix) for path in drafts} == {(run.journals, ".part")}


def test_making_the_folders_twice_is_harmless(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "deep" / "run-1")
    run.make_folders()
    run.make_folders()
    assert {path.name for path in run.root.iterdir()} == {"results", "attempts", "audio", "journal"}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run-1")
    run.make_folders()
    return run


# --- owner ---


def test_a_run_can_be_owned_again_and_again(run: RunDir) -> None:
    for _ in range(2):
        with run.owned():
            pass


def test_a_second_owner_in_the_same_process_is_refused(run: RunDir) -> None:
    with (
        run.owned(),
        pytest.raises(ConfigError, match="run-1 is in use by another process"),
        run.owned(),
    ):
        pass
    with run.owned():
        pass


def test_the_refusal_names_the_owner(run: RunDir) -> None:
    owner = Owner.this_process()
    record = RunRecord(
        run_id="run-1",
        state="running",
        items=1,
        shard_size=1,
        created_at=owner.since,
        owner=owner,
    )
    write_record(run.record, record)
    with run.owned(), pytest.raises(ConfigError) as refused, run.owned():
        pass
    assert f"in use by process {os.getpid()} on {owner.host} since" in str(refused.value)


def test_an_error_inside_gives_the_run_free(run: RunDir) -> None:
    with pytest.raises(ZeroDivisionError), run.owned():
        raise ZeroDivisionError
    with run.owned():
        pass
