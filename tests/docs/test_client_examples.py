"""The Python examples of "Serve and ask" run against a server, with the test model's items."""

import threading

import pytest

from serving import flags
from serving.ports import free_port
from serving.server import ModelServer
from tests.docs.pages import blocks
from tests.serving import saved_models

PAGE = "docs/how-to/serve-and-ask.md"
TARGET = "localhost:8500"
EXAMPLES = [code for page, code in blocks("python") if page == PAGE and TARGET in code]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("debut")
    saved_models.save_shop(str(folder))
    port = free_port()
    arguments = [f"--port={port}", "--model_name=debut", f"--model_base_path={folder}"]
    server = ModelServer(flags.parse([*arguments, "--bind_address=127.0.0.1"]), threading.Event())
    server.start()
    yield f"127.0.0.1:{port}"
    server.drain()


PRINTED = [
    "1 ['dill', 'egg'] [2.0, 1.0]\n",
    "['apple', 'bread'] 1\n",
    "['apple', 'bread', 'cake', 'dill', 'egg'] 1\n",
]


@pytest.mark.parametrize(("code", "printed"), zip(EXAMPLES, PRINTED, strict=True))
def test_an_example_runs_and_prints_what_the_server_answers(code, printed, target, capsys):
    # The test model knows no item 22726.
    exec(code.replace(TARGET, target).replace("22726", "egg"), {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith(printed)
