"""The Batch API: files of requests, jobs that work through them, files of answers."""
