"""Streams by the million through the pure path: crashes and false successes must be none.

python -m tests.benchmarks.streams [--streams N] [--seed S]
"""

import argparse
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from omni_batch.errors import OmniBatchError
from tests.support.hostile import Stream, make_stream, read

_BATCH = 5_000


@dataclass
class Score:
    """What became of some streams."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """success, or the kind of error."""
    wrong: Counter[str] = field(default_factory=Counter)
    """What must not be: by what happened and what was done to the stream."""
    examples: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""

    def add(self, other: "Score") -> None:
        """Take in another's."""
        self.outcomes += other.outcomes
        self.wrong += other.wrong
        self.examples += other.examples
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


def judge(seed: int, score: Score) -> None:
    """Make the stream of a seed, read it, and hold the outcome against what the maker knows."""
    stream, pieces = make_stream(random.Random(seed))
    answer, begun_s = ("", 0), time.perf_counter()
    try:
        response, sound_bytes = read(pieces, wants_audio=stream.wants_audio)
        outcome, answer = "success", (response.text, sound_bytes)
    except OmniBatchError as exc:
        outcome = exc.kind
    except Exception as exc:
        outcome = f"crash ({type(exc).__name__})"
    took_s = time.perf_counter() - begun_s
    if took_s > score.slowest_s:
        score.slowest_s, score.slowest = took_s, f"{stream.mutation}, seed {seed}"
    score.outcomes[outcome] += 1
    if wrong := _wrong(outcome, stream, answer):
        score.wrong[f"{wrong}: {stream.mutation}"] += 1
        score.examples.append(f"{wrong}: {stream.mutation}, seed {seed}")


def _wrong(outcome: str, stream: Stream, answer: tuple[str, int]) -> str | None:
    if outcome.startswith("crash"):
        return outcome
    match stream.truth, outcome == "success":
        case "broken", True:
            return "false success"
        case "whole", False:
            return "false failure"
        case "whole", True if answer != (stream.text, 2 * stream.samples):
            return "wrong answer"
        case _:
            return None


def _batch(first: int) -> Score:
    score = Score()
    for seed in range(first, first + _BATCH):
        judge(seed, score)
    return score


def main() -> int:
    """Print the counts; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first stream; then they count")
    arguments = parser.parse_args()
    total, begun_s, done = Score(), time.monotonic(), 0
    firsts = range(arguments.seed, arguments.seed + arguments.streams, _BATCH)
    with multiprocessing.Pool(os.cpu_count()) as pool:
        for score in pool.imap_unordered(_batch, firsts):
            total.add(score)
            done += _BATCH
            print(f"\r{done:,} streams", end="", file=sys.stderr, flush=True)
    took_s = time.monotonic() - begun_s
    print(f"\n{done:,} streams from seed {arguments.seed} in {took_s:.0f} s")
    for outcome, count in total.outcomes.most_common():
        print(f"  {outcome:20} {count:>10,}")
    print(f"slowest: {total.slowest_s * 1000:.0f} ms ({total.slowest})")
    print(f"wrong: {sum(total.wrong.values())}")
    for wrong, count in total.wrong.most_common():
        print(f"  {wrong:40} {count:>8,}")
    for example in total.examples[:10]:
        print(f"  {example}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
