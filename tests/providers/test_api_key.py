"""A key is found in whatever a service says, however it is written there."""

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.providers.api_key import ApiKey, KeyRedactor
from omni_batch.text import MASK

_SIGNS = st.sampled_from([chr(code) for code in range(33, 127)])
_KEYS = st.text(_SIGNS, min_size=12, max_size=80)

_WAYS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "quoted": quote,
    "all quoted": lambda key: quote(key, safe=""),
    "twice quoted": lambda key: quote(quote(key, safe=""), safe=""),
    "JSON": lambda key: json.dumps(key)[1:-1],
    "each escaped": lambda key: "".join(f"\\u{ord(sign):04X}" for sign in key),
    "each escaped in braces": lambda key: "".join(f"\\u{{{ord(sign):x}}}" for sign in key),
    "each escaped in full": lambda key: "".join(f"\\U{ord(sign):08x}" for sign in key),
    "quoted-printable": lambda key: "".join(f"={ord(sign):02X}" for sign in key),
    "HTML": html.escape,
    "hex": lambda key: key.encode().hex(),
    "upper case": str.upper,
}


@pytest.mark.parametrize("way", _WAYS)
@settings(max_examples=5)  # of each way; a key is 30 ms
@given(key=_KEYS)
def test_a_key_of_any_form_is_cut_out_however_it_is_written(way: str, key: str) -> None:
    written = _WAYS[way](key)
    if way == "HTML" and "&" in written:
        written = "".join(f"&#{ord(sign)};" for sign in key)
    redactor = KeyRedactor([ApiKey(key)])
    shown = redactor.text(f"<< {written} >>")
    assert shown == f"<< {MASK} >>"
    assert redactor.raw(f"<< {written} >>".encode()) == shown.encode()


@settings(max_examples=40)
@given(key=_KEYS, before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_of_base64_no_more_than_its_seams_is_left(key: str, before: bytes, after: bytes) -> None:
    for encode in (b64encode, urlsafe_b64encode):
        coded = encode(before + key.encode() + after).decode()
        shown = KeyRedactor([ApiKey(key)]).text(coded)
        around = len(b64encode(before)) + len(b64encode(after)) + 8
        assert MASK in shown
        assert len(shown) <= around


def test_what_is_left_of_a_key_in_a_message_that_was_cut_short_goes_too() -> None:
    redactor = KeyRedactor([ApiKey("Zz9-plural.z_alpha-42")])
    assert redactor.text("finish_reason 'Zz9-plural.z_al'") == f"finish_reason '{MASK}'"


def test_keys_of_all_endpoints_are_cut_out_of_the_words_of_each() -> None:
    redactor = KeyRedactor([ApiKey("first-of-two-keys"), None, ApiKey("second-of-two-keys")])
    assert redactor.text("second-of-two-keys, first-of-two-keys") == f"{MASK}, {MASK}"


def test_a_placeholder_is_no_reason_to_change_an_answer() -> None:
    redactor = KeyRedactor([ApiKey("EMPTY")])
    assert redactor.answer("The glass is EMPTY.") == "The glass is EMPTY."
    assert redactor.text("it is EMPTYING; key EMPTY") == f"it is EMPTYING; key {MASK}"


def test_without_a_key_nothing_is_changed() -> None:
    assert KeyRedactor([None]).text("any words") == "any words"
