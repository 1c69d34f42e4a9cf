"""Directories that others have made: which ones these are, and how far their numbers may go."""
