"""Container registries: where images are pushed to, and how one logs in there."""
