"""Columns by their names: read, read as another, or suspiciously near."""

import pytest

from omni_batch.config import Config, ManifestConfig, parse_config
from omni_batch.errors import ConfigError
from omni_batch.requests.manifest.columns import doubts_of, understand
from omni_batch.requests.manifest.names import Grade, near_miss, shown


def config(**keys: object) -> ManifestConfig:
    return ManifestConfig.model_validate({"path": "rows.csv", **keys})


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("Image", "image"),
        ("IMAGE", "image"),
        ("im age", "image"),
        ("\u200bimage", "image"),
        ("image\ufeff", "image"),
        ("\uff49mage", "image"),
        ("Prompt", "prompt"),
        ("VOICE ", "voice"),
    ],
)
def test_a_name_that_differs_in_case_and_blanks_alone_is_read_and_said(
    name: str, target: str
) -> None:
    columns = understand((name,), config(), frozenset())
    assert columns.read == {target: name}
    assert doubts_of(columns) == [f"column {shown(name)} is read as {target}"]


@pytest.mark.parametrize("name", ["Item_ID", "Item ID", "item-id", "ItemId", "ITEM_ID"])
def test_ids_are_found_in_other_spellings(name: str) -> None:
    columns = understand((name, "prompt"), config(), frozenset())
    assert (columns.id_name, columns.free) == (name, ())


def test_the_exact_name_wins_and_of_two_others_neither() -> None:
    assert understand(("Image", "image"), config(), frozenset()).read == {"image": "image"}
    assert understand(("Image", "IMAGE"), config(), frozenset()).read == {}


def test_names_may_be_mapped() -> None:
    columns = understand(
        ("file_name", "text", "image"),
        config(columns={"image": "file_name", "prompt": "text"}),
        frozenset(),
    )
    assert columns.read == {"image": "file_name", "prompt": "text"}
    assert columns.free == ("image",)


def test_a_column_declared_free_is_not_read() -> None:
    columns = understand(("image", "images"), config(free_columns=["image"]), frozenset())
    assert columns.read == {}
    assert [name for name, _ in columns.unread] == ["images"]


def test_a_column_that_the_prompt_uses_is_read() -> None:
    columns = understand(("url", "Web Site"), config(), frozenset({"url", "Web_Site"}))
    assert columns.unread == ()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"columns": {"image": "a", "audio": "a"}}, "manifest.columns has a more than once"),
        ({"columns": {"image": "a"}, "free_columns": ["a"]}, "a is in manifest.columns and in"),
        ({"columns": {"picture": "a"}}, "picture"),
    ],
)
def test_a_mapping_that_means_two_things_or_none_is_refused(
    columns: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config({"manifest": {"path": "rows.csv", **columns}})


def test_a_mapping_survives_the_record_of_a_run() -> None:
    mapped = {"path": "r.csv", "columns": {"image": "file"}, "free_columns": ["url"]}
    made = parse_config({"manifest": mapped})
    assert Config.model_validate(made.model_dump(mode="json")) == made


NEAR = {
    "image": "images imgs img image_url image_urls imageUrl image_path Image-File image_1 image2 "
    "png jpg_path input_image iamge imge",
    "audio": "audios audio_path audio_filepath audiofilepath wav wav_path",
    "video": "videos video_url video_file vidoe mp4 vid_path",
    "frames": "frame frame_paths frames_list",
    "prompt": "prompts promt",
    "messages": "conversations message dialogue",
    "voice": "voices vioce",
}
SURE = {name: target for target, names in NEAR.items() for name in names.split()}


@pytest.mark.parametrize("name", SURE)
def test_a_near_miss_names_what_was_meant(name: str) -> None:
    assert near_miss(name) == near_miss(name.upper())
    assert (near_miss(name).grade, near_miss(name).target) == (Grade.SURE, SURE[name])


@pytest.mark.parametrize(
    ("name", "grade", "target"),
    [
        ("file_name", Grade.FILE, None),
        ("filename", Grade.FILE, None),
        ("File Path", Grade.FILE, None),
        ("url", Grade.PLACE, None),
        ("uri", Grade.PLACE, None),
        ("path", Grade.PLACE, None),
        ("media", Grade.PLACE, None),
        ("photo", Grade.PLACE, "image"),
        ("clip", Grade.PLACE, "video"),
        ("speech", Grade.PLACE, "audio"),
    ],
)
def test_names_of_places_say_less(name: str, grade: Grade, target: str | None) -> None:
    assert (near_miss(name).grade, near_miss(name).target) == (grade, target)


@pytest.mark.parametrize(
    "name",
    [
        *("text", "caption", "label", "subject", "name", "id", "source", "link", "language"),
        *("image_id", "image_caption", "image_width", "video_title", "audio_duration", "radio"),
        *("voice_id", "speech_rate", "notes", "profile", "homepage", "studio", "choice", "x" * 999),
    ],
)
def test_ordinary_names_are_ordinary(name: str) -> None:
    assert near_miss(name).grade == Grade.ANY


@pytest.mark.parametrize(
    ("name", "text"),
    [("file_name", "file_name"), ("Bild Datei", '"Bild Datei"'), ("\u200bimage", '"\\u200bimage"')],
)
def test_names_are_shown_as_yaml_takes_them(name: str, text: str) -> None:
    assert shown(name) == text
