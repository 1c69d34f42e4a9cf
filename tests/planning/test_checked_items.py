"""A row that has a picture or a sound is never sent without it; what is decided is said."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omni_batch.config import Config, parse_config
from omni_batch.errors import ManifestError, OmniBatchError
from omni_batch.planning.check import CheckReport, check_manifest
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.store.record import read_record

Make = Callable[..., Config]
RULES = ("column-read-as", "column-not-read", "same-question")
PICTURE = "https://h.example/a.jpg"


@pytest.fixture
def config(tmp_path: Path) -> Make:
    def make(
        content: str, name: str = "rows.csv", prompt: str | None = "Say.", **keys: Any
    ) -> Config:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        tree = {"manifest": {"path": str(path), **keys}, "output": str(tmp_path / "runs")}
        return parse_config({**tree, "request": {"prompt": prompt}})

    return make


def checked(config: Config) -> CheckReport:
    return asyncio.run(check_manifest(make_plan(config)))


def warnings(config: Config) -> list[str]:
    """Those about the manifest."""
    groups = checked(config).warnings
    return [f"{group.rule}: {group.message}" for group in groups if group.rule in RULES]


def refusal(config: Config) -> str:
    """What check and run both say."""
    with pytest.raises(OmniBatchError) as refused:
        prepare_run(make_plan(config))
    assert not any(Path(config.output).iterdir())
    with pytest.raises(type(refused.value)) as of_check:
        checked(config)
    assert str(of_check.value) == str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# --- media in columns that nothing reads ---


@pytest.mark.parametrize(
    ("rows", "column", "target"),
    [
        ("item_id,images\na,x.jpg\n", "images", "image"),
        ("item_id,image_url\na,https://h.example/7\n", "image_url", "image"),
        ("item_id,file_name,text\na,x.jpg,ball\n", "file_name", "image"),
        ("item_id,audio_filepath\na,x.wav\n", "audio_filepath", "audio"),
        ("item_id,url\na,https://h.example/x.mp4\n", "url", "video"),
        ("item_id,subject\na,photos/x.png\n", "subject", "image"),
        ("item_id,subject\na,data:audio/wav;base64;AAAA\n", "subject", "audio"),
        (f"item_id,subject\na,/9j/{'A' * 300}\n", "subject", "image"),
        ("item_id,prompts\na,Why?\n", "prompts", "prompt"),
        ("item_id,image,audio_path\na,https://h.example/a.jpg,x.wav\n", "audio_path", "audio"),
    ],
)
def test_a_row_never_goes_without_its_medium(
    config: Make, rows: str, column: str, target: str
) -> None:
    said = refusal(config(rows))
    assert f"rows.csv, line 2: nothing reads column {column} (" in said
    assert f"rename it to {target}" in said
    assert f"or set manifest.columns: {{{target}: {column}}}" in said
    assert f"manifest.free_columns: [{column}]" in said
    mapped = config(rows, columns={target: column})
    assert prepare_run(make_plan(mapped), "mapped").root.exists()
    assert prepare_run(make_plan(config(rows, free_columns=[column])), "free").root.exists()


def test_not_even_a_late_row(config: Make) -> None:
    rows = "".join(f"{n},Say {n},\n" for n in range(5000))
    assert "line 5002: nothing reads column note (x.jpg)" in refusal(
        config(f"item_id,prompt,note\n{rows}last,Say,x.jpg\n")
    )


def test_rows_are_counted_and_all_columns_named(config: Make) -> None:
    rows = [{"images": [PICTURE]}, {"audios": ["x.wav"]}, {"images": [PICTURE]}]
    said = refusal(config("".join(f"{json.dumps(row)}\n" for row in rows), "rows.jsonl"))
    assert f"line 1: nothing reads column images ({PICTURE}; 2 rows)" in said
    assert "line 2: nothing reads column audios (x.wav)" in said


def test_a_file_beside_the_manifest_is_known_by_its_being_there(
    config: Make, tmp_path: Path
) -> None:
    rows = "item_id,prompt,scan\na,Say,page-1\n"
    assert warnings(config(rows)) == []
    (tmp_path / "page-1").touch()
    assert "nothing reads column scan (page-1)" in refusal(config(rows))


def test_numbered_columns_are_a_list_to_be_written(config: Make) -> None:
    said = refusal(config(f"item_id,image,image_2\na,{PICTURE},{PICTURE}\n"))
    assert "nothing reads column image_2" in said
    assert "write all of a row as one list into the column image (a.jpg|b.jpg)" in said


def test_a_column_that_the_prompt_uses_is_read(config: Make) -> None:
    assert warnings(config(f"item_id,url\na,{PICTURE}\n", prompt="Describe {{ url }}")) == []


@pytest.mark.parametrize("column", ["url", "source", "file_name"])
def test_extra_addresses_beside_the_medium_are_only_said(config: Make, column: str) -> None:
    rows = f"item_id,image,{column}\na,{PICTURE},https://h.example/b.jpg\n"
    (said,) = (text for text in warnings(config(rows)) if text.startswith("column-not-read"))
    assert f"column {column} has addresses or files that nothing reads" in said
    assert warnings(config(rows, free_columns=[column])) == []
    assert warnings(config(f"item_id,image,{column}\na,{PICTURE},web\n")) == []


def test_media_in_messages_are_media(config: Make) -> None:
    turns = [{"role": "user", "content": [{"image": PICTURE}, {"text": "What?"}]}]
    row = {"messages": turns, "image_url": PICTURE}
    assert len(warnings(config(f"{json.dumps(row)}\n", "rows.jsonl"))) == 1


@pytest.mark.parametrize(
    "rows",
    [
        "item_id,prompt,file_name\na,Sum up.,report.pdf\n",
        "item_id,prompt,speech\na,Say.,Hello there\n",
        "item_id,prompt,note\na,Say.,see photo.jpg for more\n",
        "item_id,prompt,frame\na,Say.,\n",
        "item_id,prompt,path\na,Say.,/en/products\n",
    ],
)
def test_texts_are_no_media(config: Make, rows: str) -> None:
    assert warnings(config(rows)) == []


def test_a_mapped_column_that_is_nowhere_is_refused(config: Make) -> None:
    said = refusal(config("item_id,prompt\na,x\n", columns={"image": "fiel"}))
    assert "manifest.columns: no row has a column fiel" in said


def test_a_mapped_column_may_stand_in_the_prompt(config: Make) -> None:
    made = config("item_id,word\na,cup\n", prompt=None, columns={"prompt": "word"})
    assert checked(made).refused == []
    made = config(f"item_id,pic\na,{PICTURE}\n", prompt="See {{ pic }}", columns={"image": "pic"})
    assert checked(made).refused == []


def test_a_header_with_blanks_stands_in_the_prompt(config: Make) -> None:
    rows = "item_id,Product Name,e-mail\na,cup,x@y\nb,mug,z@y\n"
    assert warnings(config(rows, prompt="Sell {{ Product_Name }} to {{ e_mail }}")) == []
    said = refusal(config(rows, prompt="Sell {{ ProductName }}"))
    assert "{{ ProductName }} is not a column; did you mean Product_Name?" in said


# --- texts that speak of media ---


def test_a_text_that_speaks_of_an_image_fails_its_row_alone(config: Make) -> None:
    report = checked(config("item_id,prompt\na,<image> What?\nb,Hi\n"))
    assert [(row.item_id, row.error_kind) for row in report.refused] == [("a", "manifest_error")]
    assert "the text says '<image>', but the row has no image" in report.refused[0].message


# --- what is said of the whole run ---


def test_decisions_are_said_by_check_and_kept_with_the_run(config: Make) -> None:
    made = config(f"Item_ID,Image\na,{PICTURE}\n")
    said = ["column-read-as: column Image is read as image"]
    said.append("column-read-as: column Item_ID is read as item_id")
    assert warnings(made) == said
    assert set(read_record(prepare_run(make_plan(made)).record).warnings).issuperset(said)


@pytest.mark.parametrize(
    ("rows", "prompt"),
    [
        ("item_id,subject\na,x\nb,y\n", "Say."),
        ("item_id,subject\na,x\nb,x\n", "Say {{ subject }}."),
        ("item_id,prompt\na,Hi\nb,Hi\n", None),
    ],
)
def test_one_question_for_all_rows_is_doubted(config: Make, rows: str, prompt: str | None) -> None:
    (said,) = warnings(config(rows, prompt=prompt))
    assert said.startswith("same-question: all 2 rows ask the very same question, without media")


@pytest.mark.parametrize(
    "rows",
    [
        "item_id,subject\na,x\n",
        "item_id,subject\na,x\nb,y\n",
        f"item_id,subject,image\na,x,{PICTURE}\nb,x,{PICTURE}\n",
        "item_id,subject,voice\na,x,Cherry\nb,x,Ethan\n",
        "item_id,subject,prompt\na,x,\nb,x,Hi\n",
    ],
)
def test_rows_that_differ_in_anything_are_not(config: Make, rows: str) -> None:
    said = warnings(config(rows, prompt="Say {{ subject }}."))
    assert [text for text in said if "same-question" in text] == []


# --- rows that can't be used ---


def test_all_rows_that_can_not_be_used_are_counted(config: Make) -> None:
    rows = 'item_id,prompt\n1,\n2,"   "\n3,x\n,y\n'
    said = refusal(config(rows, prompt=None))
    assert "line 2: the row has nothing to send" in said
    assert "(2 such rows); " in said
    assert "line 5: item_id is empty" in said
    assert checked(config(rows.replace(",y", "4,y"))).refused == []


def test_many_kinds_of_problems_are_cut_with_their_number(config: Make) -> None:
    rows = "".join(f'{{"item_id": {n}.5}}\n' for n in range(9))
    said = refusal(config(rows, "rows.jsonl"))
    assert said.count("expected a text or a whole number") == 5
    assert said.endswith("; 4 further rows can't be used either")


def test_a_blank_cell_is_an_empty_one(config: Make) -> None:
    assert checked(config("item_id,image,audio,prompt\n1, , ,Read this\n")).refused == []


def test_unique_ids_are_asked_for_after_the_rows(config: Make) -> None:
    with pytest.raises(ManifestError, match="appears in rows 1 and 2"):
        prepare_run(make_plan(config("item_id,prompt\na,x\na,y\n")))
