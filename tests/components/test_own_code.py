"""Another Debut's cache is told from this one's."""

import shutil
from pathlib import Path

import components
import models
from components.own_code import code_digest


def test_the_digest_is_of_what_the_modules_hold_and_not_of_where_they_are(tmp_path):
    package = tmp_path / "one"
    (package / "inner").mkdir(parents=True)
    (package / "outer.py").write_text("ONE = 1\n")
    (package / "inner" / "deep.py").write_text("TWO = 2\n")
    digest = code_digest([package])
    assert code_digest([Path(shutil.copytree(package, tmp_path / "two"))]) == digest
    (package / "inner" / "deep.cpython-310.pyc").write_bytes(b"compiled")
    assert code_digest([package]) == digest

    (package / "inner" / "deep.py").write_text("TWO = 3\n")
    changed = code_digest([package])
    assert changed != digest
    (package / "inner" / "deep.py").rename(package / "inner" / "deeper.py")
    assert code_digest([package]) not in (digest, changed)


def test_debut_itself_is_what_is_told():
    packages = [Path(package.__path__[0]) for package in (components, models)]
    assert code_digest() == code_digest(packages)
    assert all(any(package.rglob("*.py")) for package in packages)
