"""What the page about deployment types into Docker and kubectl, as far as it runs offline."""

import shutil
import subprocess

import kubernetes_validate
import pytest
import trustme
import yaml

from tests.docs.pages import ROOT, blocks, documented_commands

PAGE = "docs/how-to/deploy.md"
WITH_KUBECTL = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")


def shown(program, *verbs):
    """The words after the program of the commands that begin with these verbs."""
    return [
        command.words[1:]
        for command in documented_commands(program)
        if tuple(command.words[1 : 1 + len(verbs)]) == verbs
    ]


def after(words, option):
    return words[words.index(option) + 1]


def test_every_command_is_of_a_kind_that_is_checked_here():
    assert {words[0] for words in shown("docker")} == {"build", "compose"}
    verbs = {words[0] for words in shown("kubectl")}
    assert verbs == {"apply", "cp", "create", "delete", "exec", "rollout", "wait"}


@pytest.mark.parametrize("words", shown("docker", "compose"), ids=" ".join)
def test_docker_compose_gets_a_file_and_a_profile_that_it_has(words):
    services = yaml.safe_load((ROOT / after(words, "--file")).read_text())["services"]
    profiles = {name for service in services.values() for name in service.get("profiles", ())}
    if "--profile" in words:
        assert after(words, "--profile") in profiles
    assert words[-2:] == ["up", "--detach"]


def test_the_image_is_built_from_a_file_and_folder_that_are_there():
    [words] = shown("docker", "build")
    assert (ROOT / after(words, "--file")).is_file() and words[-1] == "."


def deployment():
    [words] = shown("kubectl", "apply", "--kustomize")
    folder = ROOT / after(words, "--kustomize")
    assert (folder / "kustomization.yaml").is_file()
    return yaml.safe_load((folder / "deployment.yaml").read_text())


def test_the_deployment_that_is_applied_is_the_one_that_is_restarted():
    [words] = shown("kubectl", "rollout", "restart")
    assert words[2] == f"deployment/{deployment()['metadata']['name']}"


def test_the_pod_that_versions_are_copied_by_mounts_the_claim_of_the_server():
    [text] = [text for page, text in blocks("text") if page == PAGE and "kind: Pod" in text]
    pod = yaml.safe_load(text)
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    name, [container] = pod["metadata"]["name"], pod["spec"]["containers"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"]]
    server = deployment()["spec"]["template"]["spec"]
    assert claims == [
        volume["persistentVolumeClaim"]["claimName"]
        for volume in server["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert pod["spec"]["securityContext"].items() <= server["securityContext"].items()
    [mount] = container["volumeMounts"]
    [copy] = shown("kubectl", "cp")
    assert copy[2] == f"{name}:{mount['mountPath']}/debut/.incoming"
    assert all(words[1] == name for words in shown("kubectl", "exec"))
    assert [words[-1] for verb in ("wait", "delete") for words in shown("kubectl", verb)] == [
        f"pod/{name}"
    ] * 2


@WITH_KUBECTL
def test_the_secret_that_is_made_is_the_one_that_the_deployment_mounts(tmp_path):
    ca = trustme.CA()
    certificate = ca.issue_cert("debut")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    [words] = shown("kubectl", "create", "secret")
    made = subprocess.run(
        ["kubectl", *words, "--dry-run=client", "--output=yaml"],
        cwd=tmp_path, capture_output=True, check=True, text=True,
    )  # fmt: skip
    secret = yaml.safe_load(made.stdout)
    kubernetes_validate.validate(secret, kubernetes_validate.latest_version(), strict=True)
    assert set(secret["data"]) == {"tls.crt", "tls.key", "ca.crt"}
    volumes = deployment()["spec"]["template"]["spec"]["volumes"]
    mounted = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
    assert mounted == [secret["metadata"]["name"]]
