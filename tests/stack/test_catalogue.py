from __future__ import annotations

import sys

import pytest

from tilth.errors import SetupError, UnknownOption
from tilth.stack import catalogue
from tilth.stack.settings import described

GOOD = """
import msgspec
from tilth.stack.flavors import Flavor

class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = ""

class Ftp(Flavor[Settings]):
    type = "artifact_store"
    name = "ftp"
    title = "a server"
    settings = Settings
"""


def test_tilths_own_flavors_are_found_and_load():
    for offer in catalogue.offers():
        if offer.package == "tilth":
            assert not offer.problem
            flavor = catalogue.load_flavor(offer.type, offer.name)
            assert (flavor.type, flavor.name, flavor.extra) == (offer.type, offer.name, offer.extra)
            assert flavor.title
            assert [each["setting"] for each in described(flavor) if not each["meaning"]] == []
            config = flavor.settings.__struct_config__
            assert config.frozen
            assert config.forbid_unknown_fields


def test_listing_imports_nothing_of_a_package(installed):
    installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code="raise RuntimeError('imported')")
    found = next(each for each in catalogue.offers() if each.name == "ftp")
    assert (found.type, found.package, found.version, found.integration) == (
        "artifact_store",
        "tilth-ftp",
        "2.0",
        "tilth-ftp",
    )
    assert "tilth_ftp" not in sys.modules


def test_a_flavor_of_another_package_loads(installed):
    installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code=GOOD)
    assert catalogue.load_flavor("artifact_store", "ftp").title == "a server"


def test_two_packages_with_one_flavor_are_both_named(installed):
    installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code=GOOD)
    installed("other-ftp", {"artifact_store.ftp": "other_ftp:Ftp"}, code=GOOD)
    with pytest.raises(SetupError) as caught:
        catalogue.load_flavor("artifact_store", "ftp")
    assert "`other-ftp` and `tilth-ftp`" in caught.value.summary


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("1 / 0", "ZeroDivisionError"),
        ("this is no Python", "SyntaxError"),
        ("", "has no attribute 'Ftp'"),
        ("Ftp = 3", "`int`, and no `Flavor`"),
        (GOOD.replace('"ftp"', '"sftp"'), "calls itself `artifact_store.sftp`"),
        (GOOD.replace("settings = Settings", "settings = dict"), "no struct of msgspec"),
        (GOOD.replace("host: str", "host: 'Hots'"), "NameError: name 'Hots' is not defined"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_flavor_that_cannot_be_used_says_why_and_whose_it_is(installed, code, reason):
    installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code=code)
    with pytest.raises(SetupError) as caught:
        catalogue.load_flavor("artifact_store", "ftp")
    assert "package `tilth-ftp` 2.0" in caught.value.summary
    assert reason in caught.value.why


def test_an_entry_point_that_is_none_is_told_and_harms_no_other(installed):
    installed("tilth-ftp", {"ftp": "tilth_ftp:Ftp", "brewery.ftp": "tilth_ftp:Ftp"})
    problems = {each.type: each.problem for each in catalogue.offers() if each.package == "tilth-ftp"}
    assert "not `TYPE.FLAVOR`" in problems["ftp"]
    assert "no component type `brewery`" in problems["brewery"]
    assert catalogue.load_flavor("orchestrator", "local")


def test_an_extra_is_the_one_named_behind_the_object(installed):
    extras = {"ftp": ["ftplib2>=1"], "ssl": ["certs"]}
    installed(
        "tilth-ftp",
        {"artifact_store.ftp": "tilth_ftp:Ftp", "artifact_store.ftps": "tilth_ftp:Ftps [ssl]"},
        extras=extras,
    )
    found = {each.name: each.requirement for each in catalogue.offers() if each.package == "tilth-ftp"}
    assert found == {
        "ftp": "tilth-ftp",
        "ftps": "tilth-ftp[ssl]",
    }  # one of its name may be for something else


@pytest.mark.parametrize(
    ("type_", "name", "hint"),
    [
        ("artifact-store", "locl", "did you mean `local`?"),
        ("artifact_stor", "local", "did you mean `artifact_store`?"),
    ],
)
def test_a_typo_gets_the_nearest(type_, name, hint):
    with pytest.raises(UnknownOption) as caught:
        catalogue.load_flavor(type_, name)
    assert hint in caught.value.mend
