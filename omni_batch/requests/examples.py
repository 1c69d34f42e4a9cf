"""`request.examples` of a config → the turns that go before those of every row."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from omni_batch.annotation.convert import Violation
from omni_batch.annotation.read import read_annotation
from omni_batch.annotation.schema import AnnotationSchema
from omni_batch.config import Config, ExampleConfig, Target
from omni_batch.config.plain import unsendable
from omni_batch.errors import ConfigError, ManifestError, MediaError
from omni_batch.requests.media import MediaLoader
from omni_batch.requests.messages import messages_of
from omni_batch.requests.placeholders import refuse_lost_media
from omni_batch.requests.prompt import PromptTemplate
from omni_batch.requests.prompt.spelling import spelling
from omni_batch.text import did_you_mean
from omni_batch.types import Item, Media, Message, media_of


@dataclass(frozen=True, slots=True)
class Examples:
    """What is shown to the model before each row. The same in all requests of a run."""

    turns: tuple[Message, ...] = ()
    """A user's and an assistant's for each example, their media not loaded yet."""
    media: Mapping[Media, Media] = field(default_factory=dict)
    """All media in them, found and probed; those behind URLs only found."""

    def loaded(self) -> tuple[Message, ...]:
        """The turns with their media."""
        return tuple(turn.with_media(self.media) for turn in self.turns)


def read_examples(
    config: Config,
    template: PromptTemplate | None,
    annotation: AnnotationSchema | None,
    loader: MediaLoader,
) -> Examples:
    """The examples of a config, their files looked at.

    Raises:
        ConfigError: one can't be used; names its number, from 1.
    """
    turns: list[Message] = []
    media: dict[Media, Media] = {}
    for number, example in enumerate(config.request.examples, 1):
        try:
            question = _question(example, template, config.manifest.columns)
            media |= {found: loader.load_now(found) for found in media_of(question)}
            said = Message("assistant", (_answer(example.answer, annotation),))
            turns += (replace(turn, is_example=True) for turn in (*question, said))
        except (ConfigError, ManifestError, MediaError) as exc:
            why = str(exc)
            if why.endswith(" the manifest"):  # where a reference of a row is to be corrected
                why = why.removesuffix("manifest") + "config"
            raise ConfigError(f"request.examples, example {number}: {why}") from None
    return Examples(tuple(turns), media)


def _question(
    example: ExampleConfig, template: PromptTemplate | None, columns: Mapping[Target, str]
) -> tuple[Message, ...]:
    """The user's turn, made as that of a row."""
    template = None if example.prompt else template
    given = dict(_given(example, columns))
    _refuse_unknown(example, template)
    if template and (missing := template.missing(given)):
        raise ConfigError(
            f"request.prompt needs {{{{ {missing[0]} }}}}: give the example a member "
            f"{missing[0]}, or a prompt of its own"
        )
    if not (example.prompt or template or _media_of(example)):
        raise ConfigError("it asks nothing: give it a prompt or a medium, or set request.prompt")
    item = Item("", 0, prompt=example.prompt, **_media_of(example))
    turns = messages_of(item, template.render(given) if template else None)
    refuse_lost_media(turns)
    return turns


def _media_of(example: ExampleConfig) -> dict[str, Any]:
    names = ("image", "audio", "video", "frames")
    return {name: value for name in names if (value := getattr(example, name))}


def _given(example: ExampleConfig, columns: Mapping[Target, str]) -> Iterator[tuple[str, Any]]:
    """Its members by the names that a template may use for them, as a row has them."""
    own = example.model_fields_set & ExampleConfig.model_fields.keys() - {"answer"}
    for name in sorted(own):
        yield name, getattr(example, name)
        if (column := columns.get(cast(Target, name))) is not None:
            yield column, getattr(example, name)
    yield from example.variables.items()


def _refuse_unknown(example: ExampleConfig, template: PromptTemplate | None) -> None:
    variables = template.variables if template else frozenset[str]()
    for name, value in example.variables.items():
        if why := next(unsendable(value, name), None):
            raise ConfigError(why)
        if name not in variables and spelling(name) not in variables:
            known = sorted(variables.union(ExampleConfig.model_fields))
            own = " (its prompt is no template)" if example.prompt else ""
            raise ConfigError(
                f"unknown member {name}{own}; {did_you_mean(name, known, 'known members')}"
            )


def _answer(answer: Any, annotation: AnnotationSchema | None) -> str:
    """What the assistant is made to have said; with a schema, nothing that needs a repair."""
    if annotation is None and isinstance(answer, str):
        return answer
    text = json.dumps(answer, ensure_ascii=False)
    if annotation is None:
        return text
    try:
        read = read_annotation(text, annotation)
    except Violation as exc:
        raise ConfigError(f"its answer breaks the schema of annotation: {exc}") from None
    if read.doubts:
        raise ConfigError(
            f"its answer is not quite what the schema of annotation asks for "
            f"({read.doubts[0].message}): write it as the schema does"
        )
    return text
