from __future__ import annotations

import platform

import pytest

from tilth.errors import DefinitionError
from tilth.images.platforms import check_platform, own_platform


@pytest.mark.parametrize(
    ("machine", "meant"),
    [
        ("x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("arm64", "linux/arm64"),
        ("riscv64", "linux/amd64"),
    ],
)
def test_the_own_platform_is_that_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, machine: str, meant: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert own_platform() == meant


@pytest.mark.parametrize("text", ["linux/amd64", "linux/arm64", "linux/arm/v7", "windows/amd64"])
def test_what_images_have_is_a_platform(text: str) -> None:
    assert check_platform(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("arm64", "write `linux/arm64`"), ("x86_64", "write `linux/amd64`"),
        ("linux/x86_64", "write `linux/amd64`"), ("linux/aarch64", "write `linux/arm64`"),
        ("linux", "`linux/amd64` or `linux/arm64`"), ("Linux/amd64", "`linux/amd64`"),
    ],
)  # fmt: skip
def test_another_word_for_a_platform_is_told_the_right_one(text: str, told: str) -> None:
    with pytest.raises(DefinitionError, match="is not a platform") as caught:
        check_platform(text)
    assert told in caught.value.mend
