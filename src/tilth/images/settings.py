"""How an image is made of a lock and a base, beyond what the two say."""

from __future__ import annotations

from typing import Literal

import msgspec

PREFIX = "/opt/env"
CODE = "/opt/code"  # where the project's files are, in an image that has them by choice
MOST_LAYERS = 99  # engines refuse more than about 125; measured: 102 ran, 126 did not


class ImageSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one image. They enter its digest."""

    prefix: str = PREFIX  # of the environment in the image
    user: str = ""  # `UID`, `UID:GID` or a name the base knows; by default the base's
    working_directory: str = ""  # by default the base's
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    bytecode: bool = False  # needs an interpreter of the lock's Python on the machine that builds
    compression: Literal["gzip", "zstd", "none"] = "gzip"
