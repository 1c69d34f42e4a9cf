"""Reading models.toml, and a user's overlay over it.

A file is first laid over the one before as plain tables, then turned into nouns: an overlay may
say one number and leave the rest as shipped.
"""

from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, field

from omni_batch.catalogue.model import CatalogueEntry, Model, TokenRules, VoiceSet

SHIPPED = Path(__file__).with_name("models.toml")

_OF_A_NAME = {"aliases", "ends", "successor"}
"""What a table that is like another one does not take over."""

Table: TypeAlias = dict[str, Any]
Month: TypeAlias = Annotated[str, Meta(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
T = TypeVar("T")


class Catalogue(CatalogueEntry, frozen=True):
    """All models known, with the date of that knowledge."""

    date: str
    """Month (or day) of the newest material, ISO 8601."""
    models: dict[str, Model]
    """By name; aliases are found by `model`."""
    voice_sets: dict[str, VoiceSet]
    """By the name that models refer to."""
    dialects: dict[str, str]
    """Chinese dialect by voice id."""
    tokens: TokenRules
    """Of a model that is not in `models`."""

    def model(self, name: str) -> Model | None:
        """The model of a name or alias; None where it is unknown."""
        if name in self.models:
            return self.models[name]
        return next((model for model in self.models.values() if name in model.aliases), None)

    def names(self) -> tuple[str, ...]:
        """Every name and alias, in the order of the file."""
        models = self.models.values()
        return tuple(dict.fromkeys(n for model in models for n in (model.name, *model.aliases)))


class _Sheet(CatalogueEntry, frozen=True):
    """One file, or several laid over one another, with all its tables still plain."""

    date: Month | None = None
    voices: dict[str, Table] = field(default_factory=dict)
    dialects: dict[str, str] = field(default_factory=dict)
    tokens: Table = field(default_factory=dict)
    bases: dict[str, Table] = field(default_factory=dict)
    models: dict[str, Table] = field(default_factory=dict)


class _Readings(msgspec.Struct):
    """A dispute with its readings still plain; its other keys are looked at later."""

    readings: list[Table]


@cache
def catalogue() -> Catalogue:
    """The shipped catalogue, read once."""
    return load_catalogue()


def load_catalogue(overlay: Path | None = None) -> Catalogue:
    """Read the shipped catalogue and lay a user's file over it.

    Args:
        overlay: a TOML file of the shape of models.toml. Its tables are merged key by key, its
            lists replace; a table under an alias makes that name a model of its own; a new model
            may begin with `like = "<a known model>"`.

    Raises:
        ValueError: a file is not TOML, has an unknown key or a value that cannot be; the message
            names the file, the table and the key.
        OSError: the overlay cannot be read.
    """
    sheet = _Sheet()
    path = SHIPPED
    try:
        for path in (SHIPPED,) if overlay is None else (SHIPPED, overlay):
            sheet = _lay(sheet, msgspec.toml.decode(path.read_bytes(), type=_Sheet))
        return _build(sheet)
    except (ValueError, msgspec.DecodeError) as exc:
        # The shipped file is sound by test, so what fails after the merge is the overlay's doing.
        raise ValueError(f"{path}: {exc}") from exc
    except RecursionError:
        raise ValueError(f"{path}: it is nested too deeply; make it flatter") from None


def _lay(under: _Sheet, over: _Sheet) -> _Sheet:
    """Put one sheet over another, each `like` replaced by what it stands for."""
    bases, models = dict(under.bases), dict(under.models)
    for tables, kind, added in ((bases, "bases", over.bases), (models, "models", over.models)):
        for name, table in added.items():
            start = _start(name, table, bases | models, f"{kind}.{name}")
            tables[name] = _merge(start, {k: v for k, v in table.items() if k != "like"})
    return _Sheet(
        date=over.date or under.date,
        voices=_merge(under.voices, over.voices),
        dialects=under.dialects | over.dialects,
        tokens=under.tokens | over.tokens,
        bases=bases,
        models=models,
    )


def _start(name: str, table: Table, known: dict[str, Table], where: str) -> Table:
    """What a table begins with: its `like`, itself as known so far, or its alias's owner."""
    if "like" not in table and name in known:
        return known[name]
    like = table.get("like", _owner(name, known))
    if like is None:
        return {}
    if not isinstance(like, str) or like not in known:
        raise ValueError(f"{where}.like = {like!r}: no table of that name comes before it")
    own = _OF_A_NAME if "like" in table else {"aliases"}
    return {key: value for key, value in known[like].items() if key not in own}


def _owner(alias: str, known: dict[str, Table]) -> str | None:
    """The table that lists an alias; anything but a list is refused later, with its path."""
    lists = ((name, table.get("aliases")) for name, table in known.items())
    return next((name for name, names in lists if isinstance(names, list) and alias in names), None)


def _merge(under: Table, over: Table) -> Table:
    """Merge tables key by key, down to the values."""
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _merge(below, value)
        merged[key] = value
    return merged


def _build(sheet: _Sheet) -> Catalogue:
    """Turn plain tables into nouns."""
    voice_sets = {
        name: _convert(table, VoiceSet, f"voices.{name}") for name, table in sheet.voices.items()
    }
    models = {name: _model(name, table, sheet, voice_sets) for name, table in sheet.models.items()}
    _refuse_shared_aliases(models)
    return Catalogue(
        date=sheet.date or "",
        models=models,
        voice_sets=voice_sets,
        dialects=sheet.dialects,
        tokens=_convert(sheet.tokens, TokenRules, "tokens"),
    )


def _model(name: str, table: Table, sheet: _Sheet, voice_sets: dict[str, VoiceSet]) -> Model:
    """Make a Model, with common token rules filled in and the voices of its voice set."""
    where = f"models.{name}"
    facts = _merge({"tokens": sheet.tokens}, {**table, "name": name})
    if "voices" in table:
        voices = _voice_set(table["voices"], voice_sets, where)
        facts = {"default_voice": voices.default, **facts, "voices": voices.ids}
    facts["disputes"] = _disputes(facts, voice_sets, f"{where}.disputes")
    return _convert(facts, Model, where)


def _disputes(facts: Table, voice_sets: dict[str, VoiceSet], where: str) -> Table:
    """Those with readings: an empty list settles one."""
    plain = facts.get("disputes", {})
    complete = partial(_reading, tokens=facts["tokens"], voice_sets=voice_sets, where=where)
    return {
        point: plain[point] | {"readings": [complete(reading) for reading in found.readings]}
        for point, found in _convert(plain, dict[str, _Readings], where).items()
        if found.readings
    }


def _reading(reading: Table, tokens: Any, voice_sets: dict[str, VoiceSet], where: str) -> Table:
    """A reading with the ids of its voice set and whole token rules."""
    voices, own = reading.get("voices"), reading.get("tokens")
    if voices is not None:
        reading = reading | {"voices": _voice_set(voices, voice_sets, where).ids}
    if isinstance(own, dict) and isinstance(tokens, dict):
        reading = reading | {"tokens": tokens | own}
    return reading


def _voice_set(name: Any, voice_sets: dict[str, VoiceSet], where: str) -> VoiceSet:
    voices = voice_sets.get(str(name))
    if voices is None:
        raise ValueError(f"{where}.voices = {name!r}: no such voice set")
    return voices


def _convert(table: Any, noun: type[T], where: str) -> T:
    """Check a table against a noun; msgspec's own message names the key."""
    try:
        return msgspec.convert(table, noun)
    except msgspec.ValidationError as exc:
        raise ValueError(f"[{where}] {exc}") from exc


def _refuse_shared_aliases(models: dict[str, Model]) -> None:
    """Refuse an alias that would mean two models."""
    counts = Counter(alias for model in models.values() for alias in model.aliases)
    shared = sorted(alias for alias, count in counts.items() if count > 1)
    if shared:
        raise ValueError(f"alias {shared[0]!r} belongs to more than one model")
