"""What runs in the project's interpreter and in a step's: compiles pipelines, calls steps.

Standard library alone, Python 3.10 and later; it comes in on `sys.path` and never through the user's lock.
"""
