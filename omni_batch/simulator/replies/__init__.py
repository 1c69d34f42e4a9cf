"""What is answered, before a dialect gives it its shape, and how it is cut for the wire."""
