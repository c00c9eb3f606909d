"""Containers, embedded mode and the topology agree: processes, their settings, and access to files."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.docker.setup import SetupSettings
from deploy.embedded import launch, postgres
from deploy.embedded.home import Home
from deploy.embedded.operations_ports import list_processes
from deploy.embedded.services import (
    DEFAULT_CONSOLE_PORT,
    WORKER_SLOTS,
    Addresses,
    make_process_configs,
    process_name,
)
from deploy.embedded.system import DATABASE, DEFAULT_HTTP_PORT
from keyferry.contracts import topology
from keyferry.runtime.process.settings import ServiceSettings
from services.console.sign_in.settings import SignInSettings
from tests.contract.deploy.composition import (
    PROCESSES,
    ROOT,
    Container,
    compose_file,
    containers,
    services,
    settings_class,
)
from tests.support.servers import containers as test_containers

_PREFIX = "KEYFERRY_"
_UID = "10001"
_KEYCLOAK_PORT = 8402
_METRICS_PORT = 9464


def test_every_process_of_the_embedded_system_is_a_container_of_the_same_name() -> None:
    assert set(services()) == set(PROCESSES)
    for name, (row, _) in PROCESSES.items():
        assert services()[name].texts("command") == ["python", "-m", f"services.{row.name}"]
    assert {topology.role_of(name) for name in services()} == set(topology.SERVICES)
    assert sum(topology.role_of(name) is topology.Role.PROVIDER_WORKER for name in services()) == WORKER_SLOTS


@pytest.mark.parametrize("name", PROCESSES)
def test_a_container_has_the_settings_of_the_embedded_process(name: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.prepare()
    row, slot = PROCESSES[name]
    addresses = Addresses(
        nats_url="nats://nats:4222",
        http_host="0.0.0.0",
        http_port=DEFAULT_HTTP_PORT,
        metrics_host="0.0.0.0",
        metrics_ports={process_name(each, number): _METRICS_PORT for each, number in list_processes()},
    )
    processes = {
        (process.service, process.slot): process.make_spec().env
        for process in make_process_configs(home, addresses, {})
    }
    embedded, settings = processes[row.name, slot], services()[name].environment
    assert set(settings) == set(embedded)
    for variable in set(settings) - {v for v in settings if v.endswith(("_FILE", "_DIR"))}:
        assert settings[variable] == embedded[variable], variable


@pytest.mark.parametrize("name", PROCESSES)
def test_every_setting_exists_and_every_required_one_is_set(name: str) -> None:
    fields = settings_class(PROCESSES[name][0]).model_fields
    settings = {variable.removeprefix(_PREFIX).lower() for variable in services()[name].environment}
    assert settings <= set(fields)
    assert {field for field, info in fields.items() if info.is_required()} <= settings


@pytest.mark.parametrize("name", ["prepare", "provision", "users"])
def test_the_setup_has_all_its_settings(name: str) -> None:
    settings = {variable.removeprefix(_PREFIX).lower() for variable in containers()[name].environment}
    fields = SetupSettings.model_fields
    assert {field for field, info in fields.items() if info.is_required()} <= settings <= set(fields)
    assert containers()[name].texts("command") == ["python", "-m", "deploy.docker.setup", name]


@pytest.mark.parametrize("name", PROCESSES)
def test_secrets_are_files_in_a_volume_that_no_other_container_mounts(name: str) -> None:
    container = services()[name]
    [secrets] = [mount for mount in container.mounts if mount.target == "/run/keyferry"]
    assert secrets.read_only
    others = {
        (other.name, mount.target)
        for other in containers().values()
        for mount in other.mounts
        if mount.volume == secrets.volume and other.name != name
    }
    assert others == {("provision", f"/handout/{name}")}
    files = [value for variable, value in container.environment.items() if variable.endswith("_FILE")]
    assert files
    assert all(value.startswith("/run/keyferry/") for value in files)


def test_each_worker_has_its_own_spool() -> None:
    spools = {}
    for name, (row, slot) in PROCESSES.items():
        if row.has_spool:
            container = services()[name]
            [spool] = [m for m in container.mounts if m.target == container.environment["KEYFERRY_SPOOL_DIR"]]
            spools[spool.volume] = slot
            assert not spool.read_only
    assert spools == {f"spool-{slot}": slot for slot in range(1, WORKER_SLOTS + 1)}
    prepared = {mount.volume: mount.target for mount in containers()["prepare"].mounts}
    assert all(prepared[volume] == f"/handout/{volume}" for volume in spools)


def test_only_http_ports_are_published_and_only_to_this_machine() -> None:
    publishing = {name: c.texts("ports") for name, c in containers().items() if c.content.get("ports")}
    faces = {
        "ingress": ("KEYFERRY_HTTP_PORT", DEFAULT_HTTP_PORT),
        "console": ("KEYFERRY_CONSOLE_PORT", DEFAULT_CONSOLE_PORT),
    }
    published = {name: [f"127.0.0.1:${{{setting}:-{port}}}:{port}"] for name, (setting, port) in faces.items()}
    published["console"].append(f"127.0.0.1:${{KEYCLOAK_PORT:-}}:{_KEYCLOAK_PORT}")
    published["prometheus"] = ["127.0.0.1:${KEYFERRY_PROMETHEUS_PORT:-9090}:9090"]
    published["grafana"] = ["127.0.0.1:${KEYFERRY_GRAFANA_PORT:-3000}:3000"]
    assert publishing == published
    for name, (_, port) in faces.items():
        assert containers()[name].environment["KEYFERRY_HTTP_PORT"] == str(port)
    assert {c.name: c.text("network_mode") for c in containers().values() if c.text("network_mode")} == {
        "prepare": "none",
        "keycloak": "service:console",
    }


@pytest.mark.parametrize("container", containers().values(), ids=lambda container: container.name)
def test_no_container_has_more_rights_than_it_needs(container: Container) -> None:
    settings = containers()["prepare"].environment
    assert container.name == "keycloak" or container.content["read_only"] is True
    assert "no-new-privileges:true" in container.texts("security_opt")
    assert not {"privileged", "devices", "pid", "ipc"} & set(container.content)
    assert container.texts("cap_drop") == ["ALL"]
    if container.name == "keycloak":
        assert not {"cap_add", "user"} & set(container.content), "the image's own user, who is not root"
    elif container.name in ("prepare", "provision", "users"):
        assert container.texts("cap_add") == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
        assert container.text("restart") == "no"
    else:
        owner, database = settings["KEYFERRY_OWNER_UID"], settings["KEYFERRY_POSTGRES_UID"]
        users = {
            "postgres": f"{database}:{database}",
            "prometheus": "65534:65534",
            "grafana": f"{settings['KEYFERRY_GRAFANA_UID']}:0",
        }
        assert container.text("user") == users.get(container.name, f"{owner}:{owner}")
        assert not container.texts("cap_add")


def test_the_stop_grace_period_exceeds_the_drain_time() -> None:
    drain_seconds = ServiceSettings.model_fields["drain_seconds"].default
    assert drain_seconds == launch._DEFAULT_DRAIN_SECONDS
    for container in services().values():
        grace = re.fullmatch(r"(\d+)s", container.text("stop_grace_period"))
        assert grace is not None
        assert int(grace[1]) > drain_seconds + launch._KILL_MARGIN_SECONDS
        assert container.text("restart") == "unless-stopped"
    nats = containers()["nats"]
    assert (nats.text("restart"), nats.text("stop_signal")) == ("always", "SIGTERM"), "or a HUP ends the restarts"


def test_everything_starts_in_order() -> None:
    done, up, well = "service_completed_successfully", "service_started", "service_healthy"
    found = {name: container.waits_for for name, container in containers().items()}
    assert found["prepare"] == {}
    assert found["nats"] == found["postgres"] == {"prepare": done}
    assert found["provision"] == {"nats": up, "postgres": well}
    assert all(found[name] == {"provision": done} for name in PROCESSES)
    assert found["cli"] == found["users"] == {}, "each command would run the setup again"
    assert found["first-chat"] == dict.fromkeys(PROCESSES, up) | {"ingress": well}
    healthy = {name for waits in found.values() for name, until in waits.items() if until == well}
    assert all("healthcheck" in containers()[name].content for name in healthy)


def test_every_service_is_checked_at_its_operations_port() -> None:
    for container in services().values():
        check = container.mapping("healthcheck")["test"]
        assert check == ["CMD", "python", "-I", "-S", "deploy/docker/health_check.py"]
        assert (ROOT / check[-1]).is_file()
        assert container.environment["KEYFERRY_METRICS_PORT"] == str(_METRICS_PORT)
        assert not [port for port in container.texts("ports") if port.endswith(f":{_METRICS_PORT}")]


def test_every_volume_is_declared_and_used() -> None:
    used = {mount.volume for container in containers().values() for mount in container.mounts if not mount.is_file}
    assert compose_file()["volumes"] == dict.fromkeys(used)


def test_the_servers_mount_what_the_setup_generates() -> None:
    settings = containers()["prepare"].environment
    assert settings == containers()["provision"].environment
    mounts = {name: {m.volume: m.target for m in container.mounts} for name, container in containers().items()}
    assert mounts["prepare"]["installation"] == mounts["provision"]["installation"] == settings["KEYFERRY_HOME"]
    assert mounts["prepare"]["nats-config"] == f"{settings['KEYFERRY_HANDOUT_DIR']}/nats"
    assert containers()["nats"].texts("command") == ["--config", f"{mounts['nats']['nats-config']}/nats.conf"]
    assert mounts["nats"]["nats-data"] == settings["KEYFERRY_NATS_STORE_DIR"]
    assert settings["KEYFERRY_NATS_LISTEN"].rpartition(":")[2] == settings["KEYFERRY_NATS_URL"].rpartition(":")[2]
    assert (
        settings["KEYFERRY_NATS_URL"] == containers()["router"].environment["KEYFERRY_NATS_URL"] == "nats://nats:4222"
    )
    assert settings["KEYFERRY_HTTP_URL"] == f"http://ingress:{DEFAULT_HTTP_PORT}"
    assert settings["KEYFERRY_OWNER_UID"] == _UID
    assert mounts["first-chat"]["operator"] == mounts["cli"]["operator"] == settings["KEYFERRY_OPERATOR_HOME"]
    assert containers()["first-chat"].texts("command")[-1] == settings["KEYFERRY_OPERATOR_HOME"]
    assert containers()["cli"].environment == {"KEYFERRY_HOME": settings["KEYFERRY_OPERATOR_HOME"]}


def test_postgres_has_the_settings_of_the_embedded_one(tmp_path: Path) -> None:
    cluster, container = postgres.Cluster(tmp_path), containers()["postgres"]
    embedded = {option for option in cluster.make_server_spec(1).argv if "=" in option}
    own = ("listen_addresses", "port", "unix_socket_directories")  # a container has an address and a socket of its own
    wanted = {f"-c{option}" for option in embedded if not option.startswith(own)}
    assert container.texts("command") == ["postgres", *container.texts("command")[1:]]
    assert set(container.texts("command")[1:]) == wanted
    settings = container.environment
    initdb = cluster._initdb(tmp_path / "data", tmp_path / "password").argv[1:]
    assert f"--username={settings['POSTGRES_USER']}" in initdb
    of_the_image = ("--pgdata", "--username", "--pwfile")
    assert set(settings["POSTGRES_INITDB_ARGS"].split()) == {o for o in initdb if not o.startswith(of_the_image)}
    assert (settings["POSTGRES_USER"], settings["POSTGRES_DB"]) == (postgres.ADMIN, DATABASE)
    secrets = {mount.target: mount for mount in container.mounts}["/run/keyferry"]
    assert secrets.read_only
    assert settings["POSTGRES_PASSWORD_FILE"] == "/run/keyferry/admin-password"
    assert cluster.data_dir.name == f"pg{container.image.partition(':')[2]}", "the same major"


def test_tests_in_containers_use_the_images_that_are_deployed() -> None:
    assert containers()["postgres"].image == test_containers.POSTGRES_IMAGE
    assert containers()["nats"].image == test_containers.NATS_IMAGE
    for image in (test_containers.POSTGRES_IMAGE, test_containers.NATS_IMAGE):
        assert re.fullmatch(r"[a-z]+:\d+(\.\d+)*", image), "an image is pinned by its tag"


def test_the_identity_provider_is_started_on_demand_and_fits_the_example_of_settings(tmp_path: Path) -> None:
    """No Keycloak runs here: the Compose file, the realm and the example of settings are compared."""
    keycloak = containers()["keycloak"]
    assert keycloak.texts("profiles") == ["identity"]
    assert keycloak.waits_for == {"console": "service_started"}
    assert all("keycloak" not in container.waits_for for container in containers().values())
    [realm] = [mount for mount in keycloak.mounts if mount.is_file]
    assert realm.read_only
    assert (ROOT / realm.volume).is_file()
    assert realm.target == "/opt/keycloak/data/import/keyferry-realm.json"
    url = f"http://127.0.0.1:{_KEYCLOAK_PORT}"
    assert {f"--hostname={url}", f"--http-port={_KEYCLOAK_PORT}", "--import-realm"} <= set(keycloak.texts("command"))
    lines = (ROOT / "deploy/keycloak/keyferry.env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    content = json.loads((ROOT / realm.volume).read_text())
    assert example["KEYFERRY_OIDC_ISSUER"] == f"{url}/realms/{content['realm']}"
    assert [client["clientId"] for client in content["clients"]] == [example["KEYFERRY_OIDC_CLIENT_ID"]]
    assert content["clients"][0]["redirectUris"] == [f"{example['KEYFERRY_PUBLIC_URL']}/auth/callback"]
    secret = tmp_path / "secret"
    secret.write_text("a-random-secret-for-tests-0123456789abcdef")
    files = {name: str(secret) for name, value in example.items() if name.endswith("_FILE")}
    assert all(example[name].startswith("/run/keyferry/") for name in files)
    values = {name.removeprefix(_PREFIX).lower(): value for name, value in (example | files).items()}
    assert set(values) <= set(SignInSettings.model_fields)
    SignInSettings.model_validate({"nats_url": "nats://nats:4222", "http_host": "0.0.0.0", **values}).check_files()


def test_prometheus_and_grafana_are_started_on_demand_with_the_files_of_this_repository() -> None:
    prometheus, grafana = containers()["prometheus"], containers()["grafana"]
    assert prometheus.texts("profiles") == grafana.texts("profiles") == ["observe"]
    assert prometheus.waits_for == {}
    assert grafana.waits_for == {"prepare": "service_completed_successfully", "prometheus": "service_started"}
    for container in (prometheus, grafana):
        files = [mount for mount in container.mounts if mount.is_file]
        assert files
        assert all(mount.read_only and (ROOT / mount.volume).is_dir() for mount in files)
    there = {mount.target: ROOT / mount.volume for mount in (*prometheus.mounts, *grafana.mounts)}
    assert (there["/etc/prometheus"] / "prometheus.yml").is_file()
    [source] = yaml.safe_load((there["/etc/grafana/provisioning/datasources"] / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    [reader] = yaml.safe_load((there["/etc/grafana/provisioning/dashboards"] / "keyferry.yml").read_text())["providers"]
    assert list(there[reader["options"]["path"]].glob("*.json"))


def test_the_file_contains_no_secret() -> None:
    for container in containers().values():
        for name, value in container.environment.items():
            if re.search("PASSWORD|SECRET|TOKEN|SEED|NKEY|PEPPER|DATABASE_URL", name):
                assert name.endswith("_FILE")
                assert value.startswith("/run/keyferry/")


def test_docker_accepts_the_file_if_it_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    """Parsing needs no engine, only the client with its Compose plugin; without them nothing is claimed."""
    docker = shutil.which("docker")
    asked = [docker or sys.executable, *(("compose", "version") if docker else ("-c", "raise SystemExit(1)"))]
    version = subprocess.run(asked, capture_output=True, text=True, check=False)
    if version.returncode == 0 and docker is not None:
        completed = subprocess.run(
            [docker, "compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert completed.returncode == 0, completed.stderr
        return
    reason = (
        "there is no docker client" if docker is None else (version.stderr or version.stdout).strip().splitlines()[0]
    )
    assert docker is None or "compose" in reason, reason
    with capsys.disabled():
        print(f"\n  unrun: docker compose config ({reason})")
