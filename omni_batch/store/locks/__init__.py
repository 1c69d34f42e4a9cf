"""Who may work on a folder, and whose turn it is: what processes tell each other by files."""
