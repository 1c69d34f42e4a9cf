"""Batch Chat: the hosted service's queue at half the price (Model Studio, Batch Chat, 2026)."""

from dataclasses import replace
from typing import ClassVar

from omni_batch.simulator.checks.chat import Body, Chat
from omni_batch.simulator.checks.models import Model
from omni_batch.simulator.checks.refusal import Refusal, Refused, invalid, unprocessable
from omni_batch.simulator.dialects.dashscope import DashScope

OMNI = frozenset({"qwen3.5-omni-plus"})
"""Omni models that it takes; plain text models are taken as well."""


class BatchChat(DashScope):
    """The same bodies, but no stream, no speech, and no limits a minute."""

    base_path: ClassVar[str] = "/batch/compatible-mode/v1"
    limited: ClassVar[bool] = False
    queued: ClassVar[bool] = True

    def model(self, body: Body) -> Model:
        """One of the few that can be queued."""
        model = super().model(body)
        if model.stream_only and model.name not in OMNI:
            message = f"The model {model.name} is not supported by batch chat."
            raise Refused(Refusal(404, "model_not_supported", message, "invalid_request_error"))
        return model

    def read(self, body: Body) -> Chat:
        """Check the body as if it were streamed; what happens to one that is, is not documented."""
        if body.get("stream"):
            raise invalid("The stream parameter is not supported by batch chat.")
        modalities = body.get("modalities")
        if isinstance(modalities, list) and "audio" in modalities:
            raise unprocessable("Audio output is not supported by batch chat.")
        streamed = {**body, "stream": True, "stream_options": None}
        return replace(super().read(streamed), stream=False)
