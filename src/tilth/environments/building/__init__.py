"""From a source to a wheel: archives, repositories and folders, built in environments that are locked too."""
