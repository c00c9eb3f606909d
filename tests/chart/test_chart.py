"""The Helm chart is what Kubernetes accepts, and agrees with the services, their secrets and the topology."""

import json
from pathlib import Path
from typing import Any

import helm_python
import pytest
from kubernetes_validate import ValidationError, validate

from deploy.embedded.home import Home
from deploy.helm.render import CHART
from deploy.helm.secrets import as_manifests, make_secrets
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import SERVICES
from tests.chart.rendered import EXAMPLES, LEAST, Manifest, documents, environment, example, of_kind, pods, render

VERSIONS = ("1.28", "1.32", "1.37")
OF_OTHERS = {"ScaledObject", "PodMonitor", "ExternalSecret"}
"""Kinds of other projects, for which there are no schemas here: only their names are known to be right."""
ALL_VALUES: dict[str, dict[str, Any]] = {"least": dict(LEAST), "example": example()}
ADMIN = "postgresql+psycopg://postgres:a-password@db:5432/keyferry?sslmode=verify-full"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", ALL_VALUES)
def test_kubernetes_accepts_every_manifest(values: str, version: str) -> None:
    manifests = render(ALL_VALUES[values])
    for manifest in manifests:
        if manifest["kind"] not in OF_OTHERS:
            validate(manifest, version, strict=True)
    assert {"Deployment", "StatefulSet", "Job", "NetworkPolicy"} <= {manifest["kind"] for manifest in manifests}
    with pytest.raises(ValidationError):
        validate(manifests[-1] | {"spec": {"replicaz": 1}}, version, strict=True)


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    report = helm_python.lint(CHART, values=dict(LEAST), namespace="prod", strict=True)
    assert report["total_charts_linted"] == 1
    assert not report["errors"]
    assert not [message for message in report["messages"] if message["severity"] > 1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "nats.urls is empty"),
        ({"nats": {"urls": ["nats-0:4222"]}}, "nats"),
        ({"natz": {}}, "natz"),
        ({**LEAST, "services": {"router": {"replica": 3}}}, "replica"),
        ({**LEAST, "settings": {"PASSWORD": "x"}}, "PASSWORD"),
        ({**LEAST, "keda": {"enabled": True}}, "prometheusUrl"),
        ({**LEAST, "httpIngress": {"enabled": True}}, "names no host"),
        ({**LEAST, "secretPrefix": "Not A Name"}, "secretPrefix"),
    ],
)
def test_bad_values_are_refused_with_their_name(values: dict[str, Any], said: str) -> None:
    with pytest.raises(helm_python.HelmError, match=said):
        render(values)


def test_every_service_is_one_workload_and_workers_have_spools() -> None:
    manifests = render()
    assert set(of_kind(manifests, "Deployment", "StatefulSet")) == set(SERVICES)
    [workers] = of_kind(manifests, "StatefulSet").values()
    assert workers["metadata"]["labels"]["app.kubernetes.io/component"] == "provider-worker"
    spec = workers["spec"]
    assert spec["ordinals"] == {"start": 1}, "slots begin with 1"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    [claim] = spec["volumeClaimTemplates"]
    [container] = spec["template"]["spec"]["containers"]
    [spool] = [mount for mount in container["volumeMounts"] if mount["name"] == claim["metadata"]["name"]]
    assert environment(spec["template"]["spec"])["KEYFERRY_SPOOL_DIR"] == spool["mountPath"]
    assert set(of_kind(manifests, "PodDisruptionBudget")) == set(SERVICES)


def test_every_container_is_restricted_and_probed_on_its_operations_port() -> None:
    """What the level `restricted` of Kubernetes' pod security standards asks for, and a read-only file system."""
    for name, pod in pods(render(example())).items():
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            own = container["securityContext"]
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
        if name == "provision":
            continue
        [container] = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert str(ports["operations"]) == environment(pod)["KEYFERRY_METRICS_PORT"]
        probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {probe["port"] for probe in probes.values()} == {"operations"}
        assert {kind: probe["path"] for kind, probe in probes.items()} == {
            "startup": "/healthz",
            "liveness": "/healthz",
            "readiness": "/readyz",
        }
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]


def mounted_files(pod: Manifest, slot: int) -> dict[str, str]:
    """Return the key in the Secret of each file that a pod sees, by its path; a whole Secret by its directory."""
    [container] = pod["containers"]
    return {
        mount["mountPath"]: mount.get("subPath", mount.get("subPathExpr", "")).replace("$(KEYFERRY_SLOT)", str(slot))
        for mount in container["volumeMounts"]
        if mount["name"] == "secrets"
    }


def test_the_secrets_have_the_files_of_every_process_and_no_other(tmp_path: Path) -> None:
    secrets = make_secrets(Home(tmp_path / "home"), Secret(ADMIN), workers=3)
    assert set(secrets) == {*SERVICES, "provision"}
    for name, pod in pods(render()).items():
        [volume] = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "secrets"]
        assert volume["secretName"] == f"keyferry-{name}"
        used: set[str] = set()
        for slot in (1, 3) if name == "provider-worker" else (1,):
            mounts = mounted_files(pod, slot)
            for setting, path in environment(pod).items():
                if setting.endswith("_FILE") and path.startswith("/run/keyferry/"):
                    key = mounts.get(path) or path.removeprefix("/run/keyferry/")
                    assert key in secrets[name], f"{name}: {setting}"
                    used.add(key)
        if name != "provision":
            of_other_slots = {key for key in secrets[name] if key.startswith("2.")}
            assert used | of_other_slots == set(secrets[name]), f"{name} gets files that it does not read"
    command = [part for pod in pods(render()).values() for c in pod.get("initContainers", []) for part in c["command"]]
    assert Path(command[command.index("--seed-file") + 1]).name in secrets["provision"]


def test_a_worker_sees_the_files_of_its_own_slot_alone(tmp_path: Path) -> None:
    secrets = make_secrets(Home(tmp_path / "home"), Secret(ADMIN), workers=2)["provider-worker"]
    pod = pods(render())["provider-worker"]
    seen = {slot: {secrets[key] for key in mounted_files(pod, slot).values()} for slot in (1, 2)}
    assert seen[1] & seen[2] == {secrets["vault.pub"], secrets["content-key.pub"]}
    [entry] = [entry for entry in pod["containers"][0]["env"] if entry["name"] == "KEYFERRY_SLOT"]
    label = "metadata.labels['apps.kubernetes.io/pod-index']"
    assert entry["valueFrom"]["fieldRef"]["fieldPath"] == label


def test_network_policies_allow_what_the_services_need_and_nothing_else() -> None:
    manifests = render(example())
    policies = of_kind(manifests, "NetworkPolicy")
    assert set(policies) == {*SERVICES, "provision"}
    table = {row["name"]: row for row in json.loads((CHART / "files" / "services.json").read_text())["services"]}
    for name, policy in policies.items():
        spec = policy["spec"]
        assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
        row = table.get(name, {"httpPort": 0, "hasDatabase": True, "callsOutside": ""})
        inward = {port["port"] for rule in spec["ingress"] for port in rule["ports"]}
        assert inward == ({9464} if name != "provision" else set()) | ({row["httpPort"]} - {0})
        outward = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
        servers = {53, 4222} | ({5432} if row["hasDatabase"] else set())
        assert outward == servers | ({443, 8443, 587, 465} if row["callsOutside"] else set())
        for rule in spec["egress"]:
            for peer in rule.get("to", []):
                if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    assert "169.254.0.0/16" in peer["ipBlock"]["except"], "the metadata service of a cloud"
    assert not policies["router"]["spec"]["egress"][1:2] or policies["router"]["spec"]["egress"][1]["to"]


def test_scaling_follows_the_values() -> None:
    scaled = of_kind(render(example()), "ScaledObject")
    assert set(scaled) == {"provider-worker", "usage-ledger"}
    workloads = of_kind(render(example()), "Deployment", "StatefulSet")
    for name in scaled:
        assert "replicas" not in workloads[name]["spec"], "an upgrade must not undo what KEDA decided"
        assert scaled[name]["spec"]["scaleTargetRef"]["kind"] == workloads[name]["kind"]
    values = {**LEAST, "services": {"router": {"autoscaling": {"enabled": True}}}}
    assert set(of_kind(render(values), "HorizontalPodAutoscaler")) == {"router"}
    assert "replicas" not in of_kind(render(values), "Deployment")["router"]["spec"]


def test_a_single_pod_has_no_budget_that_would_forbid_its_eviction() -> None:
    values = {**LEAST, "services": {"notifier": {"replicas": 1}}}
    assert set(of_kind(render(values), "PodDisruptionBudget")) == set(SERVICES) - {"notifier"}


def test_no_manifest_contains_a_secret() -> None:
    assert "Secret" not in {manifest["kind"] for manifest in render(example())}


def test_the_example_of_external_secrets_names_secrets_that_pods_mount(tmp_path: Path) -> None:
    mounted = {v["secret"]["secretName"] for pod in pods(render()).values() for v in pod["volumes"] if "secret" in v}
    for document in documents(EXAMPLES / "external-secrets.yaml"):
        assert document["spec"]["target"]["name"] in mounted


def test_kubernetes_accepts_the_secrets(tmp_path: Path) -> None:
    secrets = make_secrets(
        Home(tmp_path / "home"), Secret(ADMIN), workers=2, nats_servers=("nats-0.nats", "nats-1.nats")
    )
    for manifest in as_manifests(secrets, "keyferry")["items"]:
        validate(manifest, VERSIONS[-1], strict=True)
