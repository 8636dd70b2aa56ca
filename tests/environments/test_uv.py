"""What uv's errors mean. The real ones are met in `test_locks.py` and `test_venvs.py`."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from tilth.environments.uv import Result, explain, without_credentials
from tilth.errors import DiskFull, IndexUnavailable, SetupError


def explained(errors: str) -> Exception:
    return explain(Result(2, "", errors), "training")


def test_an_old_uv_is_named_as_such() -> None:
    error = explained("error: unexpected argument '--format' found\n\n  tip: a similar argument exists")
    assert type(error) is SetupError
    assert "too old" in str(error)


def test_a_full_cache_is_a_full_disk() -> None:
    errors = (
        "error: Failed to install: x.whl\n  cause: failed to copy file: No space left on device (os error 28)"
    )
    assert type(explained(errors)) is DiskFull


def test_an_index_that_refuses_asks_for_credentials_without_showing_any() -> None:
    error = explained(
        "error: Failed to fetch: `https://me:secret@example.org/simple/x/`\n"
        "  cause: HTTP status client error (401 Unauthorized) for url (https://me:secret@example.org/simple/x/)"
    )
    assert type(error) is IndexUnavailable
    assert str(error) == snapshot("""\
the package index of environment `training` refuses to answer
  HTTP status client error (401 Unauthorized) for url (https://example.org/simple/x/)
  hint: give what opens it as a secret (`credentials=`), in `~/.netrc` or in uv's own settings\
""")


def test_noise_is_left_out_and_a_long_story_is_cut() -> None:
    errors = (
        "warning: The `--pylock` option is experimental and may change without warning.\n"
        "Using Python 3.11.7 environment at: venv\nResolved 3 packages in 3ms\n   Building x==1\n"
        "error: Failed to build `x==1`\n" + "".join(f"  line {number}\n" for number in range(100))
    )
    text = str(explained(errors))
    assert "Using Python" not in text
    assert "experimental" not in text
    assert "line 99" in text
    assert len(text.splitlines()) < 15


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:pass@host/simple", "https://host/simple"),
        (
            "git+https://token@host/repo and http://host/@scope",
            "git+https://host/repo and http://host/@scope",
        ),
        ("nobody@example.org", "nobody@example.org"),
        ("https://user:p@ss@host/simple", "https://host/simple"),
        ("HTTPS://:p@ss@host", "HTTPS://host"),
        ("git+ssh://git@github.com/a/b", "git+ssh://git@github.com/a/b"),
        ("ssh://git:p@ss@host/a.git", "ssh://git@host/a.git"),
        ('url = "https://host",mail="a@b"', 'url = "https://host",mail="a@b"'),
    ],
)
def test_credentials_are_taken_out_of_urls(text: str, clean: str) -> None:
    assert without_credentials(text) == clean
