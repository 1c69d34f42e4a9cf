"""How long an answer may be, before any has come: by what is asked for. Pure.

Rules of thumb, wide on purpose: people speak about 2.5 words a second, and a word is 1.3 tokens.
The first answers of a run, or an earlier run of the same config, take their place.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator

from omni_batch.catalogue.tokens import text_tokens
from omni_batch.progress.spending.workload import Range
from omni_batch.types import Request

_FREE = Range(20, 250, 1000)
_FREE_SPOKEN = Range(10, 100, 400)  # of text; nobody is talked at for minutes
_ONE_WORD = Range(1, 4, 15)
_SENTENCE = Range(8, 25, 60)
_BRIEF = Range(8, 40, 150)
_JSON = Range(10, 80, 400)
_WORD = Range(0.4, 1.2, 1.8)
_AS_LONG = Range(0.4, 1.0, 1.5)  # as what is repeated, corrected or translated
_ASIDE = Range(0, 5, 20)  # a word or a sentence around it
_HEARD_PER_S = Range(0.5, 3.3, 7.0)
_THOUGHTS = Range(50, 1000, 8000)
_SPEECH_S_PER_TOKEN = 0.3
_READ_CHARS = 1_000
"""Of the beginning and of the end of a prompt, where people say what they want."""
_NUMBERS = {"one": 1, "a": 1, "a single": 1, "two": 2, "three": 3, "four": 4, "five": 5}


def guess_answer(
    request: Request, audio_tokens_per_s: float | None, *, thinks: bool = False
) -> Range:
    """Completion tokens of one request, speech and thoughts among them.

    Args:
        audio_tokens_per_s: of the model's speech; None counts the text only.
    """
    answer = _asked_for(request)
    if request.wants_audio:
        answer = answer.times(1 + _SPEECH_S_PER_TOKEN * (audio_tokens_per_s or 0.0))
    if thinks:
        answer += _THOUGHTS.capped(_limit(request, "thinking_budget"))
    return answer.capped(_limit(request, "max_tokens", "max_completion_tokens"))


def _limit(request: Request, *names: str) -> float:
    """The smallest of some options; `request.extra` may have set them to anything."""
    limits = (request.options.get(name) for name in names)
    return min((limit for limit in limits if isinstance(limit, int)), default=math.inf)


def _asked_for(request: Request) -> Range:
    text = _text(request).lower()
    for word, pattern, answer in _TASKS:
        # Whether a text contains a word is found out much faster than what is around it.
        if word in text and (found := pattern.search(text)):
            return answer(found, request)
    if request.options.get("response_format"):
        return _JSON
    return _FREE_SPOKEN if request.wants_audio else _FREE


def _text(request: Request) -> str:
    """What the system message and the last turn ask for, long ones by their ends."""
    first, last = request.messages[0], request.messages[-1]
    turns = (first, last) if first.role == "system" else (last,)
    text = "\n".join(part for turn in turns for part in turn.parts if isinstance(part, str))
    return text if len(text) <= 2 * _READ_CHARS else text[:_READ_CHARS] + text[-_READ_CHARS:]


def _as_long_as_given(_: re.Match[str], request: Request) -> Range:
    """Something is repeated in other words: the sound of the row, or else the text of its turn."""
    heard_s = sum(medium.duration_s or 0.0 for medium in request.own_media())
    if heard_s:
        return _HEARD_PER_S.times(heard_s)
    last = request.messages[-1]
    given = sum(text_tokens(part) for part in last.parts if isinstance(part, str))
    return _AS_LONG.times(given) + _ASIDE


_Answer = Callable[[re.Match[str], Request], Range]


def _counted(unit: Range) -> _Answer:
    def answer(found: re.Match[str], _: Request) -> Range:
        return unit.times(float(_NUMBERS.get(found[1]) or found[1]))

    return answer


def _fixed(answer: Range) -> _Answer:
    return lambda _, __: answer


def _task(
    answer: _Answer, words: Iterable[str], around: str = r"\b{}\b"
) -> Iterator[tuple[str, re.Pattern[str], _Answer]]:
    for word in words:
        yield word, re.compile(around.format(word)), answer


_TASKS = (
    *_task(_fixed(_ONE_WORD), ["word"], r"\b(?:one|a single) {}\b"),
    *_task(_fixed(_ONE_WORD), ["yes or no"]),
    *_task(_fixed(_ONE_WORD), ["一个词", "是或否"], "{}"),
    *_task(
        _fixed(_ONE_WORD),
        ["word", "label", "letter", "number", "digit", "class", "category"],
        r"\b(?:only|just|exactly) (?:the|a|one) {}\b",
    ),
    *_task(_counted(_WORD), ["words"], r"\b(\d{{1,5}}) {}\b"),
    *_task(
        _counted(_SENTENCE),
        ["sentence"],
        r"\b(one|a|a single|two|three|four|five|\d{{1,3}}) (?:short |brief |simple )?{}s?\b",
    ),
    *_task(_fixed(_SENTENCE), ["一句话"], "{}"),
    *_task(_fixed(_JSON), ["json"]),
    *_task(
        _as_long_as_given,
        ["say", "read", "speak", "repeat", "pronounce", "recite"],
        r"^\s*(?:please )?{}\b",
    ),
    *_task(_as_long_as_given, ["aloud", "out loud", "verbatim", "transcript", "subtitle"]),
    *_task(_as_long_as_given, ["transcribe", "translate", "rewrite", "proofread", "subtitles"]),
    *_task(_as_long_as_given, ["朗读", "转写", "翻译"], "{}"),
    *_task(_fixed(_BRIEF), ["brief", "briefly", "concise", "concisely", "short", "shortly"]),
    *_task(_fixed(_BRIEF), ["in a few words", "one line", "headline", "title", "caption"]),
    *_task(_fixed(_BRIEF), ["keyword", "keywords"]),
    *_task(_fixed(_BRIEF), ["简短"], "{}"),
)
"""What a prompt may ask for, in small letters: a word and what is around it. The first that fits
counts."""
