"""The card of a dataset: content, model, prompts, cost."""

import re
from typing import Any

import msgspec
import pyarrow as pa

from omni_batch.analytics.export.rows import ExportCounts, RunReader
from omni_batch.progress import phrases
from omni_batch.store import RunRecord
from omni_batch.text import markdown_text

_MEDIA = {
    "audio": "the answer as speech",
    "image": "the image that was sent",
    "images": "the images that were sent",
    "frames": "the frames that were sent, in order",
    "input_audio": "the recording that was sent",
}


ONLY_SPLIT = "train"
"""What the Hub calls the split of a dataset that has one."""


def dataset_card(reader: RunReader, columns: pa.Schema, licence: str | None) -> str:
    """README.md of a dataset, with the header that the Hugging Face Hub reads."""
    record, counts = reader.record, reader.counts
    files = [
        {"split": split or ONLY_SPLIT, "path": f"data/{split or ONLY_SPLIT}-*.parquet"}
        for split in reader.splits
    ]
    header: dict[str, Any] = {
        "license": licence or "unknown",
        "pretty_name": record.config.get("name") or record.run_id,
        "tags": ["synthetic", "omni-batch"],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    lines = [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in header.items()]
    body = [
        f"# {markdown_text(header['pretty_name'])}",
        f"Answers of a model to {counts.items:,} items, made by omni-batch.",
        _facts(record, counts, licence),
        "## Prompts",
        *_asked(record),
        "## Columns",
        _columns(columns),
        "Videos and media of earlier turns are not embedded; `media` names them.",
    ]
    return "\n".join(["---", *lines, "---", ""]) + "\n\n".join(body) + "\n"


def _facts(record: RunRecord, counts: ExportCounts, licence: str | None) -> str:
    spent = record.counts
    facts = {
        "run": record.run_id,
        "begun": f"{record.created_at:%Y-%m-%d %H:%M} UTC",
        "model": ", ".join(record.models),
        "endpoint": record.endpoint_names,
        "items here": f"{counts.items:,}",
        **{f"items of {split}": f"{items:,}" for split, items in counts.splits.items()},
        "failed items left out": f"{counts.left_out:,}",
        "tokens of the run": phrases.tokens(spent),
        "cost of the run": phrases.spent(spent),
        "licence": licence or "not stated: name one before you publish this",
    }
    rows = [f"| {name} | {markdown_text(value)} |" for name, value in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])


def _asked(record: RunRecord) -> list[str]:
    blocks = []
    for variant in record.variants or (None,):
        request, of = record.request_of(variant), f" of {variant}" if variant else ""
        shown = {"System": request.get("system"), "Prompt": request.get("prompt")}
        blocks += [f"{name}{of}:\n\n{_fenced(text)}" for name, text in shown.items() if text]
        if count := len(request.get("examples") or ()):
            blocks.append(f"{count:,} examples with their answers went before each row{of}.")
    return [*blocks, "A row's own prompt is in `prompt`, as it was sent."]


def _columns(columns: pa.Schema) -> str:
    rows = [f"| `{field.name}` | {markdown_text(_description(field))} |" for field in columns]
    return "\n".join(["| column | holds |", "|---|---|", *rows])


def _description(field: pa.Field) -> str:
    held = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    unit = f" ({held['unit']})" if "unit" in held else ""
    return _MEDIA.get(field.name) or f"{held.get('description', '')}{unit}"


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
