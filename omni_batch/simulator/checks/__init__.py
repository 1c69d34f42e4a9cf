"""What a request must be: its parameters, messages and media, and the limits of the service."""
