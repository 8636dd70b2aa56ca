"""Image builders: what makes the images of environments, and where."""
