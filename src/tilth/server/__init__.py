"""The server: records, users and runs for a team, over HTTP."""
