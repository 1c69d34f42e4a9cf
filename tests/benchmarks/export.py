"""Peak memory of export, sql and compare at 10,000 and 100,000 rows, each in a process of its own.

python -m tests.benchmarks.export [rows ...]
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from omni_batch.cli.main import app
from tests.support.written_runs import Written, write_run

WORDS = ["a", "small", "red", "cup", "stands", "on", "the", "wooden", "table", "near", "windows"]
COMMANDS: dict[str, list[str]] = {
    "nothing": ["--version"],
    "sql csv": ["sql", "{a}", "from results", "--to", "csv", "--output", "{out}"],
    "sql group": ["sql", "{a}", "select modality, sum(cost) from results group by 1"],
    "csv": ["export", "{a}", "--to", "csv", "{out}"],
    "jsonl": ["export", "{a}", "--to", "jsonl", "{out}"],
    "hf": ["export", "{a}", "--to", "hf", "{out}"],
    "webdataset": ["export", "{a}", "--to", "webdataset", "{out}"],
    "compare": ["compare", "{a}", "{b}"],
}


def rows(count: int, seed: int) -> Iterator[Written]:
    random = Random(seed)
    for number in range(count):
        words = 30 if number % 3 else 30 + seed
        text = " ".join(random.choices(WORDS, k=words))
        label = random.choice(["cat", "dog", "none"])
        yield Written(f"item-{number}", text, f'{{"label": "{label}", "indoors": true}}')


def peak(arguments: list[str]) -> tuple[float, float]:
    """(MB of memory at most, seconds) of a command."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(
        resource.RUSAGE_CHILDREN
    ).ru_maxrss / 1024, time.perf_counter() - begun


def main(counts: list[int]) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_run(Path(folder, "a"), rows(count, 1), items=count)
            write_run(Path(folder, "b"), rows(count, 2), items=count)
            for name, arguments in COMMANDS.items():
                paths = {"a": f"{folder}/a", "b": f"{folder}/b", "out": f"{folder}/{name}"}
                measured = in_child([part.format(**paths) for part in arguments])
                print(f"{count:>9,} rows  {name:<12} {measured}", flush=True)


def in_child(arguments: list[str]) -> str:
    """A process that measures its one child: the peak of children is over all there were."""
    code = (
        f"from tests.benchmarks.export import peak; print('%5.0f MB %6.1f s' % peak({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


if __name__ == "__main__":
    if sys.argv[1:] and not sys.argv[1].isdigit():
        app()
    else:
        main([int(count) for count in sys.argv[1:]] or [10_000, 100_000])
