import os
import shutil
import socket
from importlib import metadata
from pathlib import Path

import pytest
import tomli
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.version import Version

from models.errors import BadInput
from pipeline import doctor
from pipeline.cli import main
from pipeline.doctor import FAIL, OK, WARN, Finding


@pytest.fixture(scope="module")
def findings():
    return {finding.check: finding for finding in doctor.examine()}


def test_this_machine_is_fit_to_run_these_tests(findings):
    for check in ("interpreter", "packages", "encoder weights", "accelerator"):
        assert findings[check].status == OK, findings[check]


def test_it_looks_at_everything_that_a_run_and_a_server_need(findings):
    assert list(findings) == [
        "interpreter", "packages", "encoder weights", "cores", "memory", "disk", "accelerator",
        "port 8500", "port 8501", "Docker", "model server",
    ]  # fmt: skip


def test_whatever_is_not_ok_comes_with_what_to_do(findings):
    for finding in findings.values():
        assert finding.status in (OK, WARN, FAIL)
        assert finding.found
        assert (finding.remedy == "") == (finding.status == OK), finding


def test_packages_outside_their_range_and_missing_ones_are_named(monkeypatch):
    numpy = Version(metadata.version("numpy"))
    wanted = [
        f"numpy>{numpy}",
        "no-such-package>=1",
        f"click>={metadata.version('click')}",
        'absent-extra>=1; extra == "kubeflow"',
    ]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)
    found = doctor._packages()
    assert found.status == FAIL
    assert found.found == f"numpy is {numpy}, needs >{numpy}; no-such-package is missing"


def test_the_ranges_are_those_of_pyproject(monkeypatch):
    file = Path(doctor.__file__).parents[1] / "pyproject.toml"
    project = tomli.loads(file.read_text(encoding="utf-8"))["project"]
    monkeypatch.setattr(metadata, "version", lambda _: "0")
    assert set(doctor._packages().found.split("; ")) == {
        f"{wanted.name} is 0, needs {wanted.specifier}"
        for wanted in map(Requirement, project["dependencies"])
    }


def test_another_interpreter_fails(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    found = doctor._interpreter()
    assert (found.status, found.found) == (FAIL, "Python 3.12.1")
    assert "3.10" in found.remedy


def test_unusable_weights_fail_with_the_encoders_own_words(monkeypatch):
    def refuse(name):
        raise BadInput(f"{name} is damaged.")

    monkeypatch.setattr(doctor, "open_encoder", refuse)
    assert doctor._encoder() == Finding(
        "encoder weights", FAIL, "no usable all-MiniLM-L6-v2", "all-MiniLM-L6-v2 is damaged."
    )


@pytest.mark.parametrize(
    ("gibibytes", "status"), [(20.0, OK), (8.0, OK), (7.9, WARN), (3.0, WARN), (1.0, FAIL)]
)
def test_memory_is_judged_by_what_a_run_takes(monkeypatch, gibibytes, status):
    monkeypatch.setattr(doctor, "_free_memory", lambda: int(gibibytes * 1024**3))
    found = doctor._memory()
    assert (found.status, found.found) == (status, f"{gibibytes:.1f} GiB free")


def test_a_container_with_less_memory_than_its_host_counts_as_the_container(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(doctor, "_CGROUP", tmp_path)
    unlimited = doctor._free_memory()
    limit.write_text("max\n")
    assert doctor._free_memory() > unlimited // 2
    limit.write_text("1048576\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 700000\ninactive_file 200000\nslab 0\n")
    assert doctor._free_memory() == 1048576 - (900000 - 200000)
    (tmp_path / "memory.current").write_text("1300000\n")
    assert doctor._free_memory() == 0


def test_a_full_disk_fails(monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1024**2))
    assert doctor._disk().status == FAIL


def test_one_core_is_a_warning(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert doctor._cores().status == WARN


def test_a_port_in_use_is_a_warning_that_names_the_option():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = doctor._port(port, "--grpc-port")
        assert found.status == WARN
        assert "--grpc-port" in found.remedy
    assert doctor._port(port, "--grpc-port").status == OK


def test_docker_without_a_daemon_is_a_warning_and_no_docker_is_fine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor._docker().status == OK
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    assert doctor._docker().status == WARN
    docker.write_text("#!/bin/sh\nexit 0\n")
    assert doctor._docker() == Finding("Docker", OK, "answers")


def test_the_model_server_on_the_path_is_shown_else_what_serves_instead(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "`debut serve` takes embedded" in doctor._model_server().found
    binary = tmp_path / "tensorflow_model_server"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    assert doctor._model_server().found == str(binary)


def ask(monkeypatch, *findings):
    monkeypatch.setattr(doctor, "examine", lambda: list(findings))
    return CliRunner().invoke(main, ["doctor"])


def test_the_command_ends_with_0_where_nothing_fails(monkeypatch):
    result = ask(
        monkeypatch, Finding("cores", OK, "2"), Finding("port 8500", WARN, "busy", "Move.")
    )
    assert result.exit_code == 0
    assert "port 8500" in result.stdout and "busy" in result.stdout and "Move." in result.stdout
    assert result.stderr == ""


def test_the_command_ends_with_1_and_names_what_fails(monkeypatch):
    result = ask(monkeypatch, Finding("memory", FAIL, "0.1 GiB free", "End other programs."))
    assert result.exit_code == 1
    assert result.stderr == "Error: memory: see what to do above.\n"
    assert "End other programs." in result.stdout
