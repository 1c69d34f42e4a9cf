"""Object stores: one protocol, and one file for each library that talks to them."""
