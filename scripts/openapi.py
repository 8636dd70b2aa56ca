"""Write what the server's API takes and answers, for the dashboard's types: `python scripts/openapi.py FILE`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tilth.server.app import create_app
from tilth.server.settings import ServerSettings


def main(file: Path) -> None:
    """Make the application over an empty database, and ask it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TILTH_HOME"] = folder
        app = create_app(ServerSettings.from_environment())
        told = app.openapi()
    for schema in told["components"]["schemas"].values():
        # Optional where a record is made; what is read has them always.
        if {"id", "created_at", "revision"} <= set(schema.get("properties", ())):
            schema["required"] = sorted({*schema.get("required", ()), "id", "created_at", "revision"})
    text = json.dumps(told, sort_keys=True)
    # Unchanged it stays as old as it was, so that nothing is made anew for it.
    if not file.exists() or file.read_text() != text:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
