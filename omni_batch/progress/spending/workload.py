"""How much work there is: requests by what each will take, which add up. Pure."""

from dataclasses import dataclass, field

from omni_batch.catalogue.tokens import PromptEstimate


@dataclass(frozen=True, slots=True)
class Range:
    """A number that is not known yet, such as tokens of an answer: at least, likely, at most."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, more: "Range") -> "Range":
        return Range(self.low + more.low, self.likely + more.likely, self.high + more.high)

    def times(self, factor: float) -> "Range":
        """All three multiplied."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def capped(self, most: float) -> "Range":
        """None of the three above a limit."""
        return Range(min(self.low, most), min(self.likely, most), min(self.high, most))


Group = tuple[str, bool]
"""Where requests go, and whether they ask for speech: such ones have one price."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one group."""

    items: int = 0
    prompt: PromptEstimate = field(default_factory=PromptEstimate)
    answers: Range = field(default_factory=Range)
    """Completion tokens by first guess."""

    def __add__(self, more: "Workload") -> "Workload":
        return Workload(
            self.items + more.items, self.prompt + more.prompt, self.answers + more.answers
        )

    def __sub__(self, less: "Workload") -> "Workload":
        one, other = self.prompt, less.prompt
        prompt = PromptEstimate(
            one.text - other.text,
            one.audio - other.audio,
            one.image - other.image,
            one.video - other.video,
        )
        return Workload(self.items - less.items, prompt, self.answers + less.answers.times(-1))
