import pytest

from serving import flags


def test_defaults_are_the_stock_servers():
    parsed = flags.parse([])
    assert parsed.number("port") == 8500
    assert parsed.number("rest_api_port") == 0
    assert parsed.text("model_name") == "default"
    assert parsed.number("file_system_poll_wait_seconds") == 1
    assert parsed.number("load_retry_interval_micros") == 60_000_000
    assert parsed.switch("enable_model_warmup")


def test_values_come_after_an_equals_sign_and_a_bare_switch_is_on():
    parsed = flags.parse(["--port= +1", "--enable_signature_method_name_check"])
    assert parsed.number("port") == 1
    assert parsed.switch("enable_signature_method_name_check")


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("TRUE", True), ("1", True), ("False", False), ("0", False)],
)
def test_switch_is_on_or_off_in_words_of_any_case_or_in_digits(text, value):
    assert flags.parse([f"--enable_model_warmup={text}"]).switch("enable_model_warmup") is value


def test_unknown_arguments_are_kept_apart():
    other = "--xla_gpu_compilation_enabled=true"  # not in 2.16.1
    parsed = flags.parse(["--nope=1", "stray", "--port", "-model_name=x", other])
    assert parsed.unknown == ("--nope=1", "stray", "--port", "-model_name=x", other)


def test_what_follows_two_dashes_is_no_flag():
    parsed = flags.parse(["stray", "--port=1", "--", "--port=x", "--", "--version"])
    assert parsed.unknown == ("stray", "--", "--port=x", "--", "--version")
    assert parsed.number("port") == 1
    assert not parsed.switch("version")


@pytest.mark.parametrize(
    "argument",
    [
        *("--port=x", "--port=99999999999", "--port=", "--port=1_000", "--port=5 ", "--port=٥"),
        *("--per_process_gpu_memory_fraction=0_1.5", "--per_process_gpu_memory_fraction=1\n"),
        *("--enable_model_warmup=maybe", "--enable_model_warmup=", "--enable_model_warmup=01"),
    ],
)
def test_value_of_another_type_is_refused_by_name(argument):
    with pytest.raises(flags.FlagError, match=r"for flag (port|enable_model_w|per_process_g)"):
        flags.parse([argument])


def test_flags_of_features_that_are_not_there_are_told_apart_from_their_defaults():
    assert flags.parse(["--prefer_tflite_model=false", "--mixed_precision="]).lacking == ()
    parsed = flags.parse(
        ["--prefer_tflite_model", "--mixed_precision=x", "--enable_profiler=false"]
    )
    assert parsed.lacking == ("prefer_tflite_model", "mixed_precision")


def test_usage_lists_every_flag_once():
    text = flags.usage("debut-model-server")
    assert text.startswith("usage: debut-model-server\nFlags:\n")
    for flag in flags.FLAGS:
        assert text.count(f"\t--{flag.name}=") == 1
