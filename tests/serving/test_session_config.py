from serving import flags
from serving.server import _session_config
from serving.session_config import default_session_config


def rewriting(*arguments):
    return _session_config(flags.parse(list(arguments))).graph_options.rewrite_options


def test_sessions_are_set_up_for_quick_loads_unless_a_file_says_otherwise(tmp_path):
    assert rewriting() == default_session_config().graph_options.rewrite_options
    assert rewriting().disable_tfg_optimizer
    file = tmp_path / "session.config"
    file.write_text("allow_soft_placement: true")
    assert not rewriting(f"--tensorflow_session_config_file={file}").disable_tfg_optimizer
