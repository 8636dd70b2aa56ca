"""Secrets of this machine: kept in its keyring, else encrypted in a file; handed out by name.

Knows nothing of steps, environments or package indexes.
"""

from tilth.secrets.credentials import logins
from tilth.secrets.store import Secret, Secrets, look_elsewhere, open_secrets

__all__ = ["Secret", "Secrets", "logins", "look_elsewhere", "open_secrets"]
