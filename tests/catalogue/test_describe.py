"""A model in words: every number that is known, and a star where nobody states it."""

import msgspec
import pytest

from omni_batch.catalogue import Model, catalogue
from omni_batch.catalogue.describe import describe, duration, size

CATALOGUE = catalogue()
MODELS = pytest.mark.parametrize("model", CATALOGUE.models.values(), ids=lambda m: m.name)


def known(name: str) -> Model:
    model = CATALOGUE.model(name)
    assert model is not None
    return model


def words(model: Model) -> dict[str, str]:
    """Title and name to value."""
    sections = describe(model, CATALOGUE.dialects)
    return {f"{s.title}: {name}": value for s in sections for name, value in s.facts}


@MODELS
def test_each_fact_that_nobody_states_has_a_star(model: Model) -> None:
    plain = words(msgspec.structs.replace(model, unverified=()))
    assert not any("*" in value for value in plain.values())
    for name in model.unverified:
        starred = words(msgspec.structs.replace(model, unverified=(name,)))
        assert starred != plain, name
        assert any("*" in value for value in starred.values()), name


@MODELS
def test_nothing_that_is_known_is_left_out(model: Model) -> None:
    text = "\n".join(words(model).values())
    numbers = [
        model.context_tokens,
        model.max_input_tokens,
        model.max_input_tokens_thinking,
        model.max_thinking_tokens,
        model.max_output_tokens,
        model.quota.requests_per_minute,
        model.quota.tokens_per_minute,
    ]
    assert all(f"{number:,}" in text for number in numbers if number is not None)
    listed = [*model.names, *model.voices, *model.parameters, *model.regions]
    assert all(word in text for word in (*listed, *model.speech_languages))
    assert model.note in text
    for dispute in model.disputes.values():
        assert dispute.about in text
        assert all(r.says in text and r.source in text for r in dispute.readings)
    for by_currency in model.prices.values():
        for rates in by_currency.values():
            known_rates = filter(None, msgspec.structs.asdict(rates).values())
            assert all(f"{rate:g}" in text or f"{rate:,}" in text for rate in known_rates)


def test_limits_of_media() -> None:
    facts = words(known("qwen3-omni-flash"))
    assert facts["input: image"] == "10 MB, sides from 11 px, ratio up to 200:1"
    assert facts["input: image files"] == "bmp, jpeg, png, tiff, webp, heic"
    assert facts["input: sound"] == "one, up to 20 min, 100 MB"
    assert facts["input: sound files"] == "amr, wav, 3gp, 3gpp, aac, mp3"
    assert facts["input: video"] == "one, from 2 s, up to 150 s, 256 MB"
    assert facts["input: list of frames"] == "2 to 128"
    assert facts["tokens: chain of thought"] == "32,768"
    assert "Dylan Beijing" in facts["output: dialects"]
    assert facts["account: free quota"].startswith("1,000,000 tokens")


def test_kinds_of_names_and_what_becomes_of_them() -> None:
    facts = words(known("qwen-omni-turbo"))
    assert facts[": model"] == "qwen-omni-turbo (stable)"
    assert "qwen-omni-turbo-latest (latest)" in facts[": also called"]
    assert "qwen-omni-turbo-0326 (snapshot)" in facts[": also called"]
    assert facts[": status"].startswith("frozen")
    assert "2026-10-10" in facts[": ends"]
    assert "half price" in facts[": note"]


def test_voices_that_all_editions_have() -> None:
    assert words(known("qwen3-omni-flash"))["output: by all editions"].count(",") == 16
    assert "output: by all editions" not in words(known("qwen3-omni-flash-2025-12-01"))


def test_a_model_for_sound_alone_has_no_words_about_pictures() -> None:
    facts = words(known("qwen3-omni-30b-a3b-captioner"))
    assert facts["input: sound"] == "one, up to 40 min, 1 GB"
    assert not {"input: image", "input: video", "tokens: of an image"} & facts.keys()


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(10_485_760, "10 MB"), (2**31, "2 GB"), (157_286_400, "150 MB")]
)
def test_sizes(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"), [(40, "40 s"), (150, "150 s"), (1_200, "20 min"), (10_800, "3 h")]
)
def test_durations(duration_s: float, text: str) -> None:
    assert duration(duration_s) == text
