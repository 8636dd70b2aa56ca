from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import hypothesis
import msgspec
import pytest
from hypothesis import given, strategies as st

from tilth.errors import DefinitionError, UnknownOption
from tilth.stack.flavors import Flavor, SecretText
from tilth.stack.settings import described, plain_settings, read_settings, secrets_in, settings_from_text


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    depth: int = 0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a server.

    Attributes:
        host: Its name,
            or its address.
        port: Where it listens.
        token: Opens it.
    """

    host: str
    port: int = 21
    tls: bool = False
    share: float = 0.5
    mode: Literal["active", "passive"] = "active"
    token: SecretText = ""
    folders: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    limit: int | None = None
    inner: Inner = Inner()
    small: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1

    def __post_init__(self) -> None:
        if self.tls and self.port == 21:
            raise ValueError("`tls` needs another `port`")


class Ftp(Flavor[Settings]):
    type = "artifact_store"
    name = "ftp"
    title = "a server"
    settings = Settings


FTP = Ftp()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("port=5000", 5000),
        ("tls=true", True),
        ("tls=false", False),
        ("share=1", 1.0),
        ("host=5000", "5000"),
        ("host=a=b", "a=b"),
        ("mode=passive", "passive"),
        ('folders=["a", "b"]', ["a", "b"]),
        ('options={"a": [1, null]}', {"a": [1, None]}),
        ("limit=3", 3),
        ("limit=null", None),
        ('inner={"depth": 2}', {"depth": 2}),
        ("token=secret:FTP", "secret:FTP"),
        ("small=5", 5),
    ],
)
def test_text_becomes_what_the_setting_takes(text, value):
    name, _, given = text.partition("=")
    found = settings_from_text(FTP, {name: given})[name]
    assert json.loads(msgspec.json.encode(found)) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port=many", "it takes a whole number"),
        ("port=1.5", "it takes a whole number"),
        ("tls=maybe", "it takes `true` or `false`"),
        ("mode=pasive", "did you mean `passive`?"),
        ("folders=a", "it takes a list, as JSON"),
        ("options=[1]", "it takes a map, as JSON"),
        ("small=9", "<= 5"),
        ('inner={"depht": 2}', "`depht`"),
        ("token=hunter2-hunter2", "is a secret that is written out"),
        ("token=secret:", "names no secret"),
        ("host=secret:a b", "names no secret"),
    ],
)
def test_text_that_a_setting_does_not_take_is_refused_by_name(text, told):
    name, _, given = text.partition("=")
    with pytest.raises(DefinitionError) as caught:
        settings_from_text(FTP, {name: given})
    assert f"`{name}`" in caught.value.summary
    assert "flavor `ftp`" in caught.value.summary
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_setting_that_does_not_exist_gets_the_nearest():
    with pytest.raises(UnknownOption) as caught:
        read_settings(FTP, {"host": "h", "prot": 3})
    assert str(caught.value) == (
        "artifact store flavor `ftp` has no setting `prot`\n  hint: did you mean `port`?"
    )


def test_a_setting_that_is_missing_says_what_it_means():
    with pytest.raises(DefinitionError) as caught:
        read_settings(FTP, {"port": 3})
    assert caught.value.summary == "artifact store flavor `ftp` needs setting `host`"
    assert caught.value.why == "Its name, or its address.\nit takes text"


def test_what_a_flavor_says_of_its_settings_together_is_told():
    with pytest.raises(DefinitionError, match="cannot be used") as caught:
        read_settings(FTP, {"host": "h", "tls": True})
    assert "`tls` needs another `port`" in caught.value.why


def test_a_value_of_the_wrong_type_is_not_converted_from_a_file():
    with pytest.raises(DefinitionError, match="`port`"):
        read_settings(FTP, {"host": "h", "port": "5000"})


def test_only_what_was_given_is_kept():
    assert plain_settings(FTP, {"host": "h", "port": 21}) == {"host": "h", "port": 21}


def test_secrets_are_found_wherever_they_are():
    settings = read_settings(
        FTP,
        {
            "host": "secret:A",
            "token": "secret:B",
            "options": {"x": ["secret:C", {"y": "secret:A"}], "z": "not secret:D"},
        },
    )
    assert secrets_in(settings) == ["A", "B", "C"]


def test_settings_are_described():
    told = {each["setting"]: each for each in described(FTP)}
    assert told["host"] == {
        "setting": "host",
        "takes": "text",
        "kind": "text",
        "choices": [],
        "required": True,
        "default": None,
        "meaning": "Its name, or its address.",
    }
    assert told["mode"]["takes"] == "`active` or `passive`"
    assert (told["mode"]["kind"], told["mode"]["choices"]) == ("choice", ["active", "passive"])
    assert told["token"]["kind"] == "secret"
    assert told["limit"]["kind"] == "integer"
    assert told["token"]["takes"] == "`secret:NAME`"
    assert told["limit"]["takes"] == "a whole number or `null`"
    assert told["inner"]["default"] == {"depth": 0}


@hypothesis.settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"host": st.text().filter(lambda text: not text.startswith("secret:"))},
        optional={
            "port": st.integers(22, 2**40),
            "tls": st.booleans(),
            "share": st.floats(allow_nan=False, allow_infinity=False),
            "folders": st.lists(st.text().filter(lambda text: not text.startswith("secret:"))),
            "limit": st.none() | st.integers(-(2**40), 2**40),
        },
    )
)
def test_whatever_is_kept_reads_back_equal(settings):
    settings.setdefault("port", 22)
    kept = json.loads(msgspec.json.encode(plain_settings(FTP, settings)))
    assert read_settings(FTP, kept) == read_settings(FTP, settings)
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    assert read_settings(
        FTP, json.loads(msgspec.json.encode(settings_from_text(FTP, text)))
    ) == read_settings(FTP, settings)
