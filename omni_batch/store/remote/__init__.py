"""Runs whose output is an object store: worked on in a local copy, published file by file.

A run directory always is a local folder. What of a run is done is decided by that folder alone; the
store is never ahead of it. Whatever is missing here (a run of another machine, speech that was
published and removed) is brought from the store.
"""
