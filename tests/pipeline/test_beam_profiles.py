"""Runner profiles: the flags that Beam really reads, and what is refused before anything runs."""

import pytest
from apache_beam.options import pipeline_options as beam_options
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from models.errors import BadInput
from pipeline.beam_profiles import PROFILES
from pipeline.config import load_configuration
from tests.docs.pages import table

# What a profile asks for at least.
CLUSTER = {
    "flink": "--flink_master=localhost:8081",
    "spark": "--spark_master_url=spark://localhost:7077",
    "dataflow": "--project=p, --region=r, --temp_location=gs://b/t, --sdk_container_image=i",
}


def read(*settings):
    """The flags of a configuration as Beam's options."""
    args = load_configuration(None, settings).run.beam_pipeline_args
    options = PipelineOptions(args)
    known = set(options.get_all_options())
    # A flag that Beam doesn't know is only warned of.
    assert {arg.partition("=")[0].removeprefix("--") for arg in args} <= known, args
    return options


@pytest.mark.parametrize("runner", PROFILES)
def test_beam_knows_every_flag_and_the_runner_of_each_profile(runner):
    options = read(f"run.beam_runner={runner}", f"run.beam_args=[{CLUSTER.get(runner, '')}]")
    named = options.view_as(beam_options.StandardOptions).runner
    expected = {"direct": "FnApiRunner", "multi_process": "FnApiRunner"}
    assert named == expected.get(runner, f"{runner.capitalize()}Runner")
    if runner != "dataflow":  # wants Google's client libraries
        assert type(create_runner(named)).__name__ == named


def test_the_default_is_this_process_alone_and_fetches_nothing():
    options = read()
    # Beam's own default, DirectRunner, tries to fetch Prism whatever its running mode.
    assert options.view_as(beam_options.StandardOptions).runner == "FnApiRunner"
    assert options.view_as(beam_options.DirectOptions).direct_running_mode == "in_memory"


def test_an_added_flag_wins_over_the_profile_s():
    options = read("run.beam_runner=multi_process", "run.beam_args=[--direct_num_workers=3]")
    direct = options.view_as(beam_options.DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == ("multi_processing", 3)


def test_a_stage_on_prism_may_take_longer_than_beam_waits_for_a_request():
    flags = read("run.beam_runner=prism").view_as(beam_options.PortableOptions)
    # Prism's jobs end with it: a request of 6 seconds ended a job of 12.
    assert flags.job_server_timeout == 24 * 60 * 60


@pytest.mark.parametrize(
    ("runner", "flags", "said"),
    [
        ("flink", "", "flink needs --flink_master or --job_endpoint in run.beam_args"),
        ("spark", "", "spark needs --spark_master_url or --job_endpoint in run.beam_args"),
        ("dataflow", "--region=r", "needs --project, --temp_location, --sdk_container_image in"),
        ("direct", "--direct_running_mode=multi_threading", "multi_threading has lost rows"),
        ("direct", "--direct_running_mode, multi_threading", "multi_threading has lost rows"),
        ("storm", "", "run.beam_runner is 'storm'"),
    ],
)
def test_what_could_not_run_is_refused_by_name(runner, flags, said):
    with pytest.raises(BadInput, match=said):
        load_configuration(None, [f"run.beam_runner={runner}", f"run.beam_args=[{flags}]"])


def test_the_page_shows_each_profile_as_it_is():
    stated = {
        row["`run.beam_runner`"].strip("`"): tuple(row["flags"].replace("`", "").split())
        for row in table("docs/how-to/scale-out.md", "`run.beam_runner`")
    }
    assert stated == dict(PROFILES)
