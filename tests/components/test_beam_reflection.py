"""What Beam is told of functions and options is the same whether it was remembered or not."""

import functools
import os
import pickle
import subprocess
import sys

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.transforms import core

from components import beam_reflection


def plain(element, times=2, *more, key=None):
    return element


class Keeps(beam.DoFn):
    def process(self, element, window=beam.DoFn.WindowParam, other=3):
        yield element

    @staticmethod
    def alone(element, end="."):
        return element

    @classmethod
    def of_class(cls, element, end="!"):
        return element

    def __call__(self, element, often=4):
        return element


FUNCTIONS = {
    "function": plain,
    "lambda": lambda one, two=[]: one,
    "method": Keeps().process,
    "unbound": Keeps.process,
    "static": Keeps.alone,
    "of a class": Keeps.of_class,
    "object": Keeps(),
    "partial": functools.partial(plain, 1, times=5),
    "wrapped": functools.wraps(plain)(lambda *args, **kwargs: None),
    "built in": len,
    "type": int,
}


def found_out_by(find_out, function):
    try:
        return find_out(function)
    except ValueError as error:  # of some built-in ones nothing is known
        return str(error)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_kind_of_function_takes_what_beam_found_out(name):
    function = FUNCTIONS[name]
    remembered = beam_reflection._remembered(core.get_function_args_defaults)
    expected = found_out_by(core.get_function_args_defaults, function)
    for _ in range(3):
        found = found_out_by(remembered, function)
        assert found == expected
        if isinstance(found, tuple):  # whoever changes the answer changes no later one
            found[0].clear()
            found[1].append("more")


def test_a_method_and_its_function_are_told_apart():
    remembered = beam_reflection._remembered(core.get_function_args_defaults)
    assert remembered(Keeps().process)[0] == ["element", "window", "other"]
    assert remembered(Keeps.process)[0] == ["self", "element", "window", "other"]
    assert remembered(Keeps().process)[0] == ["element", "window", "other"]


def test_views_of_options_are_of_one_truth_and_options_are_kept_apart(monkeypatch):
    monkeypatch.setattr(PipelineOptions, "view_as", beam_reflection._kept(PipelineOptions.view_as))
    options = PipelineOptions(["--direct_num_workers=3", "--unknown=1"], runner="DirectRunner")
    others = PipelineOptions(["--direct_num_workers=5"])
    assert options.view_as(DirectOptions).direct_num_workers == 3
    assert others.view_as(DirectOptions).direct_num_workers == 5
    assert options.view_as(StandardOptions).runner == "DirectRunner"
    options.view_as(DirectOptions).direct_num_workers = 4
    assert options.view_as(DirectOptions).direct_num_workers == 4
    assert options.view_as(StandardOptions).view_as(DirectOptions).direct_num_workers == 4
    assert options.get_all_options()["direct_num_workers"] == 4
    copy = pickle.loads(pickle.dumps(options))
    copy.view_as(DirectOptions).direct_num_workers = 9
    assert copy.view_as(DirectOptions).direct_num_workers == 9
    assert options.view_as(DirectOptions).direct_num_workers == 4


# Without the argument both counts are 1 once Beam remembers by itself: then the module can go.
ASKED_TWICE = """
import sys
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.transforms import core
from components.beam_reflection import remember

def counting(function):
    def counted(*args, **kwargs):
        counted.calls += 1
        return function(*args, **kwargs)
    counted.calls = 0
    return counted

if sys.argv[1:]:
    remember()
core.get_signature = counting(core.get_signature)
DirectOptions._add_argparse_args = read = counting(DirectOptions._add_argparse_args)
options = PipelineOptions([])
for _ in range(2):
    core.get_function_args_defaults(counting)
    options.view_as(DirectOptions)
print(core.get_signature.calls, read.calls)
"""


@pytest.mark.parametrize(("arguments", "counts"), [([], [2, 2]), (["remember"], [1, 1])])
def test_beam_finds_out_anew_unless_it_is_made_to_remember(arguments, counts):
    told = subprocess.run(
        [sys.executable, "-c", ASKED_TWICE, *arguments],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert [int(count) for count in told.stdout.split()] == counts
