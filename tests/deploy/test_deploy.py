"""The recipes of docs/deploy: every manifest fits its schema, and what they say to p2pcdn is what it understands."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="pip install -e '.[test]'")
pytest.importorskip("check_jsonschema", reason="pip install -e '.[test]'")
pytest.importorskip("lightkube", reason="pip install -e '.[test]'")

from p2pcdn import __version__  # noqa: E402
from p2pcdn_daemon.commands.serve import serve  # noqa: E402
from p2pcdn_daemon.configuration.config import Config  # noqa: E402
from p2pcdn_daemon.configuration.layers import resolve  # noqa: E402
from tests.daemon.nodes import COMMAND, environment  # noqa: E402
from tests.deploy import commands, kubernetes  # noqa: E402

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
FILES = sorted(path for path in DEPLOY.iterdir() if path.is_file())
MANIFESTS = sorted(DEPLOY.glob("kubernetes*.yaml"))
SCHEMAS = {
    "github-actions.yml": ["--builtin-schema", "vendor.github-workflows"],
    "gitlab-ci.yml": ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
    "compose.yaml": ["--builtin-schema", "vendor.compose-spec"],
}


def load(name: str) -> list[dict[str, Any]]:
    return [dict(one) for one in yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8"))]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in load("kubernetes.yaml") if one["kind"] == kind]


def container() -> dict[str, Any]:
    (daemon_set,) = of_kind("DaemonSet")
    (found,) = daemon_set["spec"]["template"]["spec"]["containers"]
    return dict(found)


def configured(arguments: list[str], environ: dict[str, str]) -> Config:
    """The configuration with which a node would start there; raises where it would not."""
    flags = serve.make_context("serve", [word for word in arguments if word != "serve"]).params
    ours = {
        key.replace("_", "-"): value
        for key, value in flags.items()
        if key not in ("ready_fd", "ephemeral", "leaves_when_replaced", "config_file")
    }
    return resolve(ours, {"HOME": "/nonexistent", "P2PCDN_CONFIG": "/dev/null", **environ})


# -- schemas


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_recipe_fits_the_schema_of_its_system(name: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", *SCHEMAS[name], str(DEPLOY / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", [path.name for path in MANIFESTS])
def test_a_manifest_fits_the_types_of_the_kubernetes_api(name: str) -> None:
    manifests = load(name)
    assert manifests
    assert [fault for manifest in manifests for fault in kubernetes.faults(manifest)] == []


def test_every_recipe_has_a_schema() -> None:
    assert {path.name for path in FILES if path.suffix in (".yml", ".yaml")} == {
        *SCHEMAS,
        *(path.name for path in MANIFESTS),
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"clusterIP": "None", "prots": []}}, "no field 'prots'"),
        ({"spec": {"ports": [{"name": "index"}]}}, "missing required field `port`"),
        ({"spec": {"ports": [{"port": "7272"}]}}, "Expected `int`"),
        ({"spec": {"ports": {"port": 7272}}}, "Expected `array"),
        ({"spec": {"clusterIP": 1}}, "Expected `str"),
        ({"kind": "Sevice"}, "there is no Sevice"),
        ({"apiVersion": "apps/v9"}, "apps/v9"),
    ],
)
def test_a_wrong_manifest_is_seen(change: dict[str, Any], said: str) -> None:
    found = kubernetes.faults({"apiVersion": "v1", "kind": "Service"} | change)
    assert any(said in fault for fault in found), found


# -- what they say to p2pcdn


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_and_flag_is_there(path: Path) -> None:
    assert [fault for words in commands.said(path) if (fault := commands.wrong(words))] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    assert commands.unknown_variables(path) == set()


def test_commands_are_found_wherever_they_stand() -> None:
    found = {path.name: [words[0] for words in commands.said(path)] for path in FILES}
    assert found["Dockerfile"] == ["serve"]
    assert found["compose.yaml"] == ["serve", "status"]
    assert found["github-actions.yml"].count("run") == found["gitlab-ci.yml"].count("run") == 1
    assert "serve" in found["kubernetes.yaml"]
    assert {"serve", "run", "peers"} <= set(found["README.md"])


def test_a_wrong_command_or_flag_is_seen() -> None:
    assert commands.wrong(["serve", "--epehmeral"])
    assert commands.wrong(["srve"])
    assert commands.wrong(["run", "--ephemeral", "--", "pip", "--no-such-flag-of-ours"]) is None


def test_the_node_of_the_daemon_set_starts_with_these_settings() -> None:
    (settings,) = of_kind("ConfigMap")
    config = configured(container()["args"], settings["data"])
    assert config.peer_dns == ("p2pcdn-peers:7273",)
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert config.store.parent == Path(mounts["store"]), "the volume's own directory belongs to root"
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert (config.port, config.peer_port, config.peer_port + 1) == (ports["index"], ports["peer"], ports["sealed"])
    (job,) = load("kubernetes-job.yaml")
    hosts = {one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert f"http://{config.allow_host[0]}:{config.port}/simple/" in hosts
    (daemon_set,) = of_kind("DaemonSet")
    assert daemon_set["spec"]["template"]["spec"]["enableServiceLinks"] is False, "P2PCDN_PORT would be a URL"


def test_the_probes_of_the_daemon_set_are_answered() -> None:
    """With the arguments of the manifest; ports and store are this machine's."""
    (settings,) = of_kind("ConfigMap")
    with tempfile.TemporaryDirectory(prefix="p2") as home:
        environ = settings["data"] | {"P2PCDN_STORE": f"{home}/store", "P2PCDN_UPSTREAM": home}
        command = [*COMMAND, *container()["args"], "--port", "0", "--peer-port", "0"]
        node = subprocess.Popen(command, env=environment(Path(home), **environ), stdout=subprocess.PIPE, text=True)
        try:
            assert node.stdout is not None
            port = int(node.stdout.readline().split(":")[2].split("/")[0])
            for probe in (container()["readinessProbe"], container()["livenessProbe"]):
                asked = probe["httpGet"]
                headers = {one["name"]: one["value"] for one in asked["httpHeaders"]}
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", asked["path"], headers=headers)
                assert connection.getresponse().status == 200
                connection.close()
        finally:
            node.terminate()
            assert node.wait(30) == 0


def test_the_services_lead_to_the_nodes() -> None:
    (daemon_set,) = of_kind("DaemonSet")
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert daemon_set["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"] for port in container()["ports"]}
    for service in of_kind("Service"):
        assert service["spec"]["selector"].items() <= labels.items()
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    headless = {one["metadata"]["name"] for one in of_kind("Service") if one["spec"].get("clusterIP") == "None"}
    assert headless == {"p2pcdn-peers"}


def test_the_seed_of_the_compose_file_starts_with_these_settings() -> None:
    seed = load("compose.yaml")[0]["services"]["seed"]
    environ = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in seed["environment"].items()}
    config = configured(seed["command"], environ)
    assert config.allow_host == ("seed",)
    ports = (config.port, config.peer_port, config.peer_port + 1)  # the last is for private files
    assert {f"{port}:{port}" for port in ports} == set(seed["ports"])


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_a_jobs_node_starts_with_these_settings(name: str) -> None:
    (recipe,) = load(name)
    environ = {
        key: re.sub(r"\$\{\{.*?\}\}", "", value) for key, value in recipe.get("env", recipe.get("variables")).items()
    }
    config = configured(["--ephemeral"], environ)
    assert [one.url for one in config.upstream] == ["http://seed.example.internal:7272/simple/"]
    assert config.peer == ("seed.example.internal:7273",)


def test_the_image_has_the_version_of_the_checkout() -> None:
    named = {tag for path in FILES for tag in re.findall(r"\bp2pcdn:(\d+\.[\w.]+)", path.read_text(encoding="utf-8"))}
    assert named == {__version__}
