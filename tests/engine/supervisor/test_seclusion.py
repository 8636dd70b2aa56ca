"""A step sees nothing that opens the store: no variable, no file, and not its supervisor's memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tilth.engine.supervisor.seclusion import shown

if TYPE_CHECKING:
    from tests.engine.supervisor.conftest import Far

STEPS = """
    import os
    from pathlib import Path

    def memory(pid, places):
        # How often a secret is in the memory of a process, and how much of it could be read.
        found = size = 0
        for place in places:
            begin, end = (int(each, 16) for each in place.split("-"))
            try:
                with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
                    file.seek(begin)
                    data = file.read(end - begin)
            except (OSError, OverflowError):
                continue
            size += len(data)
            found += data.count("".join(["f1nd", "-me"]).encode())
        return [found, size]

    def look():
        seen = {"variables": dict(os.environ), "refused": [], "read": {}, "files": {}}
        parent = os.getppid()
        for name in ("environ", "cmdline"):
            try:
                seen["read"][name] = Path(f"/proc/{parent}/{name}").read_bytes().decode("utf-8", "replace")
            except OSError as error:
                seen["refused"].append(name)
        try:
            places = [each.split() for each in Path(f"/proc/{parent}/maps").read_text().splitlines()]
            seen["memory"] = memory(parent, [each[0] for each in places if each[1].startswith("rw")])
        except OSError as error:
            seen["refused"].append("maps")
        try:
            seen["fds"] = [os.readlink(f"/proc/{parent}/fd/{each}") for each in os.listdir(f"/proc/{parent}/fd")]
        except OSError:
            seen["refused"].append("fd")
        for path in Path.cwd().parent.rglob("*"):
            if path.is_file() and path.stat().st_size < 1 << 20:
                seen["files"][str(path)] = path.read_bytes().decode("utf-8", "replace")
        return seen
"""


def test_a_step_sees_no_credential(far: Far) -> None:
    far.write(STEPS)
    far.secrets["bucket"] = "f1nd-me-if-you-can"
    ran = far.run(
        "look",
        env={"AWS_SECRET_ACCESS_KEY": "f1nd-me-as-well", "CUDA_VISIBLE_DEVICES": "3", "OF_THE_POD": "x"},
        order={"passed": ("OF_THE_*",)},
    )
    seen = ran.value
    assert [key for key, each in seen["files"].items() if "f1nd-me" in each] == []
    assert [key for key, each in seen.items() if "f1nd-me" in repr(each)] == []
    assert {"AWS_SECRET_ACCESS_KEY", "TILTH_TASK", "TILTH_SECRET_0"}.isdisjoint(seen["variables"])
    assert seen["variables"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert seen["variables"]["OF_THE_POD"] == "x"
    # The test may itself run as root: it is the right to trace that counts, and that was given up.
    assert seen.get("memory", [0, 0]) == [0, 0]
    assert "fd" in seen["refused"]
    assert "tilth.engine" in seen["read"]["cmdline"]


def test_what_reaches_a_step_is_of_the_machine_and_its_devices() -> None:
    variables = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "SLURM_JOB_ID": "1",
        "HTTP_PROXY": "http://u:p@h",
        "MY_TOKEN": "x",
    }
    assert shown(variables) == {"PATH": "/bin", "LC_ALL": "C", "SLURM_JOB_ID": "1"}
    assert shown(variables, ["MY_*"]).keys() == {"PATH", "LC_ALL", "SLURM_JOB_ID", "MY_TOKEN"}
    assert "TILTH_HOME" not in shown(dict(os.environ))
