"""The command line: one file per noun, each loaded when its command is run."""
