"""What a run is refused for that several processes are to share."""

from typing import TYPE_CHECKING

from omni_batch.errors import ConfigError
from omni_batch.sources.address import is_store

if TYPE_CHECKING:
    from omni_batch.planning.plan import Plan


def refuse_sharing(plan: "Plan") -> None:
    """Refuse what one process alone can keep in order.

    Raises:
        ConfigError: the output is no folder, or requests go as files of jobs.
    """
    output = plan.config.output
    if is_store(output):
        raise ConfigError(
            f"output = {output!r}: workers share a run by a folder that all of them see; set "
            "output to one"
        )
    if plan.by_file:
        raise ConfigError(
            f"endpoint {plan.by_file[0].label} takes files of requests, and its jobs are one book: "
            "leave --workers, or name an endpoint that answers at once"
        )
