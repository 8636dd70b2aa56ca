"""Stacks and components that people make on the server."""

from __future__ import annotations

import uuid

import pytest

from tilth.records import Component
from tilth.records.access import AuditEntry


@pytest.fixture
def project(admin):
    name = uuid.uuid4().hex
    assert admin.post("/projects", {"name": name})[0] == 201
    return name


def actions(server, project):
    return [each.action for each in server.access.store.find(AuditEntry, project=project, order="created_at")]


def make(admin, project, **given):
    told = {"name": "shared", "type": "artifact_store", "flavor": "local", "settings": {"path": "/shared"}}
    return admin.post(f"/projects/{project}/stack-catalogue/components", told | given)


def test_flavors_are_told_with_what_a_form_asks_for(admin):
    status, told = admin.get("/flavors")
    assert status == 200
    assert {each["name"]: each["required"] for each in told["types"]}["orchestrator"]
    flavors = {(each["type"], each["name"]): each for each in told["flavors"]}
    assert not [each for each in flavors.values() if each["problem"]]
    settings = {each["setting"]: each for each in flavors["artifact_store", "s3"]["settings"]}
    assert settings["bucket"] == settings["bucket"] | {"kind": "text", "required": True}
    assert settings["secret"]["kind"] == "secret"
    assert flavors["artifact_store", "s3"]["requirement"] == "tilth[s3]"
    kinds = {each["kind"] for flavor in flavors.values() for each in flavor["settings"]}
    assert kinds <= {"text", "integer", "number", "boolean", "choice", "secret", "map", "list", "json"}
    for flavor in flavors.values():
        assert [
            each for each in flavor["settings"] if (each["kind"] == "choice") != bool(each["choices"])
        ] == []


def test_a_component_and_a_stack_are_made_changed_and_deleted(admin, server, project):
    where = f"/projects/{project}/stack-catalogue"
    status, shared = make(admin, project)
    assert status == 201, shared
    assert (shared["project"], shared["settings"]) == (project, {"path": "/shared"})
    status, team = admin.post(
        f"{where}/stacks",
        {"name": "team", "components": {"orchestrator": "local", "artifact_store": "shared"}},
    )
    assert status == 201, team
    assert admin.put(f"{where}/chosen", {"stack": "team"})[0] == 204
    told = admin.get(where)[1]
    assert (told["of"], told["chosen"]) == (project, "team")
    assert [each["name"] for each in told["stacks"]] == ["default", "docker-local", "team"]
    assert [each["name"] for each in told["components"] if not each["built_in"]] == ["shared"]

    changed = admin.patch(f"{where}/components/{shared['id']}", {"settings": {"path": "/other"}})[1]
    assert changed["settings"] == {"path": "/other"}
    assert admin.patch(f"{where}/components/{shared['id']}", {"settings": {}})[1].get("settings", {}) == {}
    status, told = admin.delete(f"{where}/components/{shared['id']}")
    assert (status, "is part of stack `team`" in told["error"]["summary"]) == (409, True)
    changed = admin.patch(
        f"{where}/stacks/{team['id']}", {"components": {"orchestrator": "docker", "artifact_store": "local"}}
    )[1]
    assert changed["components"] == {"orchestrator": "docker", "artifact_store": "local"}
    assert admin.delete(f"{where}/components/{shared['id']}")[0] == 204
    assert admin.delete(f"{where}/stacks/{team['id']}")[0] == 204
    told = admin.get(where)[1]
    assert (told["chosen"], len(told["stacks"])) == ("", 2)
    assert actions(server, project)[1:] == [
        "component.create",
        "stack.create",
        "stack.choose",
        "component.update",
        "component.update",
        "stack.update",
        "component.delete",
        "stack.delete",
    ]


@pytest.mark.parametrize(
    ("given", "summary"),
    [
        ({"name": "a b"}, "`a b` is no name for a component"),
        ({"type": "oven"}, "there is no component type `oven`"),
        ({"flavor": "flour"}, "there is no artifact store flavor `flour`"),
        ({"settings": {"pat": "/x"}}, "artifact store flavor `local` has no setting `pat`"),
        ({"name": "local"}, "has an artifact store `local` already"),
        (
            {"flavor": "s3", "settings": {"bucket": "b", "secret": "hunter2-hunter2"}},
            "setting `secret` of artifact store flavor `s3` is a secret that is written out",
        ),
        ({"flavor": "s3", "settings": {}}, "artifact store flavor `s3` needs setting `bucket`"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(admin, server, project, given, summary):
    status, told = make(admin, project, **given)
    assert 400 <= status < 500
    assert summary in told["error"]["summary"]
    assert "hunter2" not in str(told)
    assert actions(server, project) == ["project.create"]


def test_what_comes_with_tilth_stays(admin, project):
    where = f"/projects/{project}/stack-catalogue"
    for path in ("stacks/built-in:default", "components/built-in:artifact_store:local"):
        for status, told in (
            admin.delete(f"{where}/{path}"),
            admin.patch(f"{where}/{path}", {"components": {}, "settings": {}}),
        ):
            assert status in (400, 422), told
    assert admin.put(f"{where}/chosen", {"stack": "nowhere"})[0] == 404


def test_a_home_folder_that_is_served_tells_its_projects_apart(admin, server):
    store = server.access.store.within("")
    for name in ("bread", "soup"):
        store.add(Component(project=name, type="artifact_store", name="shared", flavor="local"))
    told = admin.get("/projects/default/stack-catalogue")[1]
    assert (told["of"], told["all_of"]) == ("bread", ["bread", "soup"])
    soup = admin.get("/projects/default/stack-catalogue?of=soup")[1]
    assert [each["project"] for each in soup["components"] if not each["built_in"]] == ["soup"]
    status, made = make(admin, "default", name="mine", of="soup")
    assert (status, made["project"]) == (201, "soup")
