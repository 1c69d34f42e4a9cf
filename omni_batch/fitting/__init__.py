"""Media made to fit: what has to change is decided without touching them, done in processes of
their own, and kept."""
