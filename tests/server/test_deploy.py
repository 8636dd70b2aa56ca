"""The files under `deploy/`: what they say is understood, and the image that they name runs as they say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from tests.ports import free_port
from tests.server.processes import DEADLINE_S, wait_for
from tests.server_running import PASSWORD

from tilth.server.settings import ServerSettings, variable

DEPLOY = Path(__file__).parents[2] / "deploy"
SETTINGS = {variable(each.name) for each in fields(ServerSettings)} | {"TILTH_HOME"}


def manifests():
    return [yaml.safe_load(each.read_text()) for each in sorted((DEPLOY / "kubernetes").glob("*.yaml"))]


def deployment():
    (found,) = [each for each in manifests() if each["kind"] == "Deployment"]
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return found, container


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def rendered():
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not here")
    made = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return list(yaml.safe_load_all(made.stdout))


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_what_kustomize_renders_is_what_kubernetes_knows(rendered, version):
    for each in rendered:
        kubernetes_validate.validate(each, version, strict=True)
    assert {each["kind"] for each in rendered} == {
        "ConfigMap", "Deployment", "PersistentVolumeClaim", "PodDisruptionBudget", "Service",
    }  # fmt: skip


def test_what_kubernetes_does_not_know_is_refused(rendered):
    (found,) = [each for each in rendered if each["kind"] == "Deployment"]
    wrong = json.loads(json.dumps(found))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_parts_of_the_manifests_find_each_other(rendered):
    by_kind = {each["kind"]: each for each in rendered}
    template = by_kind["Deployment"]["spec"]["template"]
    labels = template["metadata"]["labels"]
    for selector in (
        by_kind["Deployment"]["spec"]["selector"]["matchLabels"],
        by_kind["Service"]["spec"]["selector"],
        by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    (container,) = template["spec"]["containers"]
    assert container["envFrom"][0]["configMapRef"]["name"] == by_kind["ConfigMap"]["metadata"]["name"]
    claims = [
        v["persistentVolumeClaim"]["claimName"]
        for v in template["spec"]["volumes"]
        if len(v) == 2 and "persistentVolumeClaim" in v
    ]
    assert claims == [by_kind["PersistentVolumeClaim"]["metadata"]["name"]]
    assert by_kind["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert container["ports"][0]["containerPort"] == ServerSettings().port


def test_kubernetes_gives_no_variables_that_look_like_settings():
    assert deployment()[0]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_only_settings_that_are_there_are_given():
    _, container = deployment()
    (kustomization,) = [each for each in manifests() if each["kind"] == "Kustomization"]
    given = [each["name"] for each in container["env"]] + list(compose()["server"]["environment"])
    given += [each.partition("=")[0] for each in kustomization["configMapGenerator"][0]["literals"]]
    assert set(given) <= SETTINGS


def test_no_secret_is_written_into_a_file():
    _, container = deployment()
    secret = {variable(each.name) for each in fields(ServerSettings) if each.metadata["secret"]}
    assert all(
        "secretKeyRef" in each.get("valueFrom", {}) for each in container["env"] if each["name"] in secret
    )
    for service in compose().values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name or name in secret:
                assert re.search(r"\$\{POSTGRES_PASSWORD\b", value)


def test_compose_names_what_is_there():
    whole = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    named = {v.partition(":")[0] for service in whole["services"].values() for v in service["volumes"]}
    assert named == set(whole["volumes"])
    assert set(whole["services"]["server"]["depends_on"]) <= set(whole["services"])
    # The host of the database's address is the service.
    assert "@database/" in whole["services"]["server"]["environment"]["TILTH_SERVER_DATABASE_URL"]


@pytest.fixture(scope="module")
def image(docker_engine, base_images, tmp_path_factory):
    """What `tilth build --server` makes; the stack says only which base it stands on."""
    from tests.conftest import run_cli

    home = {
        "TILTH_HOME": str(tmp_path_factory.mktemp("build") / "home"),
        "TILTH_SERVER_PACKAGES": "iniconfig>=2",
    }
    base = base_images.registry["3.11"]
    run_cli(
        "component",
        "register",
        "box",
        "--type",
        "orchestrator",
        "--flavor",
        "docker",
        "--set",
        f"base_image={base}",
        env=home,
    )
    run_cli("stack", "register", "here", "-o", "box", "-a", "local", env=home)
    (built,) = run_cli("build", "--server", "--stack", "here", "--load", "docker", "--json", env=home).json
    shown = run_cli("env", "show", "server", env=home).stdout
    yield built["references"][0].removeprefix("docker:"), shown
    run_cli("env", "prune", "--all", env=home)


@pytest.fixture
def served(image, postgres_database):
    """`served(arguments, command, variables)` runs the image until the test ends; gives its address when it answers."""
    started = []

    def served(arguments, command, variables):
        port = free_port()
        told = {**variables, "TILTH_SERVER_PORT": str(port), "TILTH_SERVER_DATABASE_URL": postgres_database}
        told["TILTH_SERVER_ADMIN_PASSWORD"] = PASSWORD
        environment = [word for name, value in told.items() for word in ("--env", f"{name}={value}")]
        made = subprocess.run(
            ["docker", "run", "--detach", "--network", "host", *arguments, *environment, image[0], *command],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        started.append(made.stdout.strip())

        def answers():
            state = subprocess.run(
                ["docker", "inspect", "--format", "{{.State.Running}}", started[-1]],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            assert state.strip() == "true", logs(started[-1])
            import httpx

            try:
                return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=20).status_code == 200
            except httpx.TransportError:
                return False

        wait_for(answers, "the server in the image answers")
        return f"http://127.0.0.1:{port}", started[-1]

    yield served
    for each in started:
        subprocess.run(["docker", "rm", "--force", "--volumes", each], capture_output=True, check=True)


def logs(container):
    told = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return told.stdout + told.stderr


@pytest.mark.slow
@pytest.mark.network
def test_the_environment_of_the_server_is_shown_with_what_was_added(image):
    assert "keeps a team's records" in image[1]
    assert "iniconfig" in image[1]
    assert "uvicorn" in image[1]


@pytest.mark.slow
@pytest.mark.network
def test_the_image_runs_as_kubernetes_is_told_to_run_it(served, postgres_database):
    found, container = deployment()
    pod = found["spec"]["template"]["spec"]["securityContext"]
    own = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    own["TILTH_SERVER_SECRETS_KEY"] = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
    user = f"{pod['runAsUser']}:{pod['runAsGroup']}"
    arguments = ["--user", user, "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    arguments += ["--tmpfs", "/tmp:mode=1777", "--tmpfs", f"/data:uid={pod['runAsUser']}"]
    one, name = served(arguments, container["command"], own)
    other, _ = served(arguments, container["command"], own)
    import httpx

    login = httpx.post(f"{one}/api/v1/login", json={"name": "admin", "password": PASSWORD}, timeout=60)
    assert login.status_code == 200
    headers = {"Authorization": f"Bearer {login.json()['token']}"}
    assert httpx.get(f"{other}/api/v1/me", headers=headers, timeout=60).status_code == 200
    for path in (container["startupProbe"]["httpGet"]["path"], container["livenessProbe"]["httpGet"]["path"]):
        assert httpx.get(f"{one}{path}", timeout=60).status_code == 200
    subprocess.run(["docker", "stop", "--time", str(int(DEADLINE_S)), name], check=True, capture_output=True)
    code = subprocess.run(
        ["docker", "inspect", "--format", "{{.State.ExitCode}}", name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert code.stdout.strip() == "0", logs(name)


@pytest.mark.slow
@pytest.mark.network
def test_the_image_runs_as_compose_is_told_to_run_it(served):
    service = compose()["server"]
    own = {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in service["environment"].items()
    }
    arguments = ["--read-only", *(f"--cap-drop={each}" for each in service["cap_drop"])]
    arguments += [f"--security-opt={each}" for each in service["security_opt"]]
    arguments += [word for each in service["tmpfs"] for word in ("--tmpfs", each)]
    arguments += [word for each in service["volumes"] for word in ("--volume", each.partition(":")[2])]
    _, name = served(arguments, service["command"], own)
    check = [each.replace(":8237", f":{_port(name)}") for each in service["healthcheck"]["test"][1:]]
    subprocess.run(["docker", "exec", name, *check], check=True, capture_output=True)
    assert all(json.loads(line) for line in logs(name).splitlines() if line.startswith("{"))


def _port(name):
    told = subprocess.run(
        ["docker", "exec", name, "printenv", "TILTH_SERVER_PORT"], check=True, capture_output=True, text=True
    )
    return told.stdout.strip()


def test_a_server_is_no_pipeline_and_no_supervisor(tilth):
    assert "exclude each other" in tilth("build", "--server", "pipeline.py", code=2).stderr
    assert "exclude each other" in tilth("build", "--server", "--supervisor", code=2).stderr
