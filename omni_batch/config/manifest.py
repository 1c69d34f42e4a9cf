"""`manifest`: which rows to send."""

from typing import Literal, Self

from pydantic import Field, model_validator

from omni_batch.config.frozen import Frozen

Target = Literal["prompt", "image", "audio", "video", "frames", "system", "voice", "messages"]
"""Columns of a manifest with a meaning, besides the id."""


class ManifestConfig(Frozen):
    """Which rows to send."""

    path: str = Field(min_length=1)
    """File, object of a store, or any URL that fsspec opens: CSV, TSV, JSONL (also .ndjson) or
    Parquet. Or a folder or glob of media files, a bucket or pattern of keys, tar archives of a
    WebDataset, or `hf:` and the name or folder of a Hugging Face data set."""
    id_column: str = "item_id"
    """Column that names each row; where it is missing, the id is made of the name of the row's
    file, or of its content."""
    columns: dict[Target, str] = Field(default_factory=dict)
    """Names of columns in the manifest, where they differ: {image: file_name}."""
    free_columns: tuple[str, ...] = ()
    """Columns that hold nothing to send, whatever they look like."""

    @model_validator(mode="after")
    def _one_sense_for_each_column(self) -> Self:
        named = list(self.columns.values())
        if doubled := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"manifest.columns has {doubled[0]} more than once; keep one")
        if both := sorted(set(named).intersection(self.free_columns)):
            raise ValueError(
                f"{both[0]} is in manifest.columns and in manifest.free_columns; keep one"
            )
        return self
