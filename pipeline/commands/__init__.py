"""The commands of `debut`, one a file; `pipeline.cli` puts them together.

Their modules import nothing slow at the top: `debut --help` must answer at once.
"""
