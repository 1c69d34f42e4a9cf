"""Every kind of fault by name, with what the client sees."""

from collections.abc import Mapping

_BROKEN: Mapping[str, str] = {
    "reset": "the connection is reset before any header",
    "stall_first": "not one byte is sent until the client hangs up",
    "stall": "the stream stops half-way and stays open",
    "cut": "the stream is cut off half-way, without the last HTTP chunk",
    "cut_clean": "the stream ends properly, but before any finish_reason",
    "cut_line": "the stream ends inside a JSON line, or inside a UTF-8 character",
    "in_band_error": "an error frame arrives after some deltas of a 200",
    "bare_error": "the same as `event: error` that holds a message alone, and no [DONE]",
    "empty": "200 with an empty stream",
    "done_only": "200 with nothing but [DONE]",
    "partial_response": "200 whose header says that the reply was cut by a server timeout",
    "partial_proxied": "the same behind LiteLLM, which gives that header a name of its own",
    "made_up_end": "a reply cut behind LiteLLM, which makes up a stop, a usage and [DONE]",
}
"""Replies of which a part is missing."""

_REFUSED: Mapping[str, str] = {
    "html_502": "502 with a gateway's HTML page",
    "error_500": "500 internal_error",
    "error_500_closed": "the same, after which the connection is closed without a word of it",
    "error_503": "503 ModelServingError",
    "error_409": "409: the engine is overloaded",
    "rate_limit": "429 limit_requests",
    "burst": "429 limit_burst_rate",
    "quota": "429 insufficient_quota, which means tokens per minute here",
    "empty_429": "429 with an empty body",
    "no_money": "402 of a reseller whose customer has no money left",
    "no_user_quota": "403 insufficient_user_quota, for the same reason at another",
    "no_budget": "429 budget_exceeded, which no wait helps",
    "no_budget_400": "400 budget_exceeded",
}
"""Answers that are errors."""

_WRAPPED: Mapping[str, str] = {
    "no_done": "a whole stream ends properly, but without [DONE]",
    "no_done_stall": "a whole stream without [DONE] stays open in silence",
    "whole_json": "one chat.completion as JSON although a stream was asked for",
    "sse_as_json": "a good stream under content-type application/json",
    "status_201": "a good reply with status 201",
    "gzip": "a good reply packed as gzip, unasked",
    "stale_gzip": "a good reply whose header says gzip, which it is not",
    "encoding_none": "a good reply under content-encoding none",
    "length_and_chunks": "a good stream in chunks, whose head states a length as well",
    "past_reset": "a good reply whose headers say that nothing is left, until a time long past",
    "two_in_one": "every event holds two JSON objects, one after the other",
    "one_newline": "one line feed between events instead of two",
    "pings": "`event: ping` with a date as data between the frames",
    "split_emoji": "the two halves of an emoji come in two frames",
}
"""Good replies in an odd wrapping."""

_SHAPED: Mapping[str, str] = {
    "content_parts": "content comes as a list of parts",
    "thinking_parts": "the same, and the chain of thought is one of the parts",
    "think_tags": "the chain of thought stands in the content, between <think> and </think>",
    "think_end": "the same, with </think> alone",
    "finish_null": "finish_reason is the text null until the reply ends",
    "finish_upper": "finish_reason is STOP",
    "finish_max_tokens": "finish_reason is MAX_TOKENS",
    "repeated_whole": "the last frame repeats the whole reply as a message",
    "usage_zero": "the usage says 0, 0 and 0",
    "usage_zero_last": "a second usage of 0, 0 and 0 follows the real one",
    "empty_answer": "a reply without a word, with finish_reason stop",
    "refusal": "the model refuses: content is null, and the words are in `refusal`",
    "media_ignored": "the media are neither heard nor seen nor counted",
}
"""Replies that are whole, and odd in what they say or how."""

_SPOKEN: Mapping[str, str] = {
    "speech_mp3": "speech is an MP3 file, whatever was asked for",
    "speech_stereo": "speech begins with a WAV header of two channels",
    "speech_bare": "`delta.audio` is the base64 itself and no object",
}
"""Odd speech; replies without speech are good."""

_MALFORMED: Mapping[str, str] = {
    "json_fenced": "JSON stands in a fence",
    "json_in_prose": "JSON stands between words, some of them in brackets",
    "json_behind_draft": "a draft in <think> stands before the JSON",
    "json_python": "JSON is written as Python writes a dictionary",
    "json_commas": "JSON has a comma before its last bracket",
    "json_comments": "JSON has a comment",
    "json_bare_keys": "keys of JSON have no quotes",
    "json_cut": "JSON is cut at the token limit",
    "json_twice": "a second answer follows, which breaks the schema",
    "json_other_words": "values of JSON are said in other words",
    "json_empty_form": "each value of JSON is the text <…>",
    "json_refused": "the model refuses in words",
    "json_any": "one of these twelve, drawn evenly",
}
"""Odd forms of a JSON object that was asked for; other replies are good."""

FAULTS: Mapping[str, str] = {**_BROKEN, **_REFUSED, **_WRAPPED, **_SHAPED, **_SPOKEN, **_MALFORMED}
"""Every kind of fault, and what the client sees."""
