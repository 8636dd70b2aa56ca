"""The supervisor as a program of its own, for engines elsewhere: `python -m tilth.engine.supervisor`.

It stands beside one attempt of one step: brings code and inputs, has the step run, watches it, and takes its outputs,
logs and end to the artifact store, where the driver looks for them (`tilth.engine.remote`).
"""
