"""A run directory that this user did not prepare: what it asks for, and that it is asked about.

What sends or embeds something goes on only where the run is known to be the user's own, or where
the user has said so: `resume`, `retry`, `export`, `report`, `compare --html`, the engine itself.
"""

import hmac
import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from omni_batch.config import Config, EndpointConfig, parse_config
from omni_batch.errors import ConfigError, UntrustedRun
from omni_batch.providers.profiles import resolve_profile
from omni_batch.store import RunDir, RunRecord
from omni_batch.store.record import read_record, write_record
from omni_batch.store.remote.copies import shown
from omni_batch.store.trust.marks import claims_digest, is_known, links_of, vouched
from omni_batch.text import one_line

_NAMED = 5


def require_known(directory: RunDir, record: RunRecord) -> None:
    """Refuse a run that this user neither prepared nor consented to.

    Raises:
        UntrustedRun: says what it asks for.
    """
    if is_known(directory, record):
        return
    asked = "; ".join(_claims(directory, record))
    raise UntrustedRun(
        f"run {shown(directory.root)} was not prepared by you here, or was changed since by other "
        f"means than --set. It asks for: {asked}. If you trust who made it, add --trust (in "
        "Python: trust=True)",
    )


def check_run(directory: RunDir, *, trust: bool = False) -> None:
    """The same for what only looks at a run: consent holds for this one time.

    Raises:
        ConfigError: not a run directory.
        UntrustedRun: as `require_known`.
    """
    record = read_record(directory.record)
    if not trust:
        require_known(directory, record)


def accept(directory: RunDir) -> None:
    """Consent to a run for good: from now on it is known to this user, as it stands now.

    Raises:
        ConfigError: not a run directory, or another process works on it.
        StorageError: run.json can't be written.
    """
    with directory.owned_record() as record:
        if not is_known(directory, record):
            write_record(directory.record, vouched(directory, record), directory.disk)


def accept_as_described(directory: RunDir, digest: str) -> None:
    """The same, if it still is what whoever handed it to us has vouched for; else nothing changes.

    Args:
        digest: by `claims_digest`.
    """
    with directory.owned_record() as record:
        is_same = hmac.compare_digest(claims_digest(directory, record), digest)
        if is_same and not is_known(directory, record):
            write_record(directory.record, vouched(directory, record), directory.disk)


def refuse_links(directory: RunDir) -> None:
    """Refuse to repair a run through links that this user did not consent to.

    Raises:
        ConfigError: a part of it is a link.
    """
    record = read_record(directory.record)
    if (links := links_of(directory)) and not is_known(directory, record):
        name, target = next(iter(links.items()))
        raise ConfigError(
            f"{directory.root / name} is a link to {one_line(target)}: nothing is repaired through "
            "it; put the folder itself in its place"
        )


def _claims(directory: RunDir, record: RunRecord) -> Iterator[str]:
    try:
        config = parse_config(record.config)
    except ConfigError:  # of another version: it can't be sent
        config = None
    if config is not None:
        yield from map(_endpoint, config.all_endpoints)
    roots = (record.config.get("media") or {}).get("roots") or ["."]
    yield f"files below {_listed(str(Path(record.base_folder, root)) for root in roots)}"
    yield "objects of stores that its rows name, with the credentials of this machine"
    if config is not None:
        yield from _further(config)
    for name, target in links_of(directory).items():
        yield f"{name} at {one_line(target)}, where a link leads"


def _endpoint(entry: EndpointConfig) -> str:
    try:
        profile = resolve_profile(entry)
    except ConfigError:
        return f"the endpoint {one_line(entry.name)}, which is not known here"
    if profile.base_url is None:
        return "the simulator on this machine"
    parts = urlsplit(profile.base_url)
    held = f"the key in {profile.api_key_env}" if profile.api_key_env else "requests without a key"
    block = f" or in Prefect's block {entry.api_key_block}" if entry.api_key_block else ""
    return f"{held}{block} for {parts.scheme}://{parts.netloc}"


def _further(config: Config) -> Iterator[str]:
    if config.media.allow_private_downloads:
        yield "downloads from private addresses"
    if config.reuse:
        yield f"answers of the runs at {_listed(config.reuse)}"
    if config.catalogue:
        yield f"prices and limits of {one_line(config.catalogue)}"


def _listed(names: Iterator[str] | tuple[str, ...]) -> str:
    found = iter(names)
    shown = [shlex.quote(one_line(name)) for name in islice(found, _NAMED)]
    more = sum(1 for _ in found)
    return f"{', '.join(shown)}{f' and {more} more' if more else ''}"
