"""A run whose requests go as files: rows → lines of a job → answers → journals of shards."""
