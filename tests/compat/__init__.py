"""The simulator against clients that are not ours; run by hand, see README.md."""
