"""What uv's errors mean. The real ones are met in `test_locks.py` and `test_venvs.py`."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from tilth.environments.uv import Result, explain, without_credentials
from tilth.errors import DefinitionError, DiskFull, IndexUnavailable, SetupError, Unresolvable


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


def test_a_revision_that_a_repository_does_not_have_is_no_index_that_is_down() -> None:
    error = explained(
        "   Updating file:///repo (v9)\n"
        "error: Failed to download and build `beta @ git+file:///repo@v9`\n"
        "  cause: Git operation failed\n"
        "         --- stderr\n"
        "         fatal: couldn't find remote ref refs/tags/v9\n"
    )
    assert type(error) is Unresolvable
    assert str(error) == snapshot("""\
`beta @ git+file:///repo@v9` of environment `training` cannot be had
  couldn't find remote ref refs/tags/v9
  hint: check the repository, what stands after `@`, and whether git may read it\
""")


def test_a_repository_whose_host_is_not_found_is_still_a_network_that_is_down() -> None:
    error = explained(
        "error: Failed to download and build `beta @ git+https://example.org/beta`\n"
        "  cause: Git operation failed\n"
        "         fatal: unable to access 'https://example.org/beta/': Could not resolve host: example.org\n"
    )
    assert type(error) is IndexUnavailable


def test_a_url_without_its_file_is_named() -> None:
    error = explained(
        "error: Failed to download `beta @ https://example.org/beta-1-py3-none-any.whl`\n"
        "  cause: HTTP status client error (404 Not Found) for url (https://example.org/beta-1-py3-none-any.whl)\n"
    )
    assert type(error) is Unresolvable
    assert "there is no such file at its URL" in str(error)


def test_what_a_url_holds_under_another_name_is_named() -> None:
    error = explained(
        "error: Failed to download and build `alpha @ git+file:///repo`\n"
        "  cause: Package metadata name `beta` does not match given name `alpha`\n"
    )
    assert type(error) is DefinitionError
    assert "what is there is called `beta`" in str(error)


def test_a_folder_of_find_links_that_is_not_there_is_no_matter_of_locking_again() -> None:
    error = explained(
        "error: Failed to read `--find-links` directory: /project/wheels\n"
        "  cause: No such file or directory (os error 2)\n"
    )
    assert type(error) is DefinitionError
    assert "`find_links` of environment `training`" in str(error)
    assert "--upgrade" not in str(error)


def test_what_the_cut_off_date_leaves_out_is_not_said_to_be_missing_from_the_index() -> None:
    error = explained(
        "  \u00d7 No solution found when resolving dependencies:\n"
        "  \u2570\u2500\u25b6 Because beta was not found in the package registry and you require beta, we can conclude "
        "that your requirements are unsatisfiable.\n"
        "hint: `beta` was filtered by `exclude-newer` to only include packages uploaded before "
        "2021-05-02T00:00:00Z. The latest version satisfying the requirement is v1.2.0, published at "
        "2025-01-15T12:07:22.074Z. Consider using `exclude-newer-package` to override the cutoff.\n"
    )
    text = str(error)
    assert "every version of `beta` that answers is newer than `exclude_newer` allows" in text
    assert "the newest is 1.2.0, of 2025-01-15" in text
    assert "no index has" not in text
    assert "exclude-newer-package" not in text


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
