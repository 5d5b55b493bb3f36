"""deploy/kubernetes is held against Kubernetes' own schemas, and against compose.yaml.

No cluster is needed: what a slip of the pen would break is found by reading.
"""

import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.unit.test_compose import OWN, settings_of
from workers.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(FOLDER.rglob("*.yaml"))
VERSIONS = ("1.30", "1.37")  # the oldest that is tried, and the newest
KUBECTL = shutil.which("kubectl")
NOT_OF_THIS = {"emulator"}  # it stands in for the upstream where nothing is paid for
# What compose.yaml sets for all, and only the emulator or one process needs.
NOT_FOR_ALL = {"allowed_hosts", "flower_password"}
# As KEDA documents them: its resources are none of Kubernetes' own.
KEDA = {
    "ScaledObject": {
        "type": "object",
        "additionalProperties": False,
        "required": ["scaleTargetRef", "triggers"],
        "properties": {
            "scaleTargetRef": {"type": "object", "required": ["name"]},
            "pollingInterval": {"type": "integer"},
            "cooldownPeriod": {"type": "integer"},
            "minReplicaCount": {"type": "integer"},
            "maxReplicaCount": {"type": "integer"},
            "advanced": {"type": "object"},
            "triggers": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["type", "metadata"],
                    "properties": {
                        "type": {"const": "postgresql"},
                        "authenticationRef": {"type": "object", "required": ["name"]},
                        "metadata": {
                            "type": "object",
                            "required": ["query", "targetQueryValue"],
                            "additionalProperties": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
    "TriggerAuthentication": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "secretTargetRef": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["parameter", "name", "key"],
                    "properties": {
                        "parameter": {"const": "connection"},
                        "name": {"type": "string"},
                        "key": {"type": "string"},
                    },
                },
            }
        },
    },
}


def read(path):
    return [
        (path.relative_to(FOLDER).as_posix(), one) for one in yaml.safe_load_all(path.read_text())
    ]


DOCUMENTS = [one for path in FILES if path.name != "kustomization.yaml" for one in read(path)]
OBJECTS = {(one["kind"], one["metadata"]["name"]): one for _, one in DOCUMENTS}
PODS = {
    name: one["spec"]["template"]
    for (kind, name), one in OBJECTS.items()
    if kind in {"Deployment", "Job"}
}
CONFIG = OBJECTS["ConfigMap", "settings"]["data"]
SECRETS = OBJECTS["Secret", "pressroom"]["stringData"]
NAMES = [f"{file} {one['kind']} {one['metadata']['name']}" for file, one in DOCUMENTS]


def container_of(name):
    [container] = PODS[name]["spec"]["containers"]
    return container


def environment_of(name):
    """Of a pod; a secret is what its key is called."""
    found = {}
    for variable in container_of(name)["env"]:
        source = variable.get("valueFrom", {})
        if "configMapKeyRef" in source:
            assert source["configMapKeyRef"]["name"] == "settings"
            found[variable["name"]] = CONFIG[source["configMapKeyRef"]["key"]]
        elif "secretKeyRef" in source:
            assert source["secretKeyRef"]["name"] == "pressroom"
            assert source["secretKeyRef"]["key"] in SECRETS
            found[variable["name"]] = f"secret {source['secretKeyRef']['key']}"
        else:
            found[variable["name"]] = variable["value"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", [one for _, one in DOCUMENTS], ids=NAMES)
def test_each_manifest_is_what_the_schema_of_its_kind_wants(document, version):
    if document["apiVersion"] == "keda.sh/v1alpha1":
        jsonschema.validate(document["spec"], KEDA[document["kind"]])
    else:
        kubernetes_validate.validate(document, version, strict=True)


def test_a_slip_of_the_pen_is_found_by_the_schema():
    slip = yaml.safe_load((FOLDER / "beat.yaml").read_text())
    slip["spec"]["replica"] = slip["spec"].pop("replicas")

    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(slip, VERSIONS[0], strict=True)


def test_there_is_a_pod_for_each_service_of_compose_with_the_same_command():
    assert {name: container_of(name)["args"] for name in PODS} == {
        name: service["command"] for name, service in OWN.items() if name not in NOT_OF_THIS
    }
    assert all("command" not in container_of(name) for name in PODS)  # the image's entrypoint


@pytest.mark.parametrize("name", PODS)
def test_every_variable_of_a_pod_is_a_setting_that_its_process_gets_in_compose_too(name):
    ours = {key.removeprefix("PRESSROOM_").lower() for key in environment_of(name)}

    assert ours <= set(Settings.model_fields)
    assert ours <= set(settings_of(name))


@pytest.mark.parametrize("name", ["worker", "gateway"])
def test_what_works_on_jobs_gets_all_that_it_gets_in_compose(name):
    ours = {key.removeprefix("PRESSROOM_").lower() for key in environment_of(name)}

    assert ours == set(settings_of(name)) - NOT_FOR_ALL


def test_what_needs_no_secret_is_not_given_it():
    given = {
        name: {value for value in environment_of(name).values() if value.startswith("secret ")}
        for name in ("beat", "flower", "migrate")
    }

    assert given == {
        "beat": {"secret PRESSROOM_REDIS_URL"},
        "flower": {
            "secret PRESSROOM_DATABASE_URL",
            "secret PRESSROOM_REDIS_URL",
            "secret PRESSROOM_FLOWER_PASSWORD",
        },
        "migrate": {"secret PRESSROOM_DATABASE_URL"},
    }


@pytest.mark.parametrize("name", PODS)
def test_what_a_pod_is_given_makes_valid_settings(name, monkeypatch):
    urls = {
        "secret PRESSROOM_DATABASE_URL": "postgresql://u:p@h/n?sslmode=verify-full",
        "secret PRESSROOM_REDIS_URL": "rediss://u:p@h:6379/0",
    }
    for key, value in environment_of(name).items():
        monkeypatch.setenv(key, urls.get(value, value))

    assert {f"PRESSROOM_{one.upper()}" for one in Settings().model_fields_set} == set(
        environment_of(name)
    )


def test_no_secret_is_written_out_and_each_is_used():
    used = {value for name in PODS for value in environment_of(name).values()}

    assert set(SECRETS.values()) == {""}
    assert {f"secret {key}" for key in SECRETS} <= used
    assert set(CONFIG.values()) <= used


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_nothing_but_its_work(name):
    spec, container = PODS[name]["spec"], container_of(name)
    [uid] = re.findall(r"useradd .*--uid (\d+)", (ROOT / "Dockerfile").read_text())

    assert spec["automountServiceAccountToken"] is False
    # A Service `pressroom-gateway` would set PRESSROOM_GATEWAY_PORT to an address.
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == int(uid)
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    written = {one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")}
    assert written == {"/data", "/tmp"}
    assert container["resources"].keys() == {"requests", "limits"}


@pytest.mark.parametrize("name", set(PODS) - {"migrate"})
def test_a_pod_is_asked_for_its_health_as_its_service_in_compose_is(name):
    container, asked = container_of(name), OWN[name]["healthcheck"]["test"]

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if "exec" in container[probe]:
            assert container[probe]["exec"]["command"] == asked[1:]
        elif probe == "livenessProbe":
            [port] = container["ports"]
            path = container[probe]["httpGet"]["path"]
            assert asked[-1] == f"http://127.0.0.1:{port['containerPort']}{path}"


def test_a_worker_is_given_no_less_time_to_finish_than_in_compose():
    seconds = int(OWN["worker"]["stop_grace_period"].removesuffix("s"))

    assert PODS["worker"]["spec"]["terminationGracePeriodSeconds"] >= seconds


def test_whatever_selects_pods_selects_some():
    labels = {name: pod["metadata"]["labels"] for name, pod in PODS.items()}
    selecting = {}
    for (kind, name), one in OBJECTS.items():
        spec = one.get("spec", {})
        wanted = spec.get("selector") or spec.get("podSelector")
        if wanted and kind != "Job":
            wanted = wanted.get("matchLabels", wanted)
            selecting[kind, name] = {
                pod for pod, has in labels.items() if wanted.items() <= has.items()
            }

    everything = selecting.pop(("NetworkPolicy", "pressroom"))
    assert everything == set(PODS)
    assert all(found == {name} for (_, name), found in selecting.items())
    scaled = OBJECTS["ScaledObject", "worker"]["spec"]["scaleTargetRef"]["name"]
    assert ("Deployment", scaled) in OBJECTS


def test_from_outside_the_gateway_alone_is_reached_and_by_prometheus_the_workers():
    open_to = {
        name: [rule.get("from") for rule in one["spec"]["ingress"]]
        for (kind, name), one in OBJECTS.items()
        if kind == "NetworkPolicy" and one["spec"].get("ingress")
    }
    prometheus = {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}
    [rule] = OBJECTS["Ingress", "gateway"]["spec"]["rules"]

    assert open_to == {
        "gateway": [None],
        "worker": [[{"namespaceSelector": {}, "podSelector": prometheus}]],
    }
    assert [path["backend"]["service"]["name"] for path in rule["http"]["paths"]] == ["gateway"]
    assert all(one["spec"].get("type") is None for (k, _), one in OBJECTS.items() if k == "Service")


def test_both_kustomizations_name_every_file_and_the_same_image():
    whole, first = (
        yaml.safe_load((FOLDER / name).read_text())
        for name in ("kustomization.yaml", "migrate/kustomization.yaml")
    )
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert set(whole["resources"]) == files
    assert first["resources"] == ["migrate.yaml"]
    assert (whole["images"], whole["namespace"]) == (first["images"], first["namespace"])
    assert {container_of(name)["image"] for name in PODS} == {whole["images"][0]["name"]}


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", [".", "migrate"])
def test_kustomize_builds_what_it_is_told(folder):
    built = subprocess.run(
        [str(KUBECTL), "kustomize", FOLDER / folder], capture_output=True, text=True, check=True
    )

    made = [one for one in yaml.safe_load_all(built.stdout) if one]
    assert {one["metadata"]["namespace"] for one in made} == {"pressroom"}
    for one in made:
        kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
