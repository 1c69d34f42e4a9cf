"""What a round begins with: a manifest of texts of many lengths, and a config."""

import csv
from pathlib import Path

import yaml

from tests.soak.faults.by_hand import GRACE_S
from tests.soak.plan import RoundPlan

_WORDS = ("a", "small", "red", "cup", "on", "the", "wooden", "table", "by", "a", "window")


def item_ids(plan: RoundPlan) -> list[str]:
    """Of all rows, in order; `book.item_of` finds them in prompts."""
    return [f"row-{number:05d}" for number in range(plan.items)]


def write_inputs(folder: Path, plan: RoundPlan, base_url: str, key_env: str) -> None:
    """rows.csv and config.yaml."""
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "prompt"])
        for number, item_id in enumerate(item_ids(plan)):
            words = (_WORDS[(number * 7 + at) % len(_WORDS)] for at in range(number % 11 + 1))
            writer.writerow([item_id, f"{item_id}: {' '.join(words)}"])
    config = _config(plan, base_url, key_env)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def _config(plan: RoundPlan, base_url: str, key_env: str) -> dict[str, object]:
    return {
        "name": "soak",
        "manifest": {"path": "rows.csv"},
        "output": "disk/runs",
        "endpoint": {
            "name": "custom",
            "dialect": "dashscope",
            "base_url": base_url,
            "api_key_env": key_env,
        },
        "request": {"modalities": ["text", "audio"]},
        "quota": {
            "requests_per_minute": 1e9,
            "tokens_per_minute": 1e12,
            "max_in_flight": plan.in_flight,
            "adaptive": plan.adaptive,
        },
        "retry": {
            "max_attempts": plan.max_attempts,
            "first_wait_s": 0.1,
            "max_wait_s": 1,
            "first_byte_timeout_s": 10,
            "idle_timeout_s": 4,
        },
        "shard_size": plan.shard_size,
        "durability": plan.durability,
        "shutdown_grace_s": GRACE_S,
    }
