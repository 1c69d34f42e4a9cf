"""Requests over HTTP and what answers them."""
