"""Jobs of a Batch API: a file of requests goes out, a file of answers comes back hours later.

Knows rows by their numbers only; what is asked in them, and what becomes of answers, is the
engine's. `story` has the life of a job, `book` keeps it on disk, `service` talks to the server.
"""
