"""Drives a run: walks the graph, decides what is cached, launches steps, records what happens."""
