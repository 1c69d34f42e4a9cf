"""What a run may spend: estimates, the budget, and when spending makes no sense. Pure."""
