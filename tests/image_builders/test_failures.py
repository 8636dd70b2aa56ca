"""What engines write when a command fails, as they wrote it."""

from __future__ import annotations

import pytest

from tilth.image_builders.commands import hiding
from tilth.image_builders.failures import explain

BUILDKIT = """\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s
#5 [2/3] RUN echo all is well
#5 CACHED
#6 [3/3] RUN make model
#6 0.243 no rule to make target
#6 ERROR: executor failed running [/bin/sh -c make model]: exit code: 2
------
 > [3/3] RUN make model:
#6 0.243 no rule to make target
------
executor failed running [/bin/sh -c make model]: exit code: 2"""
CLASSIC = """\
DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
Sending build context to Docker daemon  2.607kB
Step 2/3 : RUN echo all is well
 ---> Using cache
Step 3/3 : RUN make model
 ---> Running in 1741a7c17937
no rule to make target
The command '/bin/sh -c make model' returned a non-zero code: 2"""
BUILDAH = """\
STEP 2/3: RUN echo all is well
STEP 3/3: RUN make model
no rule to make target
Error: building at STEP "RUN make model": exit status 2"""


@pytest.mark.parametrize("told", [BUILDKIT, CLASSIC, BUILDAH])
def test_the_instruction_its_code_and_its_words_are_found(told: str) -> None:
    failure = explain(told.splitlines())
    assert failure.instruction == "RUN make model"
    assert failure.code == 2
    assert "no rule to make target" in failure.lines
    assert not [line for line in failure.lines if "Sending" in line or "[internal]" in line]


def test_a_build_that_says_nothing_explains_nothing() -> None:
    assert explain([]) == ("", None, [])


def test_every_line_of_a_secret_is_hidden_and_short_ones_hide_nothing_else() -> None:
    hide = hiding(["machine example.org\npassword hunter2\n}\n"])
    assert hide("x password hunter2 y") == "x ••• y"
    assert hide("a } b") == "a } b"
    assert hiding([])("as it is") == "as it is"
