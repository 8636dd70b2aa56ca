"""Components of packages that do not keep what a flavor promises."""

from __future__ import annotations

import pytest

from tilth.artifact_stores import ObjectStore
from tilth.container_registries import ContainerRegistry
from tilth.errors import SetupError
from tilth.home import Home
from tilth.image_builders import ImageBuilder
from tilth.orchestrators import Orchestrator
from tilth.records import Component
from tilth.stack.assembled import AssembledStack
from tilth.stack.checking import check_completeness, check_component
from tilth.stack.component_types import TYPES
from tilth.stack.flavors import Context
from tilth.stack.opening import open_component

CODE = """
import msgspec
from tilth.stack.flavors import Flavor

class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = ""

class Ftp(Flavor[Settings]):
    type = "artifact_store"
    name = "ftp"
    title = "a server"
    settings = Settings

    def {}
"""


@pytest.fixture
def component():
    return Component(project="p", type="artifact_store", name="files", flavor="ftp")


@pytest.fixture
def context(tmp_path):
    return Context(Home(tmp_path / "home"), tmp_path, str, "files")


def has_method(installed, text):
    installed("tilth-ftp", {"artifact_store.ftp": "tilth_ftp:Ftp"}, code=CODE.format(text))


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("make(self, settings, context): return {}['nothing']", "making it failed: KeyError: 'nothing'"),
        ("make(self, settings, context): return 5", "it makes a `int`, which has no `where`, `put`"),
        ("make(self, settings, context): return None", "it makes a `NoneType`"),
        ("other(self): pass", "making it failed: NotImplementedError"),
    ],
)
def test_a_component_that_cannot_be_made_says_why_and_whose_it_is(
    installed, component, context, method, reason
):
    has_method(installed, method)
    with pytest.raises(SetupError, match=r"from package `tilth-ftp` 2\.0, cannot be used") as caught:
        open_component("artifact_store", component.used, context)
    assert reason in caught.value.why
    (found,) = check_component(component, context, ())
    assert (found.level, reason in found.why) == ("error", True)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("check(self, settings, context): raise SystemExit(4)", "SystemExit"),
        ("check(self, settings, context): return ['all is well']", "TypeError"),
    ],
)
def test_a_check_that_fails_itself_is_a_finding(installed, component, context, method, reason):
    has_method(installed, method)
    (found,) = check_component(component, context, ())
    assert (found.level, found.mend) == ("error", "tell who keeps up `tilth-ftp`")
    assert reason in found.what


def test_needs_that_fail_are_a_finding(installed, component):
    has_method(installed, "needs(self, settings): raise RuntimeError('no')")
    local = Component(project="p", type="orchestrator", name="local", flavor="local")
    stack = AssembledStack("s", {"orchestrator": local, "artifact_store": component})
    (found,) = check_completeness(stack)
    assert found.what == "the `needs` of flavor `ftp` failed: RuntimeError"


@pytest.mark.parametrize(
    ("type_", "interface"),
    [
        ("orchestrator", Orchestrator),
        ("artifact_store", ObjectStore),
        ("container_registry", ContainerRegistry),
        ("image_builder", ImageBuilder),
    ],
)
def test_what_a_component_has_to_have_is_what_its_interface_says(type_, interface):
    methods = {name for name in vars(interface) if not name.startswith("_")}
    assert set(TYPES[type_].has) == methods | set(interface.__annotations__)
