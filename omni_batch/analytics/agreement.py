"""How far two raters agree on typed answers, and how right one is by a truth. Pure.

Each field of a schema is compared by what it is: labels by name, numbers by distance, lists as
sets. Pairs with a missing side don't count. What is held are counts of labels and sums, never rows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from omni_batch.annotation.shape import Shape

_LABELS = ("label", "boolean")
_NUMBERS = ("integer", "number")
_FEW_TEXTS = 20
_EXACT = 2**53
"""Below it a double holds every whole number."""
_MOST_PAIRS = 10_000
"""Of different labels; beyond them a field is no choice among few, and is left out."""

Pairs = Counter[tuple[Any, Any]]
Path = tuple[str, ...]
"""Of a field: the members that lead to it."""


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """How well one label is found. None where it is not defined."""

    label: str
    precision: float | None
    """Of those said to be it: how many are. None if nobody said so."""
    recall: float | None
    """Of those that are: how many were said to be. None if there are none."""
    f1: float
    support: int
    """How many there are by the truth."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two sides on one field. What does not apply to its kind is None."""

    field: str
    items: int
    """In which both sides have a value."""
    agreed: int | None = None
    kappa: float | None = None
    """Cohen's: 1 is full agreement, 0 what chance gives; None where both sides know one value."""
    confusion: tuple[tuple[str, str, int], ...] = ()
    """Labels of the left and the right side, and how often they met."""
    mean_error: float | None = None
    """Right minus left."""
    mean_absolute_error: float | None = None
    jaccard: float | None = None
    """Shared over all elements, as sets, the mean of all items; two empty lists agree."""


class _Tally(Protocol):
    def add(self, left: Any, right: Any) -> None: ...

    def agreement(self, name: str) -> Agreement | None: ...


@dataclass(slots=True)
class LabelTally:
    """Counts how often each pair of labels met."""

    is_text: bool = False
    """Free text: labels only where there are few different ones."""
    pairs: Pairs = field(default_factory=Counter)
    is_open: bool = False
    """Too many different ones."""

    def add(self, left: Any, right: Any) -> None:
        """Take one item."""
        if not self.is_open:
            self.pairs[label_of(left), label_of(right)] += 1
            self.is_open = len(self.pairs) > _MOST_PAIRS

    def agreement(self, name: str) -> Agreement | None:
        """What it comes to."""
        values = {label for pair in self.pairs for label in pair}
        few = len(values) <= min(_FEW_TEXTS, self.pairs.total())
        if self.is_open or (self.is_text and not few):
            return None
        return Agreement(
            name,
            self.pairs.total(),
            agreed=self.agreed,
            kappa=cohens_kappa(self.pairs),
            confusion=tuple((*pair, count) for pair, count in sorted(self.pairs.items())),
        )

    @property
    def agreed(self) -> int:
        """Items in which both sides have one label."""
        return sum(count for (left, right), count in self.pairs.items() if left == right)

    def accuracy(self) -> float | None:
        """The share of items that agree; None without any."""
        return self.agreed / self.pairs.total() if self.pairs else None

    def classes(self) -> Iterator[ClassFigures]:
        """Of each label of both sides, the left one being the truth."""
        true, said = Counter[str](), Counter[str]()
        for (left, right), count in self.pairs.items():
            true[left] += count
            said[right] += count
        for label in sorted(true | said):
            hits = self.pairs[label, label]
            yield ClassFigures(
                label,
                precision=hits / said[label] if said[label] else None,
                recall=hits / true[label] if true[label] else None,
                f1=2 * hits / (true[label] + said[label]),
                support=true[label],
            )


@dataclass(slots=True)
class NumberTally:
    """Sums of differences."""

    items: int = 0
    error: float = 0.0
    absolute_error: float = 0.0

    def add(self, left: Any, right: Any) -> None:
        """Take one item."""
        self.items += 1
        self.error += right - left
        self.absolute_error += abs(right - left)

    def agreement(self, name: str) -> Agreement:
        """What it comes to."""
        if not self.items:
            return Agreement(name, 0)
        means = self.error / self.items, self.absolute_error / self.items
        return Agreement(name, self.items, mean_error=means[0], mean_absolute_error=means[1])


@dataclass(slots=True)
class ListTally:
    """Sums of overlaps."""

    items: int = 0
    overlap: float = 0.0

    def add(self, left: Any, right: Any) -> None:
        """Take one item."""
        one, other = set(map(label_of, left)), set(map(label_of, right))
        self.items += 1
        self.overlap += len(one & other) / len(one | other) if one | other else 1.0

    def agreement(self, name: str) -> Agreement:
        """What it comes to."""
        mean = self.overlap / self.items if self.items else None
        return Agreement(name, self.items, jaccard=mean)


def tally_of(shape: Shape) -> _Tally | None:
    """What compares two values of a shape; None where there is nothing to compare by."""
    if shape.kind in _LABELS or (shape.kind in _NUMBERS and shape.numbers):
        return LabelTally()
    if shape.kind in _NUMBERS:
        return NumberTally()
    if shape.kind == "text":
        return LabelTally(is_text=True)
    if shape.kind == "list" and shape.item and shape.item.kind in ("label", "text", *_NUMBERS):
        return ListTally()
    return None


class Comparer:
    """Takes the annotations of two sides, item by item.

    Args:
        left, right: their shapes; fields of one kind in both are compared.
    """

    def __init__(self, left: Shape, right: Shape) -> None:
        other = dict(fields_of(right))
        self._tallies = {
            path: tally
            for path, shape in fields_of(left)
            if path in other and other[path].kind == shape.kind and (tally := tally_of(shape))
        }

    def add(self, left: Any, right: Any) -> None:
        """Take one item; None is a side without an annotation."""
        for path, tally in self._tallies.items():
            one, other = value_at(left, path), value_at(right, path)
            if one is not None and other is not None:
                tally.add(one, other)

    def agreements(self) -> list[Agreement]:
        """Of all fields, in the order of the schema."""
        found = (tally.agreement(field_name(path)) for path, tally in self._tallies.items())
        return [agreement for agreement in found if agreement is not None]


def fields_of(shape: Shape, path: Path = ()) -> Iterator[tuple[Path, Shape]]:
    """Fields by their paths, those of objects within objects too; the root's is empty."""
    if shape.kind != "object":
        yield path, shape
        return
    for name, member in (shape.members or {}).items():
        yield from fields_of(member, (*path, name))


def field_name(path: Path) -> str:
    """Its members joined by dots; `annotation` where the answer is not an object."""
    return ".".join(path) or "annotation"


def value_at(value: Any, path: Path) -> Any:
    """The value of a field; None where it or what holds it is missing."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def cohens_kappa(pairs: Mapping[tuple[Any, Any], int]) -> float | None:
    """Agreement beyond chance (Cohen 1960), from how often each pair of values was given."""
    total = sum(pairs.values())
    if not total:
        return None
    left, right = Counter[Any](), Counter[Any]()
    for (a, b), count in pairs.items():
        left[a] += count
        right[b] += count
    observed = sum(count for (a, b), count in pairs.items() if a == b) / total
    expected = sum(left[value] * right[value] for value in left) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def confusion_matrix(
    confusion: Iterable[tuple[str, str, int]],
) -> tuple[list[str], list[list[int]]]:
    """Labels of both sides, and for each of the left ones how often it met each of the right."""
    counts = {(left, right): count for left, right, count in confusion}
    labels = sorted({label for pair in counts for label in pair})
    return labels, [[counts.get((one, other), 0) for other in labels] for one in labels]


def krippendorffs_alpha(within: float | None, overall: float | None) -> float | None:
    """Agreement beyond chance of several answers to each question (Krippendorff 2004).

    1 - D(observed) / D(expected), where the distance of two labels is 1 or 0, and that of two
    numbers the square of their difference.

    Args:
        within: how far two answers to one question are apart, the mean over all answers.
        overall: how far two answers are apart, whatever was asked.

    Returns:
        1 is full agreement, 0 what chance gives; None where all answers are the same one, or no
        question has two.
    """
    return 1 - within / overall if within is not None and overall else None


def label_of(value: Any) -> str:
    """A value by name: true is not 1, and 1.0 is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.0f}" if _is_whole(value) else str(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
