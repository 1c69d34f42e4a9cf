"""A Prefect server of our own, for runs that have none."""
