"""What the server answers, by noun. Every module has a `router`."""
