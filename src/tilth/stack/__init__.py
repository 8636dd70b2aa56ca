"""Stacks: which components a project's runs use, and the flavors that components come in.

Knows no flavor itself: each is found by its entry point, tilth's own too.
"""
