from __future__ import annotations

import json

import pytest

from tilth.client.components import Components
from tilth.client.stack_files import carry_out, exported, plan_import, to_text
from tilth.client.stacks import Stacks, active_stack, open_component
from tilth.errors import Conflict, DefinitionError, HomeTooNew, NotFound, UnknownOption
from tilth.home import Home
from tilth.project_file import project_name, project_options
from tilth.records import ComponentUsed
from tilth.secrets import open_secrets
from tilth.stack.assembled import stack_requirements
from tilth.store import open_store


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "churn"
    folder.mkdir()
    return folder


@pytest.fixture
def store(home):
    with open_store(Home(home)) as store:
        yield store


@pytest.fixture
def stacks(store, root):
    return Stacks(store, root)


@pytest.fixture
def cloud(stacks):
    """Stack `cloud`, with a bucket."""
    stacks.components.register("models", "artifact_store", "s3", {"bucket": "b", "secret": "secret:KEY"})
    return stacks.register("cloud", {"orchestrator": "local", "artifact_store": "models"})


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("pyproject.toml", '[project]\nname = "a"\n', "a"),
        ("pyproject.toml", '[project]\nname = "a"\n[tool.tilth]\nproject = "b"\n', "b"),
        ("tilth.toml", 'project = "c"\n', "c"),
        ("tilth.toml", "", "churn"),
        ("pyproject.toml", "[project]\nname = 3\n", "churn"),
    ],
)
def test_a_project_is_called_as_its_files_say_else_as_its_folder(root, file, text, name):
    (root / file).write_text(text)
    assert project_name(root) == name


def test_what_the_client_reads_of_a_projects_file_is_no_option_of_pipelines(root):
    (root / "tilth.toml").write_text('project = "c"\nstack = "cloud"\ncache = false\n')
    assert project_options(root) == {"cache": False}


@pytest.mark.parametrize("value", ["3", '""', "[]"])
def test_a_project_that_has_no_usable_name_is_told(root, value):
    (root / "tilth.toml").write_text(f"project = {value}\n")
    with pytest.raises(DefinitionError, match="`project`"):
        project_name(root)


def test_every_project_has_stacks_without_registering_any(home, root):
    assert {each.name: each.components for each in Stacks(None, root).all()} == {
        "default": {"orchestrator": "local", "artifact_store": "local"},
        "docker-local": {"orchestrator": "docker", "artifact_store": "local"},
    }
    active = active_stack(Home(home), root)
    assert (active.name, active.chosen_by) == ("default", "")
    assert active.component("artifact_store").flavor == "local"
    assert active.component("image_builder") is None
    assert not home.exists()


def test_the_active_stack_is_the_one_nearest_to_the_command(stacks, root, store, home, cloud, monkeypatch):
    def active(named=None):
        found = active_stack(Home(home), root, named, store=store)
        return found.name, found.chosen_by

    assert active() == ("default", "")
    (root / "tilth.toml").write_text('stack = "docker-local"\nproject = "churn"\n')
    assert active() == ("docker-local", "the project's file")
    stacks.choose(cloud)
    assert active() == ("cloud", "`tilth stack set`")
    monkeypatch.setenv("TILTH_STACK", "default")
    assert active() == ("default", "`TILTH_STACK`")
    assert active("docker-local") == ("docker-local", "`--stack`")
    monkeypatch.delenv("TILTH_STACK")
    stacks.choose(None)
    assert active() == ("docker-local", "the project's file")


def test_a_stack_that_is_not_there_says_who_named_it(home, root, store, monkeypatch):
    monkeypatch.setenv("TILTH_STACK", "docker-locl")
    with pytest.raises(NotFound) as caught:
        active_stack(Home(home), root, store=store)
    assert "`TILTH_STACK` names it" in caught.value.why
    assert "`docker-local`" in caught.value.mend


def test_stacks_belong_to_a_project(store, stacks, cloud, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert "cloud" not in [each.name for each in Stacks(store, other).all()]
    assert Stacks(store, other).register("cloud", {"orchestrator": "local", "artifact_store": "local"})
    stacks.choose(cloud)
    assert Stacks(store, other).chosen() == ("default", "")


def test_names_are_given_once_of_a_type(stacks, cloud):
    components = stacks.components
    for name, type_ in (("models", "artifact_store"), ("local", "artifact_store")):
        with pytest.raises(Conflict):
            components.register(name, type_, "local", {})
    components.register("models", "orchestrator", "local", {})
    with pytest.raises(DefinitionError, match="several components"):
        components.get("models")
    assert components.get("models", "orchestrator").flavor == "local"
    for name in ("cloud", "default"):
        with pytest.raises(Conflict):
            stacks.register(name, {"orchestrator": "local", "artifact_store": "local"})


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "../x", "ä", "x" * 101])
def test_what_is_no_name_is_refused(stacks, name):
    with pytest.raises(DefinitionError, match="is no name"):
        stacks.register(name, {"orchestrator": "local", "artifact_store": "local"})
    with pytest.raises(DefinitionError, match="is no name"):
        stacks.components.register(name, "artifact_store", "local", {})


def test_a_stack_has_what_every_stack_has(stacks, cloud):
    with pytest.raises(DefinitionError, match="needs an artifact store"):
        stacks.register("half", {"orchestrator": "local"})
    with pytest.raises(DefinitionError, match="needs an orchestrator"):
        stacks.update(cloud, {}, ["orchestrator"])
    with pytest.raises(NotFound, match="`modells`"):
        stacks.update(cloud, {"artifact_store": "modells"})
    with pytest.raises(UnknownOption, match="no component type"):
        stacks.update(cloud, {"artifact": "models"})


def test_what_comes_with_tilth_is_not_changed(stacks):
    default = stacks.get("default")
    local = stacks.components.get("local", "orchestrator")
    for attempt in (
        lambda: stacks.update(default, {"artifact_store": "local"}),
        lambda: stacks.delete(default),
        lambda: stacks.components.update(local, {}, []),
        lambda: stacks.components.delete(local, force=True),
    ):
        with pytest.raises(DefinitionError, match="comes with tilth"):
            attempt()


def test_a_component_that_a_stack_has_is_kept_unless_forced(stacks, cloud):
    models = stacks.components.get("models")
    with pytest.raises(Conflict, match="part of stack `cloud`"):
        stacks.components.delete(models)
    assert stacks.components.delete(models, force=True) == ["cloud"]
    assert stacks.get("cloud").components == {"orchestrator": "local"}
    with pytest.raises(NotFound):
        stacks.components.get("models")


def test_the_stack_that_was_active_is_let_go_when_it_is_deleted(stacks, cloud):
    stacks.choose(cloud)
    assert stacks.delete(cloud)
    assert stacks.chosen() == ("default", "")


def test_settings_change_one_by_one(stacks, cloud):
    components = stacks.components
    changed = components.update(components.get("models"), {"region": "eu-west-1"}, ["secret"])
    assert changed.settings == {"bucket": "b", "region": "eu-west-1"}
    assert components.get("models") == changed
    with pytest.raises(DefinitionError, match="needs setting `bucket`"):
        components.update(changed, {}, ["bucket"])
    with pytest.raises(NotFound, match="no setting `regio`"):
        components.update(changed, {}, ["regio"])


def test_of_two_who_change_a_component_the_later_is_told(stacks, cloud):
    seen = stacks.components.get("models")
    stacks.components.update(seen, {"region": "a"}, [])
    with pytest.raises(Conflict, match="somebody else"):
        stacks.components.update(seen, {"region": "b"}, [])


def test_a_check_asks_every_component(stacks, home, tmp_path, monkeypatch):
    stacks.components.register("shared", "artifact_store", "local", {"path": str(tmp_path / "shared")})
    works = stacks.register("works", {"orchestrator": "local", "artifact_store": "shared"})
    assert [each.level for _, each in stacks.check(works, Home(home))] == ["ok", "ok"]

    (tmp_path / "file").write_text("x")
    stacks.components.register("broken", "artifact_store", "local", {"path": str(tmp_path / "file" / "x")})
    broken = stacks.register("broken", {"orchestrator": "local", "artifact_store": "broken"})
    found = stacks.check(broken, Home(home))
    assert [(component.name, each.level) for component, each in found] == [
        ("local", "ok"),
        ("broken", "error"),
    ]
    assert found[1][1].mend


def test_a_check_tells_a_secret_that_is_not_set_and_never_its_value(stacks, home, cloud):
    ((component, finding),) = [each for each in stacks.check(cloud, Home(home)) if each[1].level == "error"]
    assert (component.name, finding.what, finding.mend) == (
        "models",
        "secret `KEY` is not set",
        "`tilth secret set KEY`",
    )


def test_a_check_of_a_stack_with_parts_missing_tells_them(stacks, home, cloud):
    stacks.components.delete(stacks.components.get("models"), force=True)
    told = [each.what for _, each in stacks.check(stacks.get("cloud"), Home(home))]
    assert "stack `cloud` has no artifact store" in told


def test_a_component_opens_from_what_a_run_remembers(home, root, tmp_path):
    open_secrets(Home(home)).set("KEY", "hunter2-hunter2")
    used = ComponentUsed(flavor="local", settings={"path": str(tmp_path / "shared")}, component="gone")
    objects = open_component("artifact_store", used, home=Home(home), root=root)
    assert objects.put("key", b"x")
    wrong = ComponentUsed(flavor="local", settings={"pth": "x"})
    with pytest.raises(UnknownOption, match="`pth`"):
        open_component("artifact_store", wrong, home=Home(home), root=root)


def test_what_a_stack_needs_is_named_by_extra(stacks, cloud):
    assembled = stacks.assembled(cloud)
    assert stack_requirements(assembled) == ["tilth[s3]"]
    assert stack_requirements(stacks.assembled(stacks.get("default"))) == []


@pytest.mark.parametrize("as_json", [True, False])
def test_a_stack_travels_to_another_project_by_file(stacks, store, cloud, tmp_path, as_json):
    text = to_text(exported(stacks.assembled(cloud)), as_json=as_json)
    (tmp_path / "file").write_text(text)
    there = tmp_path / "there"
    there.mkdir()
    other = Stacks(store, there)
    planned = plan_import(tmp_path / "file", other)
    assert ([each.name for each in planned.added], planned.replaced) == (["models"], ())
    carry_out(store, planned)
    assert to_text(exported(other.assembled(other.get("cloud"))), as_json=as_json) == text
    again = plan_import(tmp_path / "file", other)
    assert (again.added, again.replaced, again.changes) == ((), (), ())


def test_what_an_import_would_replace_is_told_and_nothing_done(stacks, store, cloud, tmp_path):
    document = exported(stacks.assembled(cloud))
    document["components"]["artifact_store"]["settings"]["bucket"] = "other"
    document["components"]["orchestrator"]["name"] = "mine"
    (tmp_path / "file").write_text(json.dumps(document))
    planned = plan_import(tmp_path / "file", stacks)
    assert planned.replaced == ("stack `cloud`", "artifact store `models`")
    assert stacks.components.get("models").settings["bucket"] == "b"
    carry_out(store, planned)
    assert stacks.components.get("models").settings["bucket"] == "other"
    assert stacks.get("cloud").components["orchestrator"] == "mine"


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        ("- a", DefinitionError, "holds no stack"),
        ("{", DefinitionError, "neither YAML nor JSON"),
        ({"version": 9}, HomeTooNew, "newer tilth"),
        ({"stack": "a b"}, DefinitionError, "no name"),
        ({"stak": "a"}, DefinitionError, "`stak`"),
        ({"components": {}}, DefinitionError, "no orchestrator"),
        ({"stack": "default"}, Conflict, "not the one that comes with tilth"),
        ({"components": {"brewery": {"name": "a", "flavor": "b"}}}, DefinitionError, "`brewery`"),
    ],
)
def test_a_file_that_holds_no_usable_stack_is_refused_whole(
    stacks, store, cloud, tmp_path, change, kind, told
):
    text = change
    if isinstance(change, dict):
        text = json.dumps(exported(stacks.assembled(cloud)) | change)
    (tmp_path / "file").write_text(text)
    before = stacks.all(), stacks.components.all()
    with pytest.raises(kind) as caught:
        carry_out(store, plan_import(tmp_path / "file", stacks))
    assert told in str(caught.value)
    assert (stacks.all(), stacks.components.all()) == before


@pytest.mark.parametrize(
    ("described", "kind", "told"),
    [
        ({"name": "new", "flavor": "s33"}, UnknownOption, "`s33`"),
        ({"name": "new", "flavor": "s3", "settings": {"bucket": 3}}, DefinitionError, "`bucket`"),
        (
            {"name": "new", "flavor": "s3", "settings": {"bucket": "b", "secret": "x"}},
            DefinitionError,
            "written out",
        ),
        ({"name": "local", "flavor": "local", "settings": {"path": "/x"}}, Conflict, "comes with tilth"),
    ],
)
def test_a_component_in_a_file_is_checked_as_when_it_is_registered(
    stacks, cloud, tmp_path, described, kind, told
):
    document = exported(stacks.assembled(cloud))
    document["components"]["artifact_store"] = described
    (tmp_path / "file").write_text(json.dumps(document))
    with pytest.raises(kind) as caught:
        plan_import(tmp_path / "file", stacks)
    assert told in str(caught.value)


def test_components_are_listed_by_type(store, root, cloud):
    names = [(each.type, each.name) for each in Components(store, root).all("artifact-store")]
    assert names == [("artifact_store", "local"), ("artifact_store", "models")]
