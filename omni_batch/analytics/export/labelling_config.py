"""The form in which annotators see and mend annotations: Label Studio's labelling config.

Rules are those of label-studio-sdk 2.1.2 (`LabelInterface`, `control_tags`): a region's `type` is
its control's tag in small letters, and its value has the key `choices`, `number`, `datetime`, or
`text` for a TextArea; choices and texts are lists. Names are unique over all tags.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from omni_batch.analytics.export.own_columns import unique_name
from omni_batch.analytics.export.rows import Inputs, encode_row
from omni_batch.annotation.shape import Shape
from omni_batch.errors import ConfigError

PROMPT = "prompt"
_BOOLEANS = ("true", "false")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBERS = ("integer", "number")


@dataclass(frozen=True, slots=True)
class Shown:
    """Something that annotators look at: its tag, and the member of a task's data that has it."""

    tag: str
    key: str
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """One control, and where in an annotation its value is."""

    name: str
    shape: Shape
    path: tuple[str, ...] = ()
    description: str = ""

    @property
    def tag(self) -> str:
        """Of the config."""
        if self._choices:
            return "Choices"
        if self.shape.kind in _NUMBERS:
            return "Number"
        return "DateTime" if self.shape.kind == "date" else "TextArea"

    @property
    def _is_list(self) -> bool:
        return self.shape.kind == "list"

    @property
    def _choices(self) -> tuple[str, ...]:
        if self.shape.kind == "boolean":
            return _BOOLEANS
        if self._is_list and self.shape.item:
            return self.shape.item.labels
        return self.shape.labels

    def value(self, annotation: Any) -> dict[str, Any] | None:
        """What a region of a prediction holds; None where the annotation says nothing."""
        found = annotation
        for name in self.path:
            found = None if found is None else found[name]
        if found is None or found == []:
            return None
        match self.tag:
            case "Choices":
                chosen = found if self._is_list else [_text(found)]
                return {"choices": list(dict.fromkeys(chosen))}
            case "Number":
                return {"number": found}
            case "DateTime":
                return {"datetime": _text(found)}
        return {"text": [_text(each) for each in found] if self._is_list else [_text(found)]}

    def element(self, shown: str) -> ElementTree.Element:
        """The control's element, beside what is `shown`."""
        element = ElementTree.Element(self.tag, name=_plain(self.name), toName=shown)
        match self.tag:
            case "Choices":
                element.set("choice", "multiple" if self._is_list else "single")
                for choice in self._choices:
                    ElementTree.SubElement(element, "Choice", value=_plain(choice))
            case "Number" if self.shape.kind == "integer":
                element.set("step", "1")
            case "DateTime":
                element.set("only", "date")
                element.set("format", "%Y-%m-%d")
            case "TextArea" if not self._is_list:
                element.set("maxSubmissions", "1")
        return element


def controls_of(shape: Shape | None) -> tuple[Control, ...]:
    """A control for each member of an annotation; one for the text where there is no schema."""
    if shape is None:
        return (Control("text", Shape("text")),)
    if shape.members is None:
        return (Control("annotation", shape, (), shape.description),)
    found: dict[str, Control] = {}
    for path, member in _leaves(shape, ()):
        name = unique_name(".".join(path), found)
        found[name] = Control(name, member, path, member.description)
    return tuple(found.values())


def _leaves(shape: Shape, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Shape]]:
    for name, member in (shape.members or {}).items():
        if member.members is not None:
            yield from _leaves(member, (*path, name))
        else:
            yield (*path, name), member


def shown_of(inputs: Inputs) -> tuple[Shown, ...]:
    """What annotators of a run look at: its media, then its prompts."""
    image = Shown("Image", "images", is_list=True) if inputs.images > 1 else Shown("Image", "image")
    found = {
        image: inputs.images > 0,
        Shown("Image", "frames", is_list=True): inputs.frames,
        Shown("Audio", "audio"): inputs.audio,
        Shown("Video", "video"): inputs.video,
        Shown("Text", PROMPT): True,
    }
    return tuple(shown for shown, is_there in found.items() if is_there)


def shown_names(shown: Collection[Shown], controls: Collection[Control]) -> dict[str, str]:
    """Key of the data → name of its tag, which no control has."""
    taken = {control.name for control in controls}
    return {each.key: unique_name(each.key, taken) for each in shown}


def labelling_config(shown: Collection[Shown], controls: Collection[Control]) -> str:
    """The XML.

    Raises:
        ConfigError: a name or label holds a character that XML has not.
    """
    view = ElementTree.Element("View")
    names = shown_names(shown, controls)
    for each in shown:
        element = ElementTree.SubElement(view, each.tag, name=names[each.key])
        element.set("valueList" if each.is_list else "value", f"${each.key}")
    first = next(iter(names.values()))
    for control in controls:
        title = ": ".join(filter(None, (control.name, control.description)))
        ElementTree.SubElement(view, "Header", value=_plain(title), size="5")
        view.append(control.element(first))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _plain(text: str) -> str:
    if _NOT_XML.search(text):
        raise ConfigError(f"{text!r} can't stand in a labelling config: XML has no such character")
    return text


def _text(value: Any) -> str:
    """As JSON has it, but texts and days without quotes."""
    return value if isinstance(value, str) else encode_row(value).decode().strip('"')
