"""Stacks: which components a project's runs use, and the flavors that components come in."""
