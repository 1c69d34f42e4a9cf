"""`request.prompt`, a template of the config's author, becomes the prompt of a row."""

from omni_batch.requests.prompt.template import PromptTemplate

__all__ = ["PromptTemplate"]
