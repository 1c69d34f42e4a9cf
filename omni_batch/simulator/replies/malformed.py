"""What a model makes of JSON that it was asked for: in an odd form, or not what was asked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

from omni_batch.simulator.replies.answer import Answer

_REFUSAL = "I'm sorry, but I can't help with identifying this."


def malformed(answer: Answer, kind: str) -> Answer:
    """The answer as a fault of `MALFORMED` spells it; one that is no JSON object stays."""
    try:
        value = json.loads(answer.text)
    except ValueError:
        return answer
    if not isinstance(value, dict):
        return answer
    reason = "length" if kind == "json_cut" else answer.finish_reason
    return replace(answer, text=MALFORMED[kind](value), finish_reason=reason)


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def _commented(value: dict[str, object]) -> str:
    lines = _plain(value).splitlines()
    return "\n".join([lines[0], " // as asked", *lines[1:]])


def _bare_keys(value: dict[str, object]) -> str:
    members = (f"{key}: {json.dumps(each, ensure_ascii=False)}" for key, each in value.items())
    return f"{{{', '.join(members)}}}"


def _other_words(value: object) -> object:
    """Every text and number said in other words."""
    match value:
        case bool() | None:
            return "perhaps"
        case int() | float():
            return f"about {value}"
        case str():
            return {"said": value}
        case list():
            return [_other_words(each) for each in value]
        case dict():
            return {key: _other_words(each) for key, each in value.items()}
        case _:
            return value


MALFORMED: Mapping[str, Callable[[dict[str, object]], str]] = {
    "json_fenced": lambda value: f"```json\n{_plain(value)}\n```",
    "json_in_prose": lambda value: f"Here is the [JSON] you asked for:\n\n{_plain(value)}\n\nDone!",
    "json_behind_draft": lambda value: f"<think>{{}} or {{'a': 1}}?</think>\n{_plain(value)}",
    "json_python": repr,
    "json_commas": lambda value: _plain(value)[:-2] + ",\n}",
    "json_comments": _commented,
    "json_bare_keys": _bare_keys,
    "json_cut": lambda value: _plain(value)[: -2 - len(_plain(value)) // 4],
    "json_twice": lambda value: f"{_plain(value)}\nor\n{_plain(_other_words(value))}\nor {{}}",
    "json_other_words": lambda value: _plain(_other_words(value)),
    "json_empty_form": lambda value: _plain(dict.fromkeys(value, "<…>")),
    "json_refused": lambda _: _REFUSAL,
}
