"""The catalogue holds the documented facts, hangs together, and takes a user's overlay."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from omni_batch.catalogue import (
    Catalogue,
    Model,
    catalogue,
    is_realtime,
    load_catalogue,
    name_kind,
)
from omni_batch.catalogue.tokens import video_tokens
from omni_batch.text import nearest

CATALOGUE = catalogue()
MODELS = pytest.mark.parametrize("model", CATALOGUE.models.values(), ids=lambda m: m.name)
Overlay = Callable[[str], Path]


def known(name: str, source: Catalogue = CATALOGUE) -> Model:
    model = source.model(name)
    assert model is not None
    return model


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    def write(text: str) -> Path:
        path = tmp_path / "my-models.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# --- facts ---


def test_every_documented_name_is_known() -> None:
    assert set(CATALOGUE.names()) == {
        "qwen3-omni-flash",
        "qwen3-omni-flash-2025-12-01",
        "qwen3-omni-flash-2025-09-15",
        "qwen3-omni-flash-0915",
        "qwen-omni-turbo",
        "qwen-omni-turbo-latest",
        "qwen-omni-turbo-2025-03-26",
        "qwen-omni-turbo-0326",
        "qwen-omni-turbo-2025-01-19",
        "qwen-omni-turbo-0119",
        "qwen2.5-omni-7b",
        "qwen3.5-omni-plus",
        "qwen3.5-omni-plus-2026-03-15",
        "qwen3.5-omni-flash",
        "qwen3.5-omni-flash-2026-03-15",
        "qwen3.8-omni-flash",
        "qwen3-omni-30b-a3b-captioner",
        "qwen3.5-plus",
    }


def test_limits_of_qwen3_omni_flash() -> None:
    model = known("qwen3-omni-flash")
    assert (model.context_tokens, model.max_output_tokens) == (65_536, 16_384)
    assert (model.max_input_tokens, model.max_input_tokens_thinking) == (49_152, 16_384)
    assert (model.thinking, model.max_thinking_tokens) == ("off", 32_768)
    limits = model.limits
    assert (limits.audio_max_bytes, limits.audio_max_s) == (100 * 1024**2, 20 * 60)
    assert (limits.video_max_bytes, limits.video_min_s, limits.video_max_s) == (
        256 * 1024**2,
        2,
        150,
    )
    assert (limits.frames_min, limits.frames_max) == (2, 128)
    assert (limits.image_max_bytes, limits.image_min_px, limits.image_max_ratio) == (
        10 * 1024**2,
        11,
        200,
    )
    assert limits.data_uri_max_bytes == 10_485_760


def test_limits_of_the_older_and_newer_generations() -> None:
    turbo, plus = known("qwen-omni-turbo"), known("qwen3.5-omni-plus")
    assert (turbo.limits.audio_max_s, turbo.limits.video_max_s) == (180, 40)
    assert (turbo.limits.frames_min, turbo.limits.frames_max) == (4, 80)
    assert (plus.limits.audio_max_s, plus.limits.video_max_s) == (3 * 3600, 3600)
    assert (plus.limits.audio_files_max, plus.limits.video_files_max) == (2_048, 512)
    assert plus.limits.base64_files_max == 250


def test_what_the_models_can_do() -> None:
    row = {
        name: (model.thinking, model.audio_out, model.system_with_audio, model.mixes_media)
        for name, model in CATALOGUE.models.items()
    }
    assert row["qwen-omni-turbo"] == ("no", True, False, False)
    assert row["qwen3-omni-flash"] == ("off", True, True, False)
    assert row["qwen3.5-omni-plus"] == ("no", True, True, True)
    assert row["qwen3.8-omni-flash"] == ("on", False, True, True)
    assert [m.name for m in CATALOGUE.models.values() if not m.needs_stream] == [
        "qwen3-omni-30b-a3b-captioner",
        "qwen3.5-plus",
    ]
    assert known("qwen3-omni-30b-a3b-captioner").inputs == ("audio",)
    assert known("qwen3.5-plus").inputs == ("text",)


@pytest.mark.parametrize(
    ("name", "audio_in_per_s", "audio_out_per_s", "factor_px", "min_tokens"),
    [
        ("qwen3-omni-flash", 12.5, 12.5, 32, 4),
        ("qwen-omni-turbo", 25, 25, 28, 4),
        ("qwen3.5-omni-flash", 7, 12.5, 32, 24),
    ],
)
def test_token_rules(
    name: str, audio_in_per_s: float, audio_out_per_s: float, factor_px: int, min_tokens: int
) -> None:
    rules = known(name).tokens
    assert (rules.audio_in_per_s, rules.audio_out_per_s) == (audio_in_per_s, audio_out_per_s)
    assert (rules.image_factor_px, rules.image_min_tokens) == (factor_px, min_tokens)


def test_pixel_bounds_of_3_5_agree_with_those_of_its_request_parameters() -> None:
    rules = known("qwen3.5-omni-plus").tokens
    patch_px2 = rules.image_factor_px**2
    assert rules.image_min_tokens * patch_px2 == 24_576
    assert rules.image_max_tokens * patch_px2 == 1_310_720
    assert (rules.image_max_tokens_high_resolution or 0) * patch_px2 == 16_777_216
    assert rules.video_min_patches * patch_px2 == 65_536
    assert rules.video_max_patches * patch_px2 == 655_360
    assert rules.video_total_patches * patch_px2 == 184_549_376


def test_prices_by_region_and_currency() -> None:
    flash = known("qwen3-omni-flash")
    beijing, singapore = flash.price("beijing"), flash.price("singapore")
    assert beijing is not None
    assert singapore is not None
    assert (beijing.currency, beijing.text_out, beijing.text_out_media) == ("CNY", 6.9, 12.7)
    assert (singapore.currency, singapore.audio_in, singapore.audio_out) == ("USD", 3.81, 15.11)
    in_dollars = flash.price("beijing", "USD")
    assert in_dollars is not None
    assert (in_dollars.region, in_dollars.currency, in_dollars.image_in) == (
        "beijing",
        "USD",
        0.473,
    )


def test_an_unknown_price_is_none() -> None:
    assert known("qwen3-omni-flash").price("beijing", "EUR") is None
    assert known("qwen3-omni-flash").price("frankfurt") is None
    assert known("qwen2.5-omni-7b").price("beijing") is None


def test_singapore_buys_at_the_international_price_and_speech_is_not_sold_by_3_8() -> None:
    price = known("qwen3.8-omni-flash").price("singapore")
    assert price is not None
    assert (price.region, price.currency, price.audio_in) == ("international", "USD", 0.15)
    assert (price.audio_out, price.cached_in) == (None, 0.016)


def test_default_quota() -> None:
    quota = known("qwen3-omni-flash").quota
    assert (quota.requests_per_minute, quota.tokens_per_minute) == (60, 100_000)
    assert known("qwen3.8-omni-flash").quota.requests_per_minute is None


def test_voices_belong_to_a_generation() -> None:
    sizes = {name: len(voices.ids) for name, voices in CATALOGUE.voice_sets.items()}
    assert sizes == {
        "turbo": 4,
        "omni-7b": 2,
        "omni-7b-samples": 3,
        "flash-2025-09-15": 17,
        "flash-2025-12-01": 49,
        "omni-3-5": 56,
    }
    assert not {"Cherry", "Chelsie"} & set(known("qwen3.5-omni-plus").voices)
    assert "Serena" in known("qwen3-omni-flash").voices
    assert "Serena" not in known("qwen3-omni-flash-2025-09-15").voices
    assert known("qwen3.5-omni-plus").default_voice == "Tina"
    assert CATALOGUE.dialects["Rocky"] == "Cantonese"


# --- names ---


def test_an_alias_is_its_model_and_a_snapshot_that_differs_is_its_own() -> None:
    assert known("qwen-omni-turbo-latest") is known("qwen-omni-turbo")
    assert known("qwen-omni-turbo-0326") is known("qwen-omni-turbo-2025-03-26")
    assert known("qwen-omni-turbo-0119") is known("qwen-omni-turbo-2025-01-19")
    snapshot = known("qwen3-omni-flash-0915")
    assert snapshot.names == ("qwen3-omni-flash-2025-09-15", "qwen3-omni-flash-0915")
    assert known("qwen3-omni-flash").names == ("qwen3-omni-flash",)


@pytest.mark.parametrize(
    ("short", "dated"),
    [
        ("qwen3-omni-flash-0915", "qwen3-omni-flash-2025-09-15"),
        ("qwen-omni-turbo-0326", "qwen-omni-turbo-2025-03-26"),
        ("qwen-omni-turbo-0119", "qwen-omni-turbo-2025-01-19"),
    ],
)
def test_a_short_name_has_limits_quota_and_price(short: str, dated: str) -> None:
    model = known(short)
    assert model is known(dated)
    assert model.quota.requests_per_minute == 60
    assert model.price("beijing") is not None
    assert model.max_input_tokens is not None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("qwen3-omni-flash", "stable"),
        ("qwen2.5-omni-7b", "stable"),
        ("qwen3-omni-30b-a3b-captioner", "stable"),
        ("qwen-omni-turbo-latest", "latest"),
        ("qwen-omni-turbo-2025-03-26", "snapshot"),
        ("qwen-omni-turbo-0326", "snapshot"),
    ],
)
def test_the_kind_of_a_name(name: str, kind: str) -> None:
    assert name_kind(name) == kind


# --- editions ---


@MODELS
def test_a_dispute_has_two_sides_of_which_one_is_taken_at_most(model: Model) -> None:
    for dispute in model.disputes.values():
        assert len(dispute.readings) >= 2
        assert sum(reading.taken for reading in dispute.readings) <= 1
        assert all(reading.says and reading.source for reading in dispute.readings)


@MODELS
def test_what_is_taken_is_what_the_catalogue_says(model: Model) -> None:
    for taken in filter(None, (dispute.taken for dispute in model.disputes.values())):
        assert taken.tokens is None
        assert not taken.voices or taken.voices == model.voices
    for other in (reading for dispute in model.disputes.values() for reading in dispute.others):
        assert other.tokens is None or other.tokens != model.tokens
        assert other.model is None or known(other.model).undisputed_voices() == other.voices


def test_the_stable_name_has_seventeen_voices_for_sure_and_the_snapshots_all_of_theirs() -> None:
    stable = known("qwen3-omni-flash")
    assert (len(stable.voices), len(stable.undisputed_voices())) == (49, 17)
    for name, number in (("2025-12-01", 49), ("2025-09-15", 17)):
        snapshot = known(f"qwen3-omni-flash-{name}")
        assert len(snapshot.undisputed_voices()) == len(snapshot.voices) == number
        assert "snapshot" not in snapshot.disputes


def test_another_edition_changes_some_token_rules_and_keeps_the_rest() -> None:
    (other,) = known("qwen3-omni-flash").disputes["video-constants"].others
    used = known("qwen3-omni-flash").tokens
    assert other.tokens is not None
    assert (used.video_min_patches, used.video_frames_min) == (64, 2)
    assert (other.tokens.video_min_patches, other.tokens.video_frames_min) == (128, 4)
    assert other.tokens.audio_in_per_s == used.audio_in_per_s
    assert other.tokens.video_frames_max == used.video_frames_max


def test_the_divisor_of_turbos_videos() -> None:
    """Goldens of the published code, as its text has it and as its last line stands."""
    (other,) = known("qwen-omni-turbo").disputes["video-divisor"].others
    assert other.tokens is not None
    assert video_tokens(720, 1280, 10, 30, known("qwen-omni-turbo").tokens) == 7_202
    assert video_tokens(720, 1280, 10, 30, other.tokens) == 5_514


def test_the_oldest_snapshot_of_turbo_is_offered_and_sold_in_beijing_only() -> None:
    oldest = known("qwen-omni-turbo-0119")
    assert oldest.regions == ("beijing",)
    assert (oldest.price("beijing") is None, oldest.price("singapore") is None) == (False, True)
    assert not oldest.is_unverified("regions")
    assert known("qwen-omni-turbo").price("singapore") is not None


def test_the_free_quota_of_2025s_models() -> None:
    for name in ("qwen3-omni-flash", "qwen-omni-turbo-0119", "qwen2.5-omni-7b"):
        free = known(name).free_quota
        assert free is not None
        assert (free.tokens, free.days) == (1_000_000, 90)
        assert known(name).disputes["free-quota"].taken is None


def test_no_number_that_nobody_states_binds_the_open_weights() -> None:
    model = known("qwen2.5-omni-7b")
    limits = ("audio_max_bytes", "audio_max_s", "video_max_bytes", "video_max_s", "frames_min")
    assert all(model.is_unverified(f"limits.{name}") for name in (*limits, "frames_max"))
    assert model.is_unverified("tokens.audio_in_per_s")
    assert model.is_unverified("tokens.video_frames_max")
    assert not model.is_unverified("max_input_tokens")


def test_the_plain_text_model_has_limits_price_and_quota() -> None:
    model = known("qwen3.5-plus")
    assert not model.omni
    assert (model.max_output_tokens, model.quota.requests_per_minute) == (65_536, 15_000)
    price = model.price("singapore")
    assert price is not None
    assert (price.text_in, price.text_out) == (0.4, 2.4)
    assert model.is_unverified("prices")
    assert [other.name for other in CATALOGUE.models.values() if not other.omni] == [model.name]


def test_an_unknown_name_is_none_and_the_nearest_is_offered() -> None:
    assert CATALOGUE.model("qwen3-omni-flsh") is None
    assert nearest("qwen3-omni-flsh", CATALOGUE.names()) == "qwen3-omni-flash"
    assert nearest("Qwen-Omni-Turbo", CATALOGUE.names()) == "qwen-omni-turbo"
    assert nearest("whisper", CATALOGUE.names()) is None


@pytest.mark.parametrize(
    "name", ["qwen-omni-turbo-realtime", "qwen3-omni-flash-realtime-2025-12-01"]
)
def test_realtime_names(name: str) -> None:
    assert is_realtime(name)


@MODELS
def test_no_model_of_the_catalogue_is_realtime(model: Model) -> None:
    assert not any(map(is_realtime, (model.name, *model.aliases)))


# --- consistency ---


@MODELS
def test_token_counts_fit_the_context(model: Model) -> None:
    for tokens in (model.max_input_tokens, model.max_input_tokens_thinking):
        assert tokens is None or tokens <= (model.context_tokens or 0)
    if model.thinking == "no":
        assert model.max_input_tokens_thinking is None
        assert model.max_thinking_tokens is None


@MODELS
def test_bounds_are_in_order(model: Model) -> None:
    limits, tokens = model.limits, model.tokens
    pairs = [
        (limits.frames_min, limits.frames_max),
        (limits.video_min_s, limits.video_max_s),
        (limits.data_uri_raw_advised_bytes, limits.data_uri_max_bytes),
        (tokens.image_min_tokens, tokens.image_max_tokens),
        (tokens.image_max_tokens, tokens.image_max_tokens_high_resolution),
        (tokens.video_min_patches, tokens.video_max_patches),
        (tokens.video_max_patches, tokens.video_total_patches),
        (tokens.video_frames_min, tokens.video_frames_max),
    ]
    assert all(low <= high for low, high in pairs if low is not None and high is not None)


@MODELS
def test_a_speaking_model_has_voices_and_a_mute_one_none(model: Model) -> None:
    assert bool(model.voices) == model.audio_out
    assert (model.default_voice in model.voices) == model.audio_out
    assert (model.tokens.audio_out_per_s is not None) == model.audio_out


@MODELS
def test_speech_is_sold_by_speaking_models_alone(model: Model) -> None:
    rates = [rate for region in model.prices.values() for rate in region.values()]
    assert all((rate.audio_out is not None) == model.audio_out for rate in rates)
    assert all(rate.text_out is not None for rate in rates)


@MODELS
def test_unverified_fields_exist(model: Model) -> None:
    for name in model.unverified:
        value: object = model
        for part in name.split("."):
            value = getattr(value, part)
        assert value is not None
        assert model.is_unverified(name)


def test_a_group_covers_its_fields() -> None:
    model = known("qwen3.8-omni-flash")
    assert model.is_unverified("tokens.audio_in_per_s")
    assert not model.is_unverified("max_input_tokens")


def test_voice_ids_are_unique_and_defaults_and_dialects_are_among_them() -> None:
    for voices in CATALOGUE.voice_sets.values():
        assert len(set(voices.ids)) == len(voices.ids)
        assert voices.default in voices.ids
    spoken = {voice for voices in CATALOGUE.voice_sets.values() for voice in voices.ids}
    assert set(CATALOGUE.dialects) <= spoken


def test_facts_can_not_be_changed() -> None:
    with pytest.raises(AttributeError):
        known("qwen3-omni-flash").name = "other"  # type: ignore[misc]


def test_it_is_read_once() -> None:
    assert catalogue() is catalogue()


# --- overlay ---


def test_an_overlay_changes_what_it_says_and_nothing_else(overlay: Overlay) -> None:
    path = overlay(
        """
        date = "2026-11"
        [models.qwen3-omni-flash]
        quota.requests_per_minute = 600
        prices.beijing.CNY.text_in = 1.5
        """
    )
    merged = load_catalogue(path)
    before, after = known("qwen3-omni-flash"), known("qwen3-omni-flash", merged)
    price = after.price("beijing")
    assert price is not None
    assert (merged.date, CATALOGUE.date) == ("2026-11", "2026-10")
    assert (after.quota.requests_per_minute, after.quota.tokens_per_minute) == (600, 100_000)
    assert (price.text_in, price.audio_in) == (1.5, 15.8)
    assert after.price("singapore") == before.price("singapore")
    assert (after.aliases, after.limits, after.voices) == (
        before.aliases,
        before.limits,
        before.voices,
    )
    # Each snapshot has a quota of its own, so its table does not follow.
    assert known("qwen3-omni-flash-2025-09-15", merged).quota.requests_per_minute == 60


def test_an_overlay_adds_a_model_like_a_known_one(overlay: Overlay) -> None:
    path = overlay(
        """
        [voices.ours]
        ids = ["Cherry", "Narrator"]
        default = "Narrator"
        [models.omni-in-house]
        like = "qwen3-omni-flash"
        voices = "ours"
        """
    )
    merged = load_catalogue(path)
    model = known("omni-in-house", merged)
    assert (model.default_voice, model.aliases) == ("Narrator", ())
    assert model.limits == known("qwen3-omni-flash").limits
    assert known("qwen3-omni-flash", merged) == known("qwen3-omni-flash")


def test_an_overlay_settles_a_point(overlay: Overlay) -> None:
    path = overlay(
        """
        [models.qwen3-omni-flash]
        voices = "flash-2025-09-15"
        disputes.snapshot.readings = []
        """
    )
    model = known("qwen3-omni-flash", load_catalogue(path))
    assert "snapshot" not in model.disputes
    assert len(model.undisputed_voices()) == 17
    assert model.disputes["thai"] == known("qwen3-omni-flash").disputes["thai"]


def test_a_model_like_one_that_ends_does_not_end(overlay: Overlay) -> None:
    path = overlay("[models.mine]\nlike = 'qwen-omni-turbo'\nregions = ['singapore']")
    mine = known("mine", load_catalogue(path))
    assert (mine.ends, mine.successor, mine.regions) == (None, None, ("singapore",))
    assert known("qwen-omni-turbo").ends == "2026-10-10"


def test_a_table_under_an_alias_makes_it_a_model_of_its_own(overlay: Overlay) -> None:
    path = overlay(
        """
        [models.qwen-omni-turbo-0326]
        quota.requests_per_minute = 120
        """
    )
    merged = load_catalogue(path)
    short = known("qwen-omni-turbo-0326", merged)
    assert (short.name, short.quota.requests_per_minute) == ("qwen-omni-turbo-0326", 120)
    assert short.ends == known("qwen-omni-turbo", merged).ends
    assert known("qwen-omni-turbo", merged).quota.requests_per_minute == 60
    assert sorted(merged.names()) == sorted(CATALOGUE.names())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[model.x]", ["`model`"]),
        ("[models.qwen3-omni-flash]\nvoice = 'turbo'", ["models.qwen3-omni-flash", "`voice`"]),
        (
            "[models.qwen3-omni-flash.limits]\naudio_max = 1",
            ["models.qwen3-omni-flash", "`audio_max`", "$.limits"],
        ),
        ("[voices.turbo]\nid = []", ["voices.turbo", "`id`"]),
        ("[models.qwen-omni-turbo]\nvoices = 'turbi'", ["models.qwen-omni-turbo.voices", "turbi"]),
        ("[models.mine]\nlike = 'qwen9'", ["models.mine.like", "qwen9"]),
        ("[models.mine]\naudio_out = true", ["models.mine", "missing"]),
        ("[models.qwen-omni-turbo]\nmax_output_tokens = -1", ["$.max_output_tokens"]),
        (
            "[models.qwen-omni-turbo]\nprices.beijing.CNY.text_in = -1.0",
            ["models.qwen-omni-turbo", "$.prices"],
        ),
        (
            "[models.qwen3-omni-flash.disputes.snapshot]\neffekt = 'none'",
            ["models.qwen3-omni-flash", "`effekt`"],
        ),
        (
            "[models.qwen3-omni-flash.disputes.snapshot]\nreadings = 3",
            ["models.qwen3-omni-flash.disputes", "readings"],
        ),
        ("[models.qwen3-omni-flash.disputes]\nx = 3", ["models.qwen3-omni-flash.disputes", "x"]),
        (
            "[models.qwen3-omni-flash.disputes.x]\nabout = 'a'\neffect = 'b'",
            ["models.qwen3-omni-flash.disputes", "`readings`"],
        ),
        (
            "[[models.qwen-omni-turbo.disputes.x.readings]]\nvoices = 'turbi'",
            ["models.qwen-omni-turbo.disputes", "turbi"],
        ),
        (
            "[[models.qwen-omni-turbo.disputes.video-divisor.readings]]\nsays = 'a'\nsource = 'b'"
            "\ntokens = { video_divisor = 32 }",
            ["models.qwen-omni-turbo", "`video_divisor`"],
        ),
        ("[models.qwen-omni-turbo]\nends = 'soon'", ["models.qwen-omni-turbo", "$.ends"]),
        ("[models.qwen-omni-turbo]\ntokens = 3", ["models.qwen-omni-turbo", "$.tokens"]),
        (
            "[models.mine]\nlike = 'qwen-omni-turbo'\naliases = ['qwen-omni-turbo-latest']",
            ["qwen-omni-turbo-latest"],
        ),
        ("date = 'October'", ["$.date"]),
        ("models = {", []),
        ("[models.mine]\nlike = ['qwen-omni-turbo']", ["models.mine.like"]),
        ("[models.a]\nlike = 'omni'\naliases = 3\n[models.b]\nlike = 'omni'", ["models.a"]),
        ("[models.a]\naliases = 3\n[models.b]\nstatus = 'frozen'", ["models.a"]),
    ],
)
def test_a_mistake_in_an_overlay_is_named_with_its_file(
    overlay: Overlay, text: str, named: list[str]
) -> None:
    path = overlay(text)
    with pytest.raises(ValueError, match=r"my-models\.toml") as caught:
        load_catalogue(path)
    assert all(part in str(caught.value) for part in named), caught.value


def test_an_overlay_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "picture.toml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match=r"picture\.toml"):
        load_catalogue(path)


def test_it_can_be_printed_as_json() -> None:
    row = msgspec.json.decode(msgspec.json.encode(known("qwen3-omni-flash")))
    assert row["limits"]["frames_max"] == 128
