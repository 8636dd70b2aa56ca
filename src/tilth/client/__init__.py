"""The runner: compiles a pipeline, plans it, and hands it to a driver on this machine."""
