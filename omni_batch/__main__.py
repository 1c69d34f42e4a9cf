"""The command line, as `omni-batch` and as `python -m omni_batch`."""

from omni_batch import interrupts


def main() -> None:
    """Run it. It can be ended from its first moment on: loading it takes its time."""
    interrupts.end_at_once()
    from omni_batch.cli.main import main

    main()


if __name__ == "__main__":
    main()
