"""What a round does, drawn from its seed alone: the same seed draws the same round."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault at its instant."""

    fault: str
    """Name of it in `faults.FAULTS`."""
    after_s: float
    """Since the first request of its process, or since its start."""
    from_start: bool
    for_s: float
    """How long it lasts, where it lasts."""
    luck: float
    """0 to 1: which of several files it meets, and how much of it."""


@dataclass(frozen=True, slots=True)
class LifePlan:
    """One process, and what is done to it."""

    means: tuple[Strike, ...]
    """What it is short of from its start."""
    strikes: tuple[Strike, ...]
    """While it lives."""
    after: tuple[Strike, ...]
    """When it is dead."""
    terminal: bool
    prefect: bool


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """A run and its lives; after the last one it is resumed in peace until it is finished."""

    number: int
    items: int
    in_flight: int
    adaptive: bool
    """A rate that was learned from 429s makes the rest of a run slow."""
    shard_size: int
    first_chunk_s: float
    chunk_interval_s: float
    max_attempts: int
    durability: str
    lives: tuple[LifePlan, ...]
    retry: LifePlan
    """What is done to the first retry of items that failed, if any did."""


Weights = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Menu:
    """Names of faults by when they strike, each with how often it is drawn."""

    means: Weights
    deadly: Weights
    """While the process lives, which ends by it."""
    passing: Weights
    """The same, and it goes on."""
    after: Weights


def draw(seed: int, number: int, menu: Menu, *, prefect_share: float) -> RoundPlan:
    """The plan of a round."""
    chance = Random(f"{seed}/{number}")
    lives = chance.randint(4, 7)
    return RoundPlan(
        number=number,
        items=chance.randint(100, 220),
        in_flight=chance.choice((3, 6, 12, 24)),
        adaptive=chance.random() < 0.5,
        shard_size=chance.choice((10, 20, 40)),
        first_chunk_s=chance.uniform(0.1, 0.5),
        chunk_interval_s=chance.choice((0.0, 0.01, 0.04)),
        max_attempts=chance.choice((1, 3, 5)),
        durability=chance.choice(("process", "process", "disk")),
        lives=tuple(_life(chance, menu, prefect_share) for _ in range(lives)),
        retry=_life(chance, menu, 0.0),
    )


def _life(chance: Random, menu: Menu, prefect_share: float) -> LifePlan:
    prefect = chance.random() < prefect_share
    passing = [_strike(chance, menu.passing) for _ in range(chance.choice((1, 1, 2)))]
    deadly = [_strike(chance, menu.deadly)]
    return LifePlan(
        means=_some(chance, menu.means, 0.0 if prefect else 0.25),
        strikes=(*passing, *deadly),
        after=_some(chance, menu.after, 0.4),
        terminal=chance.random() < 0.5,
        prefect=prefect,
    )


def _some(chance: Random, weights: Weights, share: float) -> tuple[Strike, ...]:
    return (_strike(chance, weights),) if weights and chance.random() < share else ()


def _strike(chance: Random, weights: Weights) -> Strike:
    (name,) = chance.choices(list(weights), list(weights.values()))
    from_start = chance.random() < 0.15
    return Strike(
        fault=name,
        after_s=chance.uniform(0, 3) if from_start else chance.expovariate(1.2),
        from_start=from_start,
        for_s=chance.uniform(0.5, 5),
        luck=chance.random(),
    )
