"""What a step leaves behind in its worker, and what is put back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# In an interpreter of its own: this one's signals, streams and loggers belong to the tests.
PROGRAM = """
import json, os, sys
{imports}
from tilth.runtime.state import ProcessState
out = os.dup(1)
def umask():
    found = os.umask(0)
    os.umask(found)
    return found
def now():
    import random, signal, warnings
    logging = sys.modules.get("logging")
    loggers = [logging.getLogger(name) for name in (None, "known")] if logging else []
    return [
        os.readlink("/proc/self/cwd") if os.path.exists("/proc/self/cwd") else "", dict(os.environ),
        list(sys.argv), list(sys.path), umask(),
        [id(each) for each in (sys.stdin, sys.stdout, sys.stderr)], id(sys.excepthook), sys.gettrace(),
        sys.getrecursionlimit(), sys.getswitchinterval(), str(signal.getsignal(signal.SIGTERM)),
        str(signal.getsignal(signal.SIGALRM)), signal.getitimer(signal.ITIMER_REAL),
        [str(each) for each in warnings.filters],
        [[each.level, [type(one).__name__ for one in each.handlers], each.propagate] for each in loggers],
        logging and logging.root.manager.disable,
    ]
state = ProcessState()
state.observe()
before = now()
{step}
reasons = state.restore(growth={growth})
after = now()
os.write(out, json.dumps({{"before": before, "after": after, "reasons": reasons}}).encode())
os._exit(0)
"""
IMPORTS = "import logging, warnings; logging.getLogger('known').addHandler(logging.StreamHandler())"


def left(step: str, *, imports: str = IMPORTS, growth: int = 1 << 30, cwd: Any = None) -> list[str]:
    """Why the process should not go on after this step; what can be put back must have been."""
    program = PROGRAM.format(imports=imports, step=step, growth=growth)
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()
    told = json.loads(ended.stdout[ended.stdout.index(b'{"before"') :])
    if told["reasons"] == []:
        assert told["after"] == told["before"]
    reasons: list[str] = told["reasons"]
    return reasons


HARMLESS = {
    "nothing": "pass",
    "folder": "os.chdir('/')",
    "variables": "os.environ['NEW'] = '1'; del os.environ['PATH']; os.environ['HOME'] = 'x'",
    "arguments": "sys.argv.append('x'); sys.argv = ['y']",
    "path": "sys.path.insert(0, '/x'); sys.path = ['/y']",
    "umask": "os.umask(0o777)",
    "streams": "import io; sys.stdout = sys.stderr = io.StringIO(); sys.stdin = None",
    "hooks": "sys.excepthook = print; sys.settrace(lambda *a: None)",
    "limits": "sys.setrecursionlimit(3000); sys.setswitchinterval(1)",
    "signals": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGALRM, print)",
    "alarm": "import signal; signal.signal(signal.SIGALRM, print); signal.alarm(100)",
    "warnings": "warnings.simplefilter('error'); warnings.filterwarnings('ignore', 'x')",
    "root logger": "logging.basicConfig(level=1, handlers=[logging.StreamHandler()])",
    "known logger": "known = logging.getLogger('known'); known.handlers.clear(); known.propagate = False",
    "known level": "logging.getLogger('known').setLevel(1); logging.getLogger('known').disabled = True",
    "logging off": "logging.disable(logging.CRITICAL)",
    "ended thread": "import threading; t = threading.Thread(target=print); t.start(); t.join()",
    "ended child": "import subprocess; subprocess.run(['true'])",
}  # fmt: skip


@pytest.mark.parametrize("step", HARMLESS.values(), ids=HARMLESS)
def test_what_a_step_changed_is_put_back(step: str) -> None:
    assert left(step) == []


STREAMS = "it closed or redirected its standard streams"
THREAD = "threading.Thread(target=time.sleep, args=(9,), name='mine').start()"
CHILD = "import subprocess; subprocess.Popen(['sleep', '2'], stdout=-3, stderr=-3)"
LASTING = {
    "thread": (f"import threading, time; {THREAD}", "it left threads running: mine"),
    "child": (CHILD, "it left processes running: "),
    "memory": ("kept = bytearray(64 << 20)", "MiB more memory in use"),
    "output closed": ("sys.stdout.close()", STREAMS),
    "output redirected": ("os.dup2(os.open('/dev/null', os.O_WRONLY), 1)", STREAMS),
    "error closed": ("os.close(2)", STREAMS),
    "folder removed": ("import shutil; shutil.rmtree(os.getcwd())", "its working directory is gone"),
}


@pytest.mark.parametrize(("step", "told"), LASTING.values(), ids=LASTING)
def test_what_cannot_be_put_back_ends_the_worker(tmp_path: Any, step: str, told: str) -> None:
    folder = tmp_path / "cwd"
    folder.mkdir()
    (reason,) = left(step, growth=32 << 20 if "bytearray" in step else 1 << 30, cwd=folder)
    assert told in reason


def test_a_logger_that_a_step_made_says_nothing_in_the_next() -> None:
    step = """
new = logging.getLogger("new")
new.addHandler(logging.StreamHandler())
new.addHandler(logging.NullHandler())
state.restore(growth=1 << 30)
assert [type(each).__name__ for each in new.handlers] == ["NullHandler"], new.handlers
"""
    assert left(step) == []


def test_libraries_that_come_with_a_step_set_up_warnings_and_loggers_for_good() -> None:
    step = """
warnings.simplefilter("error")
logging.getLogger("library").addHandler(logging.StreamHandler())
logging.getLogger().setLevel(5)
state.observe()
before = now()
warnings.resetwarnings()
logging.getLogger("library").handlers.clear()
logging.getLogger().setLevel(9)
state.restore(growth=1 << 30)
assert len(logging.getLogger("library").handlers) == 1
"""
    assert left(step) == []


def test_each_step_gets_other_random_numbers() -> None:
    program = (
        "import random, sys\nfrom tilth.runtime.state import ProcessState\n"
        "state = ProcessState()\nfound = []\n"
        "for _ in range(2):\n    found.append(random.random()); random.seed(1); state.restore(growth=1 << 40)\n"
        "random.seed(1); sys.exit(found[1] == random.random())"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
