"""Where a recording that is too long is cut. Pure."""

import math
from collections.abc import Sequence

_SEARCHED = 0.25
"""Share of a window, at its end, that is searched for a silence."""


def cut_windows(
    total: int, silences: Sequence[tuple[int, int]], longest: int, overlap: int
) -> list[tuple[int, int]]:
    """Begin and end of each window in samples. Together they cover all; each repeats some of the
    one before.

    A window ends within the longest silence of its last quarter, else at its longest length.
    """
    overlap = min(overlap, longest // 4)
    windows, begin = [], 0
    while total - begin > longest:
        end = _end(begin, silences, longest, overlap)
        windows.append((begin, end))
        begin = end - overlap
    return [*windows, (begin, total)]


def _end(begin: int, silences: Sequence[tuple[int, int]], longest: int, overlap: int) -> int:
    least, most = begin + round(longest * (1 - _SEARCHED)), begin + longest
    within = [(max(start, least), min(stop, most)) for start, stop in silences]
    found = [(stop - start, start, stop) for start, stop in within if stop > start]
    if not found:
        return most
    _, start, stop = max(found)
    return min(most, (start + stop + overlap) // 2)


def even_windows(seconds: float, longest_s: float, overlap_s: float) -> list[tuple[float, float]]:
    """Begin and length of windows in seconds, before it is known where it is silent."""
    step_s = longest_s - min(overlap_s, longest_s / 4)
    count = max(1, 1 + math.ceil((seconds - longest_s) / step_s))
    begins = [place * step_s for place in range(count)]
    return [(begin_s, min(longest_s, seconds - begin_s)) for begin_s in begins]
