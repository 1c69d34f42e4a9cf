"""CheckedItems: the rows of a manifest, each known to be a question, or all of them refused.

A row becomes an item for each variant and sample, next to each other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from omni_batch.doubts import Doubt
from omni_batch.errors import ConfigError, ManifestError, OmniBatchError
from omni_batch.planning.fitness.config import named, said_of
from omni_batch.planning.fitness.stores import StoresReached
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import fill_in
from omni_batch.requests.manifest import TARGETS, Manifest, ManifestRow
from omni_batch.requests.messages import messages_of
from omni_batch.types import MEDIA_COLUMNS, Item, Message, kind_of, media_of

_SHOWN_AT_MOST = 5  # problems, in one message
_TEXTS = tuple(target for target in TARGETS if target not in MEDIA_COLUMNS)


class CheckedItems:
    """Goes through the manifest once. A row that can't be asked refuses all, at the end.

    Iterating raises:
        ConfigError: the template needs a column that a row lacks.
        ManifestError: rows that can't be used, columns that nothing reads although they hold media,
            or no rows at all. Names the first of each kind, and how many there are.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan, self._asked = plan, plan.by_variant()
        templates = [asked.template for asked in self._asked.values() if asked.template]
        variables = frozenset[str]().union(*(template.variables for template in templates))
        self._manifest = Manifest(plan.config.manifest, plan.base_folder, variables, plan.sources)
        self._columns: dict[str | None, tuple[str, ...]] = {}
        self._problems = _Problems()
        self._questions = {name: _Questions(asked) for name, asked in self._asked.items()}
        self._overruled = _Overruled(plan)
        self._stores = StoresReached(plan.loader())

    def __iter__(self) -> Iterator[Item]:
        config, number = self._plan.config, -1
        for number, row in enumerate(islice(self._manifest.rows(), config.limit)):
            item = self._checked(row, number)
            if item is not None and not self._problems:
                yield from self._plan.items_of(item)
        if refusals := self._manifest.refusals():
            raise ManifestError("; ".join([*refusals, *self._problems.texts()]))
        self._problems.refuse()
        if number < 0:
            raise ManifestError(f"manifest {config.manifest.path} has no rows")
        self._stores.refuse()

    def doubts(self) -> tuple[Doubt, ...]:
        """What was decided for the user in the rows read so far."""
        questions = said_of({name: asked.doubts() for name, asked in self._questions.items()})
        return (*self._manifest.doubts(), *questions, *self._overruled.doubts())

    def _checked(self, row: ManifestRow, number: int) -> Item | None:
        try:
            item, suspects = self._manifest.read(row, number)
            turns, *_ = [self._turns(item, row, name) for name in self._asked]
        except (ConfigError, ManifestError) as exc:
            self._problems.add(row.where, exc)
            return None
        for questions in self._questions.values():
            questions.see(item, turns)
        self._overruled.see(item)
        self._stores.see(media_of(turns))
        if suspects and not self._manifest.judge(row, suspects, _given(item, turns)):
            return None
        return item

    def _turns(self, item: Item, row: ManifestRow, variant: str | None) -> tuple[Message, ...]:
        """What a variant asks, before its prompt is filled in."""
        try:
            if item.prompt is None:
                self._check_columns(variant, tuple(row.cells))
            return messages_of(item, self._asked[variant].config.request.prompt)
        except (ConfigError, ManifestError) as exc:
            if len(self._asked) == 1:
                raise
            raise type(exc)(f"variant {variant}: {exc}") from None

    def _check_columns(self, variant: str | None, columns: tuple[str, ...]) -> None:
        """Rows of most formats have the same columns: what was right once is right."""
        template = self._asked[variant].template
        if template is not None and columns != self._columns.get(variant):
            renamed = self._plan.config.manifest.columns
            template.check_columns({*columns, *renamed, "item_id"})
            self._columns[variant] = columns


def _given(item: Item, turns: Sequence[Message]) -> set[str]:
    """Kinds of media, and the row's own texts by column."""
    kinds: set[str] = {kind_of(part) for turn in turns for part in turn.parts}
    return kinds.union(name for name in _TEXTS if getattr(item, name) is not None)


class _Questions:
    """Finds out whether all rows ask the very same."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._first: tuple[str | None, ...] | None = None
        self._rows = 0
        self._differ = False

    def see(self, item: Item, turns: Sequence[Message]) -> None:
        """Take in a row."""
        if self._differ:
            return
        question = self._question(item, turns)
        self._differ = question is None or (self._rows > 0 and question != self._first)
        self._first = question
        self._rows += 1

    def _question(self, item: Item, turns: Sequence[Message]) -> tuple[str | None, ...] | None:
        """None where there is more to it than text."""
        if any(kind_of(part) != "text" for turn in turns for part in turn.parts):
            return None
        try:
            text = fill_in(self._plan.template, item, self._plan.config.manifest.columns)
        except OmniBatchError:  # the row's own failure, later
            return None
        return item.prompt, text, item.messages, item.system, item.voice

    def doubts(self) -> Iterator[Doubt]:
        """At the end: nothing, or that they do."""
        if self._rows > 1 and not self._differ:
            yield Doubt(
                "same-question",
                f"all {self._rows:,} rows ask the very same question, without media: do columns of "
                "the manifest have other names than you think, or does request.prompt use none?",
            )


class _Overruled:
    """Counts the rows whose own cells stand in the place of what variants ask."""

    def __init__(self, plan: Plan) -> None:
        self._variants = {
            key: [name for name, own in plan.config.variants.items() if key in own.model_fields_set]
            for key in ("prompt", "system", "voice")
        }
        self._rows = Counter[str]()

    def see(self, item: Item) -> None:
        """Take in a row."""
        for key, variants in self._variants.items():
            if variants and getattr(item, key) is not None:
                self._rows[key] += 1

    def doubts(self) -> Iterator[Doubt]:
        """At the end: one for each such column."""
        for key, rows in self._rows.items():
            variants = self._variants[key]
            whose = f"row has a {key} of its" if rows == 1 else f"rows have a {key} of their"
            yield Doubt(
                "variant-without-effect",
                f"{rows:,} {whose} own, which stands in the place of the {key} of "
                f"{named(variants)}: leave it out of the manifest, or name its column in "
                "manifest.free_columns",
            )


@dataclass(slots=True)
class _Problem:
    where: str
    error: OmniBatchError
    rows: int = 1


class _Problems:
    """Rows that can't be used, by what is wrong with them."""

    def __init__(self) -> None:
        self._shown: dict[str, _Problem] = {}
        self._others = 0

    def __bool__(self) -> bool:
        return bool(self._shown)

    def add(self, where: str, error: OmniBatchError) -> None:
        """Take in a row's problem; equal ones are counted."""
        if (known := self._shown.get(str(error))) is not None:
            known.rows += 1
        elif len(self._shown) < _SHOWN_AT_MOST:
            self._shown[str(error)] = _Problem(where, error)
        else:
            self._others += 1

    def texts(self) -> Iterator[str]:
        """One for each kind."""
        for text, problem in self._shown.items():
            more = f" ({problem.rows:,} such rows)" if problem.rows > 1 else ""
            yield f"{problem.where}: {text}{more}"
        if self._others:
            yield f"{self._others:,} further rows can't be used either"

    def refuse(self) -> None:
        """Raise an error of the first one's type that names all, if there are any."""
        if self._shown:
            first = next(iter(self._shown.values())).error
            raise type(first)("; ".join(self.texts()))
