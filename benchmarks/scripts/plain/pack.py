"""Read, hash and compress the files of some folders with ISA-L, as fast as two passes of SHA-256 allow.

    python pack.py FOLDER...        prints {"seconds": …, "bytes": …, "packed": …}

What layers of an image cost at least: the plain bytes are hashed for the image's config, the packed ones for its
manifest. One thread for each core takes the largest folder that waits; no tar is written, and nothing is kept.
"""

import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isal import isal_zlib

CHUNK = 1 << 20


def pack(files: list[str]) -> tuple[int, int]:
    """(bytes read, bytes packed)."""
    plain, packed = hashlib.sha256(), hashlib.sha256()
    compressor = isal_zlib.compressobj(1, wbits=31)
    read = written = 0
    waiting = bytearray()

    def hand_on(piece: bytes) -> None:
        nonlocal written
        plain.update(piece)
        out = compressor.compress(piece)
        packed.update(out)
        written += len(out)

    for path in files:
        with open(path, "rb", buffering=0) as file:
            while content := file.read(CHUNK):
                read += len(content)
                waiting += content
                if len(waiting) >= CHUNK:
                    hand_on(bytes(waiting))
                    waiting.clear()
    hand_on(bytes(waiting))
    out = compressor.flush()
    packed.update(out)
    return read, written + len(out)


def main() -> None:
    begin = time.perf_counter()
    found = []
    for folder in sys.argv[1:]:
        files = [
            str(each) for each in sorted(Path(folder).rglob("*")) if each.is_file() and each.suffix != ".pyc"
        ]
        found.append((sum(Path(each).stat().st_size for each in files), files))
    found.sort(key=lambda each: -each[0])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        done = list(threads.map(pack, [files for _, files in found]))
    seconds = time.perf_counter() - begin
    print(
        json.dumps(
            {
                "seconds": seconds,
                "bytes": sum(read for read, _ in done),
                "packed": sum(out for _, out in done),
            }
        )
    )


main()
