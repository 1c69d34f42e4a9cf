"""Asks every case with the openai package; prints what came back, one JSON object a line.

Stands alone: it runs in an environment that holds nothing but the package, 1.52 to 3.x.
"""

import json
import sys
from pathlib import Path
from typing import Any

import openai


def main() -> None:
    """Report the version, then each case of the file that the command line names."""
    print(json.dumps({"version": f"python: {openai.__version__}"}))
    for case in json.loads(Path(sys.argv[1]).read_text()):
        print(json.dumps({"case": case["name"], **ask(case)}))


def ask(case: dict[str, Any]) -> dict[str, Any]:
    """The report of one case."""
    report: dict[str, Any] = {"words": "", "thought": "", "sounds": [], "finish": []}
    report |= {"usage": None, "error": None}
    key, url, retries = case["api_key"], case["base_url"], case["retries"]
    try:
        with openai.OpenAI(api_key=key, base_url=url, max_retries=retries) as client:
            reply = client.chat.completions.create(**case["request"], extra_body=case["extra"])
            for chunk in reply if case["request"].get("stream") else [reply]:
                listen(report, chunk)
    except Exception as error:  # whatever an SDK raises is what has to be reported
        report["error"] = told(error)
    return report


def listen(report: dict[str, Any], chunk: Any) -> None:
    """Add a chunk of a stream, or a whole completion, to a report."""
    report["usage"] = chunk.usage.model_dump() if chunk.usage else None
    for choice in chunk.choices:
        said = choice.message if hasattr(choice, "message") else choice.delta
        report["words"] += said.content or ""
        report["thought"] += getattr(said, "reasoning_content", None) or ""
        audio = plain(getattr(said, "audio", None))
        report["words"] += audio.get("transcript", "")
        report["sounds"] += [audio["data"]] if "data" in audio else []
        report["finish"] += [choice.finish_reason] if choice.finish_reason else []


def plain(audio: Any) -> dict[str, Any]:
    """A delta's audio as a dict: it is one up to 2.x, and an object since 3.x."""
    if audio is None or isinstance(audio, dict):
        return audio or {}
    found: dict[str, Any] = audio.model_dump(exclude_none=True)
    return found


def told(error: Exception) -> dict[str, Any]:
    """An exception by its class, HTTP status and code; without a code, its message."""
    status, code = getattr(error, "status_code", None), getattr(error, "code", None)
    return {"name": type(error).__name__, "status": status, "code": code or str(error)}


main()
