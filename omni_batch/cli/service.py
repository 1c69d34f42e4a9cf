"""Commands that concern no run: the catalogue of models, and the simulated service."""

from functools import partial
from typing import Annotated, Any

import typer

from omni_batch.cli import complete
from omni_batch.cli.options import AsJson, app, example, print_json
from omni_batch.errors import ConfigError
from omni_batch.text import did_you_mean


@app.command(epilog=example("models qwen3-omni-flash"))
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", autocompletion=complete.models)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each model accepts and returns, its limits, voices and prices."""
    from omni_batch.catalogue import catalogue
    from omni_batch.cli.render.console import out
    from omni_batch.cli.render.pages import model_page, models_table

    known = catalogue()
    if name is None:
        print_json(known) if as_json else out.print(models_table(known))
        return
    model = known.model(name)
    if model is None:
        hint = did_you_mean(name, known.names())
        raise ConfigError(f"model {name!r} is not in the catalogue of {known.date}; {hint}")
    print_json(model) if as_json else out.print(model_page(model, known))


@app.command(epilog=example("simulate --port 8765 --requests-per-minute 60"))
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8765,
    requests_per_minute: Annotated[float | None, typer.Option(min=0.001)] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(min=1)] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds to the first chunk.")] = 0.0,
    chunk_interval: Annotated[float, typer.Option(min=0, help="Seconds between chunks.")] = 0.0,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="KIND=P", help="Fault with its probability.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which request meets which fault.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any option of SimulatorOptions."),
    ] = None,
) -> None:
    """Serve the simulated API until Ctrl-C. Any key that begins with sk- is accepted.

    --set dialect=vllm-omni, --set framing=tiny, --set scriptable=true and so
    on set all its options; an unknown name or value prints the valid ones.
    """
    from omni_batch.simulator import SimulatorOptions, serve

    try:
        given: dict[str, Any] = {
            "host": host,
            "port": port,
            "seed": seed,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "first_chunk_s": latency,
            "chunk_interval_s": chunk_interval,
            "faults": dict(map(_fault, fault or [])),
        }
        options = SimulatorOptions(**given | _simulator_options(set_ or []))
        serve(options, ready=partial(print, flush=True))
    except (TypeError, ValueError) as exc:
        raise ConfigError(str(exc)) from None
    except OSError as exc:
        raise ConfigError(f"can't listen on {host}:{port}: {exc.strerror}") from None


def _fault(text: str) -> tuple[str, float]:
    kind, _, probability = text.partition("=")
    try:
        return kind, float(probability)
    except ValueError:
        raise ConfigError(f"--fault {text}: write it as KIND=P, such as cut=0.05") from None


def _simulator_options(pairs: list[str]) -> dict[str, Any]:
    from omni_batch.config import override_tree
    from omni_batch.simulator import SimulatorOptions

    given = override_tree({}, pairs)
    known = SimulatorOptions.__dataclass_fields__
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"--set {name}: unknown option of the simulator; {hint}")
    return given
