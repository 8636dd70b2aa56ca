"""What one check found."""

from __future__ import annotations

import msgspec

OK, WARNING, ERROR, SKIPPED = "ok", "warning", "error", "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found: `ok`, `warning` (it works, not well), `error` (something will fail) or `skipped`."""

    name: str
    state: str
    told: str
    mend: str = ""
