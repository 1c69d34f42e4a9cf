"""Why an answer ended: the words of servers and gateways as those of the chat API. Pure.

Gateways pass on the words of whatever stands behind them: Gemini's, Anthropic's, Hugging Face's.
"""

import re

_STOP = (
    "stop eos eos_token end_turn end end_of_turn stop_sequence stop_token stop_word stopped "
    "complete completed finish finished done normal eot message_end <|im_end|> <|endoftext|> </s>"
)
_LENGTH = (
    "length max_tokens max_token max_length max_output_tokens max_completion_tokens max_new_tokens "
    "token_limit output_limit model_length length_limit context_length_exceeded "
    "context_window_exceeded model_context_window_exceeded"
)
_CONTENT_FILTER = (
    "content_filter content_filtered contentfilter safety moderation refusal recitation blocklist "
    "prohibited_content spii image_safety sensitive data_inspection_failed"
)
_NONE_YET = "null none nil undefined unspecified unfinished not_finished in_progress running"
_MEANING: dict[str, str | None] = {
    **dict.fromkeys(_STOP.split(), "stop"),
    **dict.fromkeys(_LENGTH.split(), "length"),
    **dict.fromkeys(_CONTENT_FILTER.split(), "content_filter"),
    **dict.fromkeys(_NONE_YET.split()),
    "": None,
}
_PREFIX = re.compile(r"^(?:.*\.)?(?:finish_?reason_)?")


def finish_reason(said: str) -> str | None:
    """stop, length or content_filter; None for "not yet" as text; any other word as it is."""
    if said in _MEANING:
        return _MEANING[said]
    spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", said[:200].strip())  # maxTokens
    word = _PREFIX.sub("", re.sub(r"[\s-]+", "_", spelled).lower(), count=1)
    return _MEANING.get(word, said)
