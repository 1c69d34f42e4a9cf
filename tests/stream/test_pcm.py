"""Sound on the wire: base64 text, cut anyhow, becomes whole 16-bit samples."""

import base64
import struct
from contextlib import suppress
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.doubts import Doubt
from omni_batch.errors import StreamError, UnsupportedReply
from omni_batch.stream.pcm import PcmDecoder
from omni_batch.stream.sound_formats import format_of

SOUND = bytes(range(1, 61))


def wav_header(
    rate_hz: int = 24_000, channels: int = 1, bits: int = 16, code: int = 1, extra: bytes = b""
) -> bytes:
    """A streamed WAV's header: its sizes are unknown yet."""
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * block, block, bits)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + extra
    return b"RIFF\xff\xff\xff\xffWAVE" + chunks + b"data\xff\xff\xff\xff"


def text(sound: bytes) -> str:
    return base64.b64encode(sound).decode()


def decode(*frames: str) -> tuple[bytes, PcmDecoder]:
    decoder = PcmDecoder()
    sound = b"".join(map(decoder.feed, frames))
    last, _ = decoder.finish()
    assert len(sound + last) == 2 * decoder.samples
    return sound + last, decoder


Cuttable = TypeVar("Cuttable", str, bytes)


def cut(draw: st.DataObject, whole: Cuttable) -> list[Cuttable]:
    cuts: list[int] = sorted(draw.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


# Sound that begins like a WAV header or another format is one; all other sound passes as it is.
SOUNDS = st.binary(max_size=80).filter(lambda s: not s.startswith(b"R") and format_of(s) is None)


@given(SOUNDS, st.booleans(), st.data())
def test_any_cut_of_the_text_gives_the_same_samples(
    sound: bytes, padded: bool, data: st.DataObject
) -> None:
    whole = text(sound) if padded else text(sound).rstrip("=")
    assert decode(*cut(data, whole))[0] == sound[: len(sound) // 2 * 2]


@given(SOUNDS, st.data())
def test_pieces_that_are_padded_each_for_itself_give_the_same_samples(
    sound: bytes, data: st.DataObject
) -> None:
    pieces = [text(piece) for piece in cut(data, sound)]
    assert decode(*pieces)[0] == sound[: len(sound) // 2 * 2]
    assert decode(*cut(data, "".join(pieces)))[0] == sound[: len(sound) // 2 * 2]


@given(st.data())
def test_whitespace_in_the_text_means_nothing(data: st.DataObject) -> None:
    pieces = cut(data, text(SOUND))
    assert decode(*cut(data, "\r\n ".join(pieces)))[0] == SOUND


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
@given(data=st.data())
def test_a_wav_header_is_stripped_however_it_is_cut(rate_hz: int, data: st.DataObject) -> None:
    extra = b"LIST\x05\x00\x00\x00words\x00"  # an odd chunk is padded
    whole = text(wav_header(rate_hz, extra=extra) + SOUND)
    sound, decoder = decode(*cut(data, whole))
    assert (sound, decoder.sample_rate_hz) == (SOUND, rate_hz)


def test_a_wav_header_is_stripped_from_every_piece() -> None:
    pieces = [wav_header() + SOUND[i : i + 20] for i in (0, 20, 40)]
    assert decode(*map(text, pieces))[0] == SOUND


@pytest.mark.parametrize("start", [b"R", b"RIFF", b"RIFFabcdWAV", b"RIFFabcdWAVe", b"RIFX"])
def test_sound_that_begins_almost_like_a_header_is_sound(start: bytes) -> None:
    whole = start + b"x" * (20 + len(start) % 2)
    assert decode(text(start), text(whole[len(start) :]))[0] == whole
    assert decode(text(start))[0] == start[: len(start) // 2 * 2]


def test_an_extensible_header_is_understood() -> None:
    assert decode(text(wav_header(code=0xFFFE) + SOUND))[0] == SOUND


def test_without_a_header_the_rate_is_24_khz() -> None:
    assert decode(text(SOUND))[1].sample_rate_hz == 24_000


def test_half_a_sample_waits_for_its_other_half() -> None:
    decoder = PcmDecoder()
    assert decoder.feed(text(b"abc")) == b"ab"
    assert decoder.feed(text(b"def")) == b"cdef"
    assert decoder.finish() == (b"", [])


def test_a_lone_half_sample_at_the_end_is_dropped_with_a_warning() -> None:
    decoder = PcmDecoder()
    decoder.feed(text(b"abc"))
    last, doubts = decoder.finish()
    assert (last, decoder.samples) == (b"", 1)
    assert doubts == [
        Doubt("speech-end-dropped", "speech ended in half a sample, which was dropped")
    ]


def test_a_lone_character_at_the_end_is_dropped_with_a_warning() -> None:
    decoder = PcmDecoder()
    assert decoder.feed(text(b"abcdef") + "A") == b"abcdef"
    assert decoder.finish() == (
        b"",
        [Doubt("speech-end-dropped", "speech ended in a lone base64 character, which was dropped")],
    )


@pytest.mark.parametrize(
    "frames", [["AA!A"], ["é" * 4], ["A", "==="], ["AAAA", "A=AA"], ["AA-_"], ["AAAA****"]]
)
def test_what_is_not_base64_is_refused(frames: list[str]) -> None:
    with pytest.raises(StreamError, match="not base64"):
        decode(*frames)


@pytest.mark.parametrize(
    "header",
    [
        wav_header(channels=2),
        wav_header(bits=8),
        wav_header(bits=24),
        wav_header(code=3),
        wav_header(code=7),
        wav_header(rate_hz=0),
        wav_header(rate_hz=1_000_000),
    ],
)
def test_only_16_bit_mono_is_understood(header: bytes) -> None:
    with pytest.raises(StreamError, match="only 16-bit mono PCM"):
        decode(text(header + SOUND))


def test_the_rate_may_not_change_midway() -> None:
    with pytest.raises(StreamError, match="from 24000 to 16000 Hz"):
        decode(text(wav_header() + SOUND), text(wav_header(16_000) + SOUND))


def test_a_header_without_end_is_refused() -> None:
    endless = b"RIFF\xff\xff\xff\xffWAVE" + b"junk\x00\xff\x00\x00" + b"x" * 5000
    with pytest.raises(StreamError, match="without sound"):
        decode(text(endless))


@pytest.mark.parametrize("size", [12, 20, 43])
def test_half_a_header_is_never_taken_for_sound(size: int) -> None:
    with pytest.raises(StreamError, match="ended in its WAV header"):
        decode(text(wav_header()[:size]))


def test_a_header_and_nothing_else_is_no_sound() -> None:
    assert decode(text(wav_header()))[0] == b""


@given(st.lists(st.text(max_size=30), max_size=4))
def test_no_text_breaks_it_but_as_a_stream_error(frames: list[str]) -> None:
    with suppress(StreamError):
        decode(*frames)


# --- Sound that is no 16-bit PCM would be noise ---

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)  # 128 kbit/s at 44.1 kHz
MP3_24_KHZ = b"\xff\xf3\x84\xc4" + bytes(188)  # 64 kbit/s at 24 kHz
AAC_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("MP3", b"ID3\x04\0\0" + bytes(90)),
        ("MP3", MP3_FRAME * 3),
        ("MP3", MP3_FRAME),
        ("MP3", MP3_24_KHZ * 3),
        ("AAC", AAC_FRAME * 3),
        ("FLAC", b"fLaC\0\0\0\x22" + bytes(34)),
        ("Ogg", b"OggS\0\x02" + bytes(50)),
        ("AIFF", b"FORM\0\0\0\x50AIFFCOMM" + bytes(50)),
        ("CAF", b"caff\0\1\0\0desc" + bytes(50)),
        ("AMR", b"#!AMR\n" + bytes(50)),
        ("WebM", b"\x1aE\xdf\xa3" + bytes(50)),
        ("MP4", b"\0\0\0\x20ftypM4A " + bytes(50)),
        ("AU", b".snd\0\0\0\x18" + bytes(50)),
    ],
)
@pytest.mark.parametrize("step", [12, 60, 10**6])
def test_another_format_is_refused_by_its_name_and_not_asked_for_again(
    name: str, sound: bytes, step: int
) -> None:
    whole = text(sound)
    with pytest.raises(UnsupportedReply, match=f"speech comes as {name}") as caught:
        decode(*(whole[i : i + step] for i in range(0, len(whole), step)))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    "start",
    [
        *(b"\xff\xff\xfe\xff", b"\xff\xfb\xff\xfb", MP3_FRAME[:4], b"\xff\xf1\0\0", b"ID4"),
        *(b"\xff", b"\xff\xfb", b"fLa", b"FORM\0\0\0\0WAVE", AAC_FRAME[:7], b"Og"),
    ],
)
@pytest.mark.parametrize("step", [4, 10**6])
def test_samples_that_look_like_a_frame_are_samples(start: bytes, step: int) -> None:
    sound = start + bytes(range(1, 200)) * 5
    sound = sound[: len(sound) // 2 * 2]
    whole = text(sound)
    assert decode(*(whole[i : i + step] for i in range(0, len(whole), step)))[0] == sound


def test_a_data_uri_is_its_sound() -> None:
    assert decode("data:audio/wav;base64," + text(wav_header() + SOUND))[0] == SOUND
    assert decode("data:;base64," + text(SOUND), text(SOUND))[0] == SOUND * 2


def sized(header: bytes, size: int) -> bytes:
    return header[:-4] + struct.pack("<I", size)


TITLES = b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0" + b"Lavf60.16.100\0"


@given(st.data())
def test_titles_behind_the_sound_are_no_samples(data: st.DataObject) -> None:
    whole = sized(wav_header(), len(SOUND)) + SOUND + TITLES
    assert decode(*cut(data, text(whole)))[0] == SOUND
    twice = [*cut(data, text(whole)), *cut(data, text(whole))]  # a file in each piece
    assert decode(*twice)[0] == SOUND * 2


@pytest.mark.parametrize("step", [4, 8, 12, 100])
def test_titles_that_come_in_pieces_hide_no_sound_behind_them(step: int) -> None:
    whole = text(sized(wav_header(), len(SOUND)) + SOUND + TITLES + TITLES + wav_header() + SOUND)
    assert decode(*(whole[i : i + step] for i in range(0, len(whole), step)))[0] == SOUND * 2


@pytest.mark.parametrize("size", [0, 4, 20, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF024])
def test_a_header_that_announces_too_little_loses_no_sound(size: int) -> None:
    whole = text(sized(wav_header(), size) + SOUND)
    for step in (4, 10**6):
        assert decode(*(whole[i : i + step] for i in range(0, len(whole), step)))[0] == SOUND
