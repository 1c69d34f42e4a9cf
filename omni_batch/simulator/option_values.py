"""Everything that can be chosen by name, with what it means."""

import difflib
from collections.abc import Collection, Mapping

DIALECTS: Mapping[str, str] = {
    "dashscope": "the hosted Qwen-Omni service in compatible mode",
    "vllm": "vLLM with the thinker only: raw base64 audio in, text out, speech ignored",
    "vllm-omni": "vLLM-Omni: as vllm, with speech as WAV files in delta.content",
    "sglang-omni": "SGLang-Omni: media in top-level lists, speech in delta.audio",
    "openai": "OpenAI's audio models: raw base64 audio in, pcm16 speech, rate limit headers",
}
"""Every server whose API can be simulated."""

EDITIONS: Mapping[str, str] = {
    "2025-09": "as 2025-12, but qwen3-omni-flash is its snapshot of 2025-09-15 with 17 voices",
    "2025-12": "as the latest, but of a video at least 4 frames of 128 patches are counted, and a "
    "token of it is 32 x 32 pixels for qwen-omni-turbo too, as the published code has it",
    "latest": "qwen3-omni-flash is its snapshot of 2025-12-01 with 49 voices; of a video at least "
    "2 frames of 64 patches are counted (4 of 128 at qwen-omni-turbo, with a token of 28 x 28)",
}
"""The guide's editions contradict each other; an older one is named by the time
whose state it has."""

REGIONS: Mapping[str, str] = {
    "beijing": "all models, and Batch Chat",
    "singapore": "no Batch Chat, and no qwen-omni-turbo-2025-01-19",
}
"""Where the hosted service is asked."""

FRAMINGS: Mapping[str, str] = {
    "plain": "frames as the service writes them",
    "comments": "keep-alive comment lines between frames",
    "crlf": "lines end with CR LF",
    "tiny": "writes of 1 to 7 bytes",
    "one_write": "the whole stream at once, as a buffering proxy delivers it",
}
"""Every way in which the same frames can be put on the wire."""

WAV_HEADERS: Mapping[str, str] = {
    "usual": "as the dialect has it: every piece in vllm-omni and sglang-omni, else none",
    "none": "bare PCM, as the service sends it",
    "first": "the first piece of speech begins with a WAV header",
    "every": "every piece does, as some servers of the same models send it",
}
"""Whether speech carries WAV headers."""

BASE64_CUTS: Mapping[str, str] = {
    "pieces": "every frame holds base64 that decodes on its own",
    "torn": "one base64 text, cut where no group of four characters ends",
    "doubled": "every frame holds two padded base64 texts, one after the other",
}
"""How the base64 of speech is spread over frames."""

USAGE_PLACES: Mapping[str, str] = {
    "usual": "as the dialect has it: the finish frame in sglang-omni, else a frame of its own",
    "frame": "a frame without choices after the finish frame",
    "finish": "the frame with the finish_reason",
    "none": "nowhere, even when it is asked for",
}
"""Where a stream reports its usage."""

WINDOWS: Mapping[str, str] = {
    "bucket": "earned evenly, and `burst` of it may be used at once",
    "sliding-second": "a sixtieth within any second, and the whole within any minute",
    "whole-second": "a sixtieth within each second of the clock, the whole within each minute",
    "sliding-minute": "the whole within any minute, as fast as you like",
    "whole-minute": "the whole within each minute of the clock, as fast as you like",
}
"""How the limits a minute are counted."""

USAGE_DETAILS: Mapping[str, str] = {
    "plain": "only the kinds that are present",
    "null": "completion_tokens_details is null, and of the prompt's only nulls and zeros stay",
    "null_members": "all kinds, those that are absent as null",
    "absent": "no details at all",
}
"""What the details of a usage look like (dashscope)."""

REASONING_COUNTED: Mapping[str, str] = {
    "usual": "as the model does",
    "exclusive": "text_tokens leave reasoning_tokens out",
    "inclusive": "text_tokens hold reasoning_tokens as well",
}
"""How text_tokens and reasoning_tokens relate (dashscope)."""

REASONING_KEYS: Mapping[str, str] = {
    "reasoning_content": "the older name, also the hosted service's",
    "reasoning": "the name in newer builds of vLLM",
}
"""Which key of a delta holds the chain of thought (vllm, vllm-omni)."""


def one_of(word: str, words: Collection[str], what: str) -> str:
    """Give `word` back if it is one of `words`.

    Raises:
        ValueError: it is not; the message names the nearest one.
    """
    if word in words:
        return word
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.0)
    raise ValueError(
        f"unknown {what} {word!r}; did you mean {near[0]!r}? (one of {', '.join(words)})"
    )
