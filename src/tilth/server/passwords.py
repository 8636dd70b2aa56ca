"""Passwords and tokens: made, kept as digests, and compared without telling how far they agree."""

from __future__ import annotations

import functools
import hashlib
import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tilth.errors import DefinitionError

SHORTEST = 10  # characters
_LONGEST = 1000
_hasher = PasswordHasher()  # argon2id with the library's parameters (RFC 9106, section 4)
# Each takes 64 MiB while it is made: strangers who log in all at once wait, and take no more.
_few_at_once = threading.BoundedSemaphore(4)


def hash_password(password: str) -> str:
    """What is kept of a password.

    Raises:
        DefinitionError: It is too short, or too long to be one.
    """
    if not SHORTEST <= len(password) <= _LONGEST:
        raise DefinitionError(
            "this password cannot be used",
            why=f"a password has from {SHORTEST} to {_LONGEST} characters",
            mend="choose another; several words are good",
        )
    with _few_at_once:
        return _hasher.hash(password)


def is_password(kept: str, password: str) -> bool:
    """Whether a password is the one of which `kept` was kept; it takes as long when there is none."""
    try:
        # Made first in any case: the first login takes longer, whichever name it gives.
        nobody = _nobody()
        with _few_at_once:
            _hasher.verify(kept or nobody, password[: _LONGEST + 1])
    except (VerificationError, InvalidHashError):
        return False
    return bool(kept)


@functools.cache
def _nobody() -> str:
    """What an unknown name is compared with, so that it takes as long as a known one. Not made before it is needed:
    it takes a tenth of the time that a server needs to be ready."""
    return _hasher.hash(secrets.token_urlsafe(16))


def new_token(what: str) -> str:
    """A secret of 256 bits that says what it is for, so that scanners of leaked secrets know it: `tilth_key_…`."""
    return f"tilth_{what}_{secrets.token_urlsafe(32)}"


def digest_of(token: str) -> str:
    """What is kept of a token. It is random, so it needs no salt, and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
