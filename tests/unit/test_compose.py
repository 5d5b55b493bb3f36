"""compose.yaml and the Dockerfile are held against the program that they start.

No Docker is needed: what a slip of the pen would break is found by reading.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from compose_spec import PyCompose
from typer.core import TyperGroup
from typer.testing import CliRunner

from gateway.cli.main import make_cli
from workers import beat
from workers.pulse import Pulse
from workers.settings import EMULATOR_KEY, Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if "build" in service}
ONE_SHOT = "migrate"
OF_UP_ALONE = {"watchdog"}  # containers are replaced by what runs them
VARIABLE = re.compile(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}")  # its group: the default


def variables_of(name):
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def settings_of(name):
    """Those that are ours: the servers' images have words of their own."""
    return {
        key.removeprefix("PRESSROOM_").lower(): value
        for key, value in variables_of(name).items()
        if key.startswith("PRESSROOM_")
    }


def substitute(value):
    """What Compose makes of a value where only what must be set is set."""
    return VARIABLE.sub(lambda found: "given-by-somebody" if found[1] is None else found[1], value)


def call(words):
    return CliRunner().invoke(make_cli(words), words)


def compose(services):
    """Read as the specification has it: what it does not know is refused."""
    PyCompose.from_json(substitute(json.dumps({**COMPOSE, "services": services}))).validate()


def test_all_of_it_is_what_the_specification_of_compose_knows():
    compose(SERVICES)


def test_a_slip_of_the_pen_is_refused():
    with pytest.raises(ValueError, match="restrat"):
        compose({**SERVICES, "worker": {**SERVICES["worker"], "restrat": "always"}})


def test_there_is_a_service_for_each_process_that_can_be_run():
    run = typer.main.get_group(make_cli(["run"])).commands["run"]
    assert isinstance(run, TyperGroup)

    started = {service["command"][1] for service in OWN.values()}

    assert started == {command.name for command in run.commands.values()} - OF_UP_ALONE


@pytest.mark.parametrize("name", OWN)
def test_the_command_of_a_service_is_one_that_the_program_has(name):
    explained = call([*OWN[name]["command"], "--help"])

    assert explained.exit_code == 0
    assert f"pressroom {' '.join(OWN[name]['command'])} [OPTIONS]" in explained.stdout


@pytest.mark.parametrize("name", OWN)
def test_every_variable_of_a_service_is_a_setting(name):
    assert set(settings_of(name)) <= set(Settings.model_fields)


@pytest.mark.parametrize("name", OWN)
def test_what_a_service_is_given_makes_valid_settings(name, monkeypatch):
    for key, value in variables_of(name).items():
        monkeypatch.setenv(key, substitute(value))

    settings = Settings()

    assert settings.model_fields_set == set(settings_of(name))


def test_without_a_real_upstream_every_process_speaks_to_the_emulator():
    upstreams = {
        substitute(settings_of(name)["upstream_url"])
        for name in OWN
        if "upstream_url" in settings_of(name)
    }

    assert upstreams == {"http://emulator:8900/v2"}
    assert SERVICES["emulator"]["profiles"] == ["emulator"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_holds_a_secret_of_its_own(name):
    for key, value in variables_of(name).items():
        if key.endswith(("_PASSWORD", "_KEY", "_SECRET")):
            assert VARIABLE.fullmatch(value), f"{key} is written out"
            assert substitute(value) in {"given-by-somebody", EMULATOR_KEY}
        if "://" in value and "@" in value:
            password = value.split("://")[1].split("@")[0].partition(":")[2]
            assert VARIABLE.fullmatch(password), f"the password in {key} is written out"


def test_every_service_that_stays_up_says_whether_it_is_well():
    silent = {name for name, service in SERVICES.items() if "healthcheck" not in service}

    assert silent == {ONE_SHOT}


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_a_healthcheck_by_the_pulse_is_of_the_service_s_own_process(name, tmp_path):
    _, python, *words = OWN[name]["healthcheck"]["test"]

    def check():
        return subprocess.run(
            [sys.executable, *words],
            env={"PRESSROOM_DATA_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    before = check()
    Pulse(tmp_path, name).beat()
    after = check()

    assert python == "python"
    assert (before.returncode, before.stderr) == (1, f"{name} has no pulse yet\n")
    assert after.returncode == 0


def test_a_worker_s_pulse_has_the_name_that_its_command_gives_it():
    run = typer.main.get_group(make_cli(["run"])).commands["run"]
    assert isinstance(run, TyperGroup)
    [name] = [option.default for option in run.commands["worker"].params if option.name == "name"]

    assert OWN["worker"]["command"] == ["run", "worker"]
    assert OWN["worker"]["healthcheck"]["test"][-1] == name
    assert OWN["beat"]["healthcheck"]["test"][-1] == beat.NAME


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_there_and_can_be_waited_for(name):
    for awaited, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if awaited == ONE_SHOT else "service_healthy"
        assert how == {"condition": wanted}
        assert awaited in SERVICES
        assert "profiles" not in SERVICES[awaited]


def test_every_volume_that_is_mounted_is_declared():
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
    }

    assert mounted == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_port_is_open_to_this_machine_alone(name):
    for port in SERVICES[name].get("ports", ()):
        address, _, inside = port.split(":")
        assert address == "127.0.0.1"
        assert f":{inside}/" in str(SERVICES[name]["healthcheck"]["test"])


def test_there_may_be_several_workers():
    """`--scale worker=N`: nothing is named or opened that only one of them can have."""
    assert {"ports", "container_name", "hostname"}.isdisjoint(SERVICES["worker"])


def test_a_worker_is_given_time_to_finish_what_it_sends():
    assert SERVICES["worker"]["stop_grace_period"] == "45s"


def test_the_image_holds_every_package_of_the_program():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    lines = (ROOT / "Dockerfile").read_text().splitlines()

    assert [line for line in lines if line.startswith("COPY ") and "." not in line] == [
        f"COPY {package} {package}" for package in packages
    ]


def test_the_image_starts_the_program_with_a_command_that_it_has():
    text = (ROOT / "Dockerfile").read_text()
    scripts = importlib.metadata.entry_points(group="console_scripts")

    [entry] = re.findall(r'^ENTRYPOINT \["(.*)"\]$', text, re.MULTILINE)
    [words] = re.findall(r"^CMD \[(.*)\]$", text, re.MULTILINE)

    assert entry in scripts.names
    assert call([*re.findall(r'"(\w+)"', words), "--help"]).exit_code == 0
