"""Plan → FitLimits: what media have to keep to at every endpoint that may get them. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any

from omni_batch.config import MediaConfig
from omni_batch.fitting.limits import FitLimits
from omni_batch.planning.plan import Plan
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.providers.transport import largest_file_bytes
from omni_batch.types import MediaKind

_IMAGES = ("jpeg", "png", "webp", "bmp", "gif")
"""What servers of all kinds read. HEIC, AVIF and TIFF are not among them, even where the vendor
lists them: they are the first that readers refuse."""
_ALSO_TAKEN = {"audio": ("ogg",)}
"""Beside the documented ones: what the vendor's own command line sends (its pull request 55)."""
_RAW_OF_BASE64 = 0.75


def fit_limits(plan: Plan) -> FitLimits:
    """The strictest of all endpoints; a limit that the catalogue is not sure of is none."""
    config, endpoints = plan.config.media, plan.endpoints

    def least(name: str) -> Any:
        return min(_limits(endpoints, name), default=None)

    frames_max = (least("frames_max"), plan.rules.video_frames_max, config.max_frames)
    return FitLimits(
        rules=plan.rules,
        max_image_tokens=config.max_image_tokens,
        image_formats=_formats(endpoints, "image"),
        image_max_bytes=_most_bytes(endpoints, config, least("image_max_bytes")),
        image_min_px=max(_limits(endpoints, "image_min_px"), default=None),
        sound_formats=_formats(endpoints, "audio"),
        sound_max_bytes=_most_bytes(endpoints, config, least("audio_max_bytes")),
        sound_max_s=least("audio_max_s"),
        keeps_channels=bool(plan.config.request.use_multichannel),
        overlap_s=config.window_overlap_s,
        film_formats=_formats(endpoints, "video"),
        film_max_bytes=_most_bytes(endpoints, config, least("video_max_bytes")),
        film_min_s=max(_limits(endpoints, "video_min_s"), default=None),
        film_max_s=least("video_max_s"),
        film_as=config.fit_video if _take_frames(endpoints) else "cut",
        takes_frames=_take_frames(endpoints),
        frames_min=max(_limits(endpoints, "frames_min"), default=2),
        frames_max=_at_most(*frames_max, least("base64_files_max")),
        stills_max_bytes=int(config.max_body_bytes * _RAW_OF_BASE64),
        takes_spacing=plan.model is not None and "fps" in plan.model.parameters,
    )


def _limits(endpoints: Iterable[ResolvedEndpoint], name: str) -> Iterator[Any]:
    for endpoint in endpoints:
        model = endpoint.limits
        value = getattr(model.limits, name) if model else None
        if model is not None and value is not None and not model.is_unverified(f"limits.{name}"):
            yield value


def _at_most(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _most_bytes(
    endpoints: Iterable[ResolvedEndpoint], config: MediaConfig, stated: int | None
) -> int | None:
    return _at_most(stated, *(largest_file_bytes(config, each.dialect) for each in endpoints))


def _take_frames(endpoints: Iterable[ResolvedEndpoint]) -> bool:
    return all("frames" in endpoint.dialect.takes for endpoint in endpoints)


def _formats(endpoints: Iterable[ResolvedEndpoint], kind: MediaKind) -> tuple[str, ...]:
    """Those that every endpoint takes."""
    # PyAV: not paid for by text-only runs
    from omni_batch.requests.media.container import SENT_CONTAINERS

    taken = _IMAGES if kind == "image" else SENT_CONTAINERS[kind]
    for endpoint in endpoints:
        documented = (
            getattr(endpoint.limits.limits, f"{kind}_containers") if endpoint.limits else ()
        )
        if documented:
            more = _ALSO_TAKEN.get(kind, ())
            taken = tuple(form for form in taken if form in (*documented, *more))
        if (own := endpoint.dialect.formats.get(kind)) is not None:
            taken = tuple(form for form in taken if form in own)
    return taken
