"""From a lock to an image, without a container engine."""
