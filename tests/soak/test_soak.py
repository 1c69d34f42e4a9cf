"""The soak itself: what it draws, and that its judge sees what is wrong."""

import shutil
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.soak.book import Book
from tests.soak.faults import FAULTS, menu
from tests.soak.judge import judge, screen_faults, secret_faults
from tests.soak.plan import LifePlan, RoundPlan, Strike, draw
from tests.soak.record import Record, as_table
from tests.soak.round import Round

ITEMS = 12
MENU = menu(own_disk=True)
PEACE = LifePlan((), (), (), terminal=False, prefect=False)
CALM = RoundPlan(
    number=0,
    items=ITEMS,
    in_flight=4,
    adaptive=False,
    shard_size=5,
    first_chunk_s=0.1,
    chunk_interval_s=0.0,
    max_attempts=5,
    durability="process",
    lives=(),
    retry=PEACE,
)


def test_a_seed_draws_the_same_round_each_time() -> None:
    assert draw(7, 3, MENU, prefect_share=0.1) == draw(7, 3, MENU, prefect_share=0.1)
    assert draw(7, 3, MENU, prefect_share=0.1) != draw(7, 4, MENU, prefect_share=0.1)


def test_every_fault_of_the_menu_is_drawn() -> None:
    drawn = set[str]()
    for number in range(300):
        for life in draw(7, number, MENU, prefect_share=0.1).lives:
            drawn |= {strike.fault for strike in (*life.means, *life.strikes, *life.after)}
    assert drawn == {*MENU.means, *MENU.deadly, *MENU.passing, *MENU.after}
    assert drawn <= FAULTS.keys()


def test_a_run_that_is_killed_is_brought_to_its_end(tmp_path: Path) -> None:
    kill = Strike("kill -9", 0.1, from_start=False, for_s=0, luck=0)
    cut = Strike("journal cut", 0, from_start=False, for_s=0, luck=0.5)
    life = LifePlan((), (kill,), (cut,), terminal=True, prefect=False)
    game = Round(replace(CALM, lives=(life,)), tmp_path / "round", tmp_path / "prefect")
    record = game.play()
    assert game.complaints == []
    assert (record.rows, record.wavs, record.left) == (ITEMS, ITEMS, 0)
    assert record.faults["kill -9"] == 1


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a round in which nothing happened."""
    folder = tmp_path_factory.mktemp("soak") / "round"
    game = Round(CALM, folder, folder.parent / "prefect", own_disk=False)
    game.play()
    assert game.complaints == []
    return folder


@pytest.fixture
def copy(calm: Path, tmp_path: Path) -> Path:
    shutil.copytree(calm, tmp_path / "copy")
    return tmp_path / "copy"


def swap_two_wavs(run: Path) -> None:
    one, other = run / "audio/row-00000.wav", run / "audio/row-00001.wav"
    aside = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(aside)


def change_a_sample(run: Path) -> None:
    path = run / "audio/row-00003.wav"
    sound = bytearray(path.read_bytes())
    sound[-1000] ^= 1
    path.write_bytes(sound)
    with wave.open(str(path)) as file:
        assert file.getnframes()


def change(run: Path, table: str, **columns: object) -> None:
    path = run / table / "part-00000.parquet"
    found = pq.read_table(path)
    rows = found.to_pylist()
    rows[0] |= columns
    pq.write_table(type(found).from_pylist(rows, schema=found.schema), path)


def double_an_attempt(run: Path) -> None:
    change(run, "attempts", row_number=1)


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "swapped": (swap_two_wavs, "bytes of sound, not the"),
    "a sample": (change_a_sample, "bytes of sound, not the"),
    "a part": (lambda run: (run / "results/part-00001.parquet").unlink(), "not the 12"),
    "another text": (lambda run: change(run, "results", text="Yes."), "the service said"),
    "another bill": (lambda run: change(run, "results", prompt_tokens=1), "not the service's"),
    "another answer": (lambda run: change(run, "results", request_id="1"), "none that the service"),
    "an attempt twice": (double_an_attempt, "in the table twice"),
    "a failure": (lambda run: change(run, "results", status="failed"), "failed"),
    "a draft": (lambda run: (run / "audio/x.part").touch(), "no row names"),
    "a journal": (lambda run: (run / "journal").mkdir(), "journal"),
}


@pytest.mark.parametrize("name", HARMS)
def test_the_judge_sees_what_is_wrong(name: str, copy: Path) -> None:
    harm, said = HARMS[name]
    run, book = copy / "disk/runs/round-0", Book(copy / "book.jsonl")
    book.refresh()
    ids = [f"row-{number:05d}" for number in range(ITEMS)]
    assert list(judge(run, ids, book, Record())) == []
    harm(run)
    assert any(said in fault for fault in judge(run, ids, book, Record()))


def test_the_judge_sees_a_key_and_a_traceback(copy: Path) -> None:
    (copy / "disk/runs/round-0/run.json").write_text("the key is Zz9-secret")
    assert list(secret_faults(copy, "Zz9-secret"))
    assert list(screen_faults("\nTraceback (most recent call last):\n"))
    assert not list(screen_faults("interrupted: 3 succeeded"))


def test_the_table_says_how_a_failure_is_played_again() -> None:
    table = as_table(Record(rounds=1, failed=(4,)) + Record(rounds=1), seed=9, minutes=1)
    assert "python -m tests.soak --seed 9 --round 4" in table
