"""Why requirements cannot be had: what excludes what, whose they are, and what was probably meant."""
