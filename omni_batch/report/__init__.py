"""A run as a page that opens from disk: what it came to, what it cost, what failed, its speech."""
