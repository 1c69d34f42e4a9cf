"""Asks every case with the curl command; prints what came back, one JSON object a line."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    429: "RateLimitError",
}
"""curl raises nothing; a status goes by the name that the SDKs give it."""


def main() -> None:
    """Report the version, then each case of the file that the command line names."""
    first_line = _run(["curl", "--version"])
    print(json.dumps({"version": " ".join(first_line.split()[:2])}))
    for case in json.loads(Path(sys.argv[1]).read_text()):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps({"case": case["name"], **ask(case, Path(folder))}))


def ask(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The report of one case."""
    report: dict[str, Any] = {"words": "", "thought": "", "sounds": [], "finish": []}
    report |= {"usage": None, "error": None}
    body, reply = folder / "body.json", folder / "reply"
    body.write_text(json.dumps({**case["request"], **case["extra"]}))
    try:
        status = int(_run(_command(case, body, reply)))
        for chunk in _chunks(case, status, reply.read_text(encoding="utf-8")):
            listen(report, chunk, status)
    except (subprocess.CalledProcessError, ValueError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        report["error"] = {"name": type(error).__name__, "status": None, "code": detail}
    return report


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _command(case: dict[str, Any], body: Path, reply: Path) -> list[str]:
    options = ["--silent", "--show-error", "--no-buffer", "--max-time", "60"]
    headers = [f"Authorization: Bearer {case['api_key']}", "Content-Type: application/json"]
    options += [word for header in headers for word in ("--header", header)]
    options += ["--retry", str(case["retries"]), "--data-binary", f"@{body}"]
    options += ["--output", str(reply), "--write-out", "%{http_code}"]
    return ["curl", *options, f"{case['base_url']}/chat/completions"]


def _chunks(case: dict[str, Any], status: int, text: str) -> list[Any]:
    """The JSON objects of a body: one, or those of a stream up to [DONE]."""
    if status != 200 or not case["request"].get("stream"):
        return [json.loads(text)]
    *frames, done, rest = text.split("\n\n")
    if (done, rest) != ("data: [DONE]", ""):
        raise ValueError(f"the stream ends in {(done + rest)[-80:]!r}")
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def listen(report: dict[str, Any], chunk: Any, status: int) -> None:
    """Add a chunk of a stream, a whole completion or an error to a report."""
    if "error" in chunk:
        name = ERRORS.get(status, f"HTTP {status}")
        report["error"] = {"name": name, "status": status, "code": chunk["error"]["code"]}
        return
    report["usage"] = chunk["usage"]
    for choice in chunk["choices"]:
        said = choice.get("message") or choice["delta"]
        audio = said.get("audio", {})
        report["words"] += (said.get("content") or "") + audio.get("transcript", "")
        report["thought"] += said.get("reasoning_content") or ""
        report["sounds"] += [audio["data"]] if "data" in audio else []
        report["finish"] += [choice["finish_reason"]] if choice["finish_reason"] else []


main()
