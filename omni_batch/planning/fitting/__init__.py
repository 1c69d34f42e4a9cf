"""Media made to fit, as items are prepared: limits, turns, and what was made."""
