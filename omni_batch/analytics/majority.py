"""What most samples of an item say, as SQL. Pure.

Each field is voted on by itself: more than half of the samples that have a value for it decide. A
tie decides nothing, nor does the most frequent of several values with less than half.
"""

import pyarrow as pa

MACRO = """
    create macro majority_of(x) as
    case when 2 * len(list_filter(list(x), lambda v: v = mode(x))) > count(x) then mode(x) end
"""
"""Of a column within a group; nulls have no vote."""
# fmt: off
MAJORITY_COLUMNS = pa.schema([
    pa.field(name, kind, metadata={"description": description})
    for name, kind, description in (
        ("run_id", pa.string(), "id of the run"),
        ("item_id", pa.string(), "id from the manifest"),
        ("variant", pa.string(), "which of the config's variants asked; null without variants"),
        ("row_number", pa.int64(), "place of the first sample in the run"),
        ("samples", pa.int64(), "rows of results"),
        ("answers", pa.int64(), "of these: succeeded; only they vote"),
        ("text", pa.string(), "the answer that more than half gave to the letter; else null"),
        ("annotation", pa.string(), "each field as more than half of those say that have a value for it; else null"),  # noqa: E501
    )
])
# fmt: on
"""The view `majority`: a row for each item, and for each variant of it."""


def majority_query(results: str, annotation: pa.DataType) -> str:
    """A SELECT over a view of `results`, its typed answers being of one type."""
    return f"""
        select run_id, item_id, variant, min(row_number) as row_number, count(*) as samples,
               count(*) filter (answered) as answers, majority_of(text) as text,
               {_vote(annotation, "annotation")} as annotation
        from (select run_id, item_id, variant, row_number, status = 'succeeded' as answered,
                     case when answered then text end as text,
                     case when answered then annotation end as annotation from {results})
        group by run_id, item_id, variant
    """


def _vote(kind: pa.DataType, value: str) -> str:
    """The members of an object vote apart; all else is equal or is not.

    So are objects with members such as `Label` and `label`, which DuckDB does not tell apart.
    """
    if not pa.types.is_struct(kind) or len({field.name.casefold() for field in kind}) < len(kind):
        return f"majority_of({value})"
    votes = []
    for field in kind:
        name, key = field.name.replace('"', '""'), field.name.replace("'", "''")
        member = f"struct_extract({value}, '{key}')"
        votes.append(f'"{name}" := {_vote(field.type, member)}')
    return f"struct_pack({', '.join(votes)})"
