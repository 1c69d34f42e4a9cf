"""What the model is told: the schema beside the question, and what was wrong with its answer.

Plain words that work without any JSON mode of a server; where there is one, it gets the schema too.
"""

from typing import Any

from omni_batch.annotation.schema import AnnotationSchema

_LONGEST_REPEATED_CHARS = 4000
"""Of an answer that is sent back: its beginning and its end tell the model which one is meant."""


def schema_instruction(schema: AnnotationSchema) -> str:
    """The paragraph below the question of each row."""
    return (
        "Answer with JSON that follows this JSON Schema, and with nothing else: no explanation, "
        "no code fence, no member that the schema does not name.\n"
        f"{schema.text}"
    )


def response_format(schema: AnnotationSchema) -> dict[str, Any]:
    """The member of a request by which servers hold an answer to a schema (OpenAI's chat API).

    Without `strict`, which is OpenAI's own and makes demands on the schema.
    """
    return {
        "type": "json_schema",
        "json_schema": {"name": "annotation", "schema": schema.json_schema},
    }


def reask_instruction(violation: str) -> str:
    """The turn after an answer that the schema does not accept."""
    return (
        f"This answer can't be used: {violation}. "
        "Answer the same question again with JSON that follows the JSON Schema, whole and alone."
    )


def repeated_answer(text: str) -> str:
    """An earlier answer as the assistant's turn of a re-ask; a long one in part."""
    if len(text) <= _LONGEST_REPEATED_CHARS:
        return text
    half = _LONGEST_REPEATED_CHARS // 2
    return f"{text[:half]}\n…\n{text[-half:]}"
