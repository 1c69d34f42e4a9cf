"""Rows of media in; text, speech and token counts out: batches over the Qwen-Omni chat API."""

__version__ = "0.1.0"
