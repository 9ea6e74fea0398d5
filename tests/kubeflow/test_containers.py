"""The compiled pipeline in real containers (`make test-containers`).

`DEBUT_BASE` names the base image where the one in the Dockerfile can't be pulled.
"""

import os
import subprocess

import pytest

from serving.version_labels import versions_on_disk
from tests.end_to_end.running import small
from tests.end_to_end.shop import write_shop
from tests.kubeflow.engine import IMAGE, build, container, engine
from tests.kubeflow.launcher import Cluster, Place
from tests.kubeflow.test_executed import compiled
from tests.tiny_bert import write_tiny_bert

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def image():
    program, reason = engine()
    if not program:
        pytest.skip(f"no container engine can run: {reason}")
    build(base=os.environ.get("DEBUT_BASE"))
    return IMAGE


def test_the_image_runs_as_a_user_without_rights(image):
    answer = subprocess.run(
        [engine()[0], "run", "--rm", "--entrypoint", "id", image, "-u"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == "10001"


def test_containers_run_the_compiled_pipeline_to_a_pushed_model(image, tmp_path):
    shop, encoder = write_shop(tmp_path / "shop"), write_tiny_bert(tmp_path / "bert")
    mount = tmp_path / "volume"
    mount.mkdir()
    settings = [*small(shop.folder, encoder), f"kubeflow.mount={mount}", f"kubeflow.image={image}"]
    cluster = Cluster(Place(store=tmp_path / "store", work=tmp_path / "work"), container)
    outputs = cluster.run(compiled(tmp_path, settings), "first")
    [version] = versions_on_disk(mount / "debut")
    assert outputs["AtomicPusher"]["pushed_model"]["metadata"]["pushed_version"] == str(version)
    assert (mount / "registry" / str(version) / "model").is_dir()
