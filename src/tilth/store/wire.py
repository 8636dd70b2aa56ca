"""Which clients and servers understand each other."""

from __future__ import annotations

# Goes up when something that clients rely on goes away or changes its meaning; additions are free.
PROTOCOL = 1
OLDEST = 1  # the oldest that this tilth can speak with, as a server and as a client
HEADER = "Tilth-Protocol"
VERSION_HEADER = "Tilth-Version"
