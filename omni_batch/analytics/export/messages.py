"""JSON lines of chat messages, the form that fine-tuning tools read.

`messages` are turns whose `content` is one text; `<image>`, `<audio>` and `<video>` stand where a
medium comes, and `images`, `audios` and `videos` name the media in that order, by absolute path or
URL. Sources, read in November 2026: ms-swift, "Custom dataset", standard and multimodal format;
LLaMA-Factory, `data/README.md`, OpenAI format. The last turn is the assistant's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from omni_batch.analytics.export.rows import ExportRow, RunReader, encode_row
from omni_batch.annotation.instructions import schema_instruction
from omni_batch.annotation.schema import AnnotationSchema, read_schema
from omni_batch.annotation.shape import Shape
from omni_batch.errors import MediaError
from omni_batch.requests.build import system_message
from omni_batch.requests.media import LARGEST_FILE_BYTES
from omni_batch.requests.media.data_uri import read_data_uri
from omni_batch.requests.messages import messages_of
from omni_batch.store.items import to_item
from omni_batch.text import is_data_uri
from omni_batch.types import Frames, Media, MediaKind, Message, Part

_LISTS: Mapping[MediaKind, str] = {"image": "images", "audio": "audios", "video": "videos"}
_SIGNS: Mapping[MediaKind, str] = {kind: f"<{kind}>" for kind in _LISTS}


def write_messages(reader: RunReader, split: str | None, file: BinaryIO) -> None:
    """Write the items that succeeded, but for those whose texts hold signs of no medium."""
    described = reader.record.annotation_schema
    schema = read_schema(described) if described is not None else None
    unclear = 0
    for row in reader.rows(split, whole=True):
        turns = (*_asked(reader, row, schema), Message("assistant", (_answer(row, schema),)))
        signs, media = _signs(turns), Counter(medium.kind for medium in _media(turns))
        if any(found not in (0, media[kind]) for kind, found in signs.items()):
            unclear += 1
            reader.counts.add(-1, split)
            continue
        file.write(encode_row(_example(reader, row, turns, signs)) + b"\n")
    if shown := len((reader.record.config.get("request") or {}).get("examples") or ()):
        reader.counts.notes.append(
            f"the examples of request.examples ({shown:,}), which went before each item, are left "
            "out"
        )
    if unclear:
        signs_named = ", ".join(_SIGNS.values())
        reader.counts.notes.append(
            f"{unclear:,} items are left out: a text of theirs holds {signs_named} where no medium "
            "is"
        )


def _asked(reader: RunReader, row: ExportRow, schema: AnnotationSchema | None) -> Iterator[Message]:
    """The turns before the answer, with what the model was told of the schema."""
    item = to_item(row.item)
    request = reader.record.request_of(row.values["variant"])
    told = schema_instruction(schema) if schema else None
    if said := system_message(item, request.get("system"), told):
        yield Message("system", (said,))
    yield from messages_of(item, row.values["prompt"])


def _answer(row: ExportRow, schema: AnnotationSchema | None) -> str:
    if schema is None:
        return row.values["text"] or ""
    return encode_row(as_json(row.values["annotation"], schema.shape)).decode()


def as_json(value: Any, shape: Shape) -> Any:
    """A stored annotation as its schema describes it.

    A list of key and value is an object again; the null of a member that may not be null is one
    that is missing.
    """
    if value is None:
        return None
    if shape.members is not None:
        return {
            name: as_json(value[name], member)
            for name, member in shape.members.items()
            if value[name] is not None or member.nullable
        }
    if shape.item is None:
        return value
    if shape.kind == "map":
        return {pair["key"]: as_json(pair["value"], shape.item) for pair in value}
    return [as_json(each, shape.item) for each in value]


def _example(
    reader: RunReader, row: ExportRow, turns: Sequence[Message], signs: Mapping[MediaKind, int]
) -> dict[str, Any]:
    media: dict[str, list[str]] = {name: [] for name in _LISTS.values()}
    for medium in _media(turns):
        media[_LISTS[medium.kind]].append(_address(reader, medium))
    messages = [{"role": turn.role, "content": _content(turn.parts, signs)} for turn in turns]
    return {**row.names, "messages": messages, **media}


def _content(parts: Iterable[Part], signs: Mapping[MediaKind, int]) -> str:
    """Texts on lines of their own, signs right before what follows them."""
    content, after_text = "", False
    for part in parts:
        if isinstance(part, str):
            content += f"\n{part}" if after_text else part
        else:
            content += "".join(_SIGNS[each.kind] for each in _of(part) if not signs[each.kind])
        after_text = isinstance(part, str)
    return content


def _media(turns: Iterable[Message]) -> Iterator[Media]:
    for turn in turns:
        for part in turn.parts:
            yield from _of(part)


def _of(part: Part) -> tuple[Media, ...]:
    """Media of one part; frames are images, in their order."""
    match part:
        case Media():
            return (part,)
        case Frames():
            return tuple(part.images)
    return ()


def _signs(turns: Iterable[Message]) -> Counter[MediaKind]:
    """How often the texts themselves say where a medium comes."""
    found: Counter[MediaKind] = Counter()
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, str):
                found.update({kind: part.count(sign) for kind, sign in _SIGNS.items()})
    return found


def _address(reader: RunReader, medium: Media) -> str:
    """Where a trainer finds it; what is not there any more is named as in the manifest."""
    if is_data_uri(medium.reference):
        try:
            return read_data_uri(medium.reference, LARGEST_FILE_BYTES).url
        except MediaError:
            return medium.reference
    found = reader.find(medium.reference, medium.kind)
    own = found.path is not None and found.held is None  # a member has no path that stays
    return str(found.path) if own else medium.reference
