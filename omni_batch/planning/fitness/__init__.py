"""What a config is refused for, or doubted, before any row is read."""
