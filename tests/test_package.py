"""The package as a whole: its version, its source distribution, and what importing it loads."""

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import zc.cimaa
from tests.support.pages import ROOT

DRIVERS = {
    "lmdb",
    "psycopg",
    "boto3",
    "botocore",
    "stevedore",
    "click",
    "rich",
    "psutil",
    "urllib3",
    "prometheus_client",
}


def test_the_version_is_the_same_everywhere() -> None:
    assert importlib.metadata.version("zc.cimaa") == zc.cimaa.__version__
    assert (ROOT / "CHANGES.rst").read_text().splitlines()[3].split()[0] == zc.cimaa.__version__


def test_the_source_distribution_has_every_file_that_the_tests_need(tmp_path: Path) -> None:
    """Built in a copy, which has no files of an earlier build."""
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, tmp_path / "copy", ignore=left_out)
    shutil.copytree(ROOT / ".ci", tmp_path / "copy" / ".ci")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, tmp_path / "copy"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        held = {name.partition("/")[2] for name in tar.getnames()}
    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert {name for name in copied if "egg-info" not in name} <= held


def test_importing_the_package_loads_no_driver() -> None:
    code = "import sys, zc.cimaa; print(sorted(name for name in sys.modules if '.' not in name))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert DRIVERS.isdisjoint(ast.literal_eval(loaded))
