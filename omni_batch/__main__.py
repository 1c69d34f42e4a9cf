"""`python -m omni_batch`: the command line."""

from omni_batch.cli.main import main

main()
