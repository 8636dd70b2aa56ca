"""How durations, sizes, counts and moments read, wherever a person meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def duration(seconds: float) -> str:
    """`45 ms`, `1.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: int) -> str:
    """`512 bytes`, `3.4 KB`, `212 MB`: powers of 1000, three digits at most."""
    if count < 1000:
        return counted(count, "byte")
    value = float(count)
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 step`, `5 steps`, `2 retries`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def moment(time: datetime | None) -> str:
    """In the reader's time zone, to the second."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def short_digest(digest: str) -> str:
    """Enough of a digest to know it again: `sha256:3f0c9a…`."""
    algorithm, colon, value = digest.rpartition(":")
    return f"{algorithm}{colon}{value[:12]}"


def clipped(text: str, width: int) -> str:
    """The first line, at most so long; what was cut shows as `…`."""
    line, newline, _ = text.strip().partition("\n")
    line = line.rstrip()
    if len(line) > width:
        return line[: width - 1] + "…"
    return f"{line} …" if newline and len(line) <= width - 2 else line


def assignments(values: Mapping[str, object]) -> str:
    """Parameters or inputs as they might be written: `alpha = 0.3, frame = load.frame`."""
    return ", ".join(f"{name} = {value_text(value)}" for name, value in values.items())


def value_text(value: object) -> str:
    """A value as a record holds it, in a few words."""
    import json

    match value:
        case {"$artifact": str(digest), **more}:
            return str(more.get("from") or short_digest(digest))
        case {"$output": [step, output]}:
            return f"{step}.{output}"
        case {"$large": _, "size": int(count)}:
            return f"({size(count)})"
        case {"$enum": {"type": str(kind), "name": str(name)}}:
            return f"{_class_name(kind)}.{name}"
        case {"$dataclass": {"type": str(kind), "fields": dict(fields)}} | {
            "$model": {"type": str(kind), "fields": dict(fields)}
        }:
            told = ", ".join(f"{name}={value_text(each)}" for name, each in fields.items())
            return clipped(f"{_class_name(kind)}({told})", 80)
        case {"$tuple": list(items)}:
            return clipped(f"({', '.join(value_text(each) for each in items)})", 80)
        case (
            {"$path": str(text)}
            | {"$datetime": str(text)}
            | {"$date": str(text)}
            | {"$uuid": str(text)}
            | {"$decimal": str(text)}
            | {"$float": str(text)}
        ):
            return clipped(text, 80)
        case list():
            return clipped(f"[{', '.join(value_text(each) for each in value)}]", 80)
        case _:
            return clipped(json.dumps(value, ensure_ascii=False), 80)


def _class_name(kind: str) -> str:
    """`Config` of `package.module:Config`."""
    return kind.rpartition(":")[2]
