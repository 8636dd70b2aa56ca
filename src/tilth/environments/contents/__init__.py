"""What is in an environment, read from its lock and its packages, and written for other tools."""
