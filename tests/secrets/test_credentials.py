"""Secrets that open a package index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tilth.errors import NotFound
from tilth.secrets import logins

if TYPE_CHECKING:
    from tilth.secrets import Secrets


def test_a_login_is_user_and_password_or_a_token_alone(secrets: Secrets) -> None:
    secrets.set("company", "ann:pass:word/+")
    secrets.set("token", "pypi-AgEIcHl")
    assert logins({"a.example": "company", "b.example": "token"}, secrets) == {
        "a.example": ("ann", "pass:word/+"),
        "b.example": ("__token__", "pypi-AgEIcHl"),
    }


def test_a_missing_login_names_the_host_it_should_open(secrets: Secrets) -> None:
    with pytest.raises(NotFound, match="`company`") as caught:
        logins({"a.example": "company"}, secrets)
    assert caught.value.why == "it should open `a.example`"
    assert caught.value.mend == "`tilth secret set company` sets it"
