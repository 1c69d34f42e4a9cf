"""Bodies of lines of a batch file (Model Studio, Batch pages of 2025 and of autumn 2026)."""

from dataclasses import replace

from omni_batch.simulator.checks.chat import Body, Chat
from omni_batch.simulator.checks.models import Model
from omni_batch.simulator.checks.refusal import Refusal, Refused, invalid, unprocessable
from omni_batch.simulator.dialects.dashscope import DashScope

OMNI = frozenset({"qwen-omni-turbo", "qwen3.5-omni-plus"})
"""Omni models that one edition or the other names."""


class BatchFiles(DashScope):
    """As the live service, but no stream, no speech, and another choice of models."""

    def model(self, body: Body) -> Model:
        """One of the few that jobs take."""
        model = super().model(body)
        if model.stream_only and model.name not in OMNI:
            message = f"The model {model.name} is not supported by batch inference."
            raise Refused(Refusal(400, "model_not_supported", message, "invalid_request_error"))
        return model

    def read(self, body: Body) -> Chat:
        """Check the body as if it were streamed."""
        if body.get("stream"):
            raise invalid("The stream parameter is not supported by batch inference.")
        modalities = body.get("modalities")
        if isinstance(modalities, list) and "audio" in modalities:
            raise unprocessable("Audio output is not supported by batch inference.")
        streamed = {**body, "stream": True, "stream_options": None}
        return replace(super().read(streamed), stream=False)
