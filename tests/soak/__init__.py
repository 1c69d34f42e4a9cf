"""A soak: runs under everything that an operator, a machine and a service may do to them."""
