"""The configuration: sources, their precedence, and errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zc.cimaa import config, errors, lmdb, memory
from zc.cimaa.agent.config import Settings
from zc.cimaa.options import MASK, Option

# What every store has, by default.
KEPT = {"history": 90 * 24 * 60 * 60, "actions": 30 * 24 * 60 * 60}


@pytest.fixture(autouse=True)
def _nothing_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("CIMAA_", "XDG_")) or name == "STATE_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "cimaa.cfg") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def effective(path: object = None) -> dict[str, tuple[str | None, str]]:
    return {
        setting.option.name: (setting.text, setting.source) for setting in config.Config.read(path).database.settings
    }  # type: ignore[arg-type]


def refused(path: object = None) -> str:
    with pytest.raises(errors.ConfigurationError) as error:
        config.open_database(path)  # type: ignore[arg-type]
    return str(error.value)


# Opening


def test_without_a_file_the_embedded_store_is_opened() -> None:
    with config.open_database() as db:
        assert isinstance(db, lmdb.DB)


def test_a_mapping_is_a_section() -> None:
    with config.open_database({"class": "zc.cimaa.memory", "name": "x"}) as db:
        assert isinstance(db, memory.DB)
        assert db.settings == {"name": "x", **KEPT}


def test_a_file_says_which_store() -> None:
    path = written("[database]\nclass = zc.cimaa.lmdb\npath = 50%-Store\nmap_size = 1MiB\n")
    with config.open_database(path) as db:
        assert db.settings == {"path": "50%-Store", "map_size": 2**20, **KEPT}
    with config.open_database(str(path)) as db:
        db.set_faults("agent", [])
    assert Path("50%-Store/data.mdb").exists()


def test_the_environment_does_not_change_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMAA_DATABASE_NAME", "y")
    with config.open_database({"class": "zc.cimaa.memory", "name": "x"}) as db:
        assert db.settings == {"name": "x", **KEPT}


# Which file


def test_files_are_looked_for_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config.find_file() is None
    home = written("", "home/.config/cimaa/cimaa.cfg")
    assert config.find_file() == tmp_path / home
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config.find_file() is None
    xdg = written("", "xdg/cimaa/cimaa.cfg")
    assert config.find_file() == tmp_path / xdg
    here = written("")
    assert config.find_file() == here
    named = written("", "named.cfg")
    monkeypatch.setenv("CIMAA_CONFIG", str(named))
    assert config.find_file() == named
    assert config.find_file("cimaa.cfg") == here


def test_a_named_file_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("nowhere.cfg") == "there is no readable configuration file nowhere.cfg"
    monkeypatch.setenv("CIMAA_CONFIG", "nowhere.cfg")
    assert refused() == "$CIMAA_CONFIG: there is no readable configuration file nowhere.cfg"


def test_a_user_without_a_home_has_no_file_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user that the system does not know
    assert config.find_file() is None


def test_paths_in_a_file_start_from_the_file(tmp_path: Path) -> None:
    path = written("[database]\npath = store\n[agent]\ndirectory = checks\n", "deeper/cimaa.cfg")
    assert effective(path)["path"][0] == "deeper/store"
    with config.open_database(path) as db:
        db.set_faults("agent", [])
    assert (tmp_path / "deeper/store/data.mdb").exists()
    secret = written("[database]\npath_file = where\n", "deeper/secret.cfg")
    written("/elsewhere\n", "deeper/where")
    assert effective(secret)["path"] == ("/elsewhere", f"file deeper/where (named by path_file in file {secret})")


# Where a setting comes from


def test_sources_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    written("[database]\nmap_size = 1MiB\npath_file = where\n")
    written("from-its-own-file\n", "where")
    found = effective()
    assert found["class"] == ("zc.cimaa.lmdb", "default")
    assert found["map_size"] == ("1MiB", "file cimaa.cfg")
    assert found["path"] == ("from-its-own-file", "file where (named by path_file in file cimaa.cfg)")
    monkeypatch.setenv("CIMAA_DATABASE_MAP_SIZE", "2MiB")
    monkeypatch.setenv("CIMAA_DATABASE_PATH", "from-environment")
    found = effective()
    assert found["map_size"] == ("2MiB", "environment variable CIMAA_DATABASE_MAP_SIZE")
    assert found["path"] == ("from-environment", "environment variable CIMAA_DATABASE_PATH")
    monkeypatch.delenv("CIMAA_DATABASE_PATH")
    monkeypatch.setenv("CIMAA_DATABASE_PATH_FILE", "elsewhere")
    written("from-another-file\n", "elsewhere")
    assert effective()["path"] == (
        "from-another-file",
        "file elsewhere (named by path_file in environment variable CIMAA_DATABASE_PATH_FILE)",
    )


def test_the_environment_alone_may_choose_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMAA_DATABASE_CLASS", "zc.cimaa.memory")
    monkeypatch.setenv("CIMAA_DATABASE_NAME", "x")
    with config.open_database() as db:
        assert db.settings == {"name": "x", **KEPT}


# Read once


def test_the_parts_of_a_configuration_are_consistent_if_the_file_is_edited() -> None:
    path = written("[database]\nclass = zc.cimaa.memory\nname = before\n[agent]\nname = before\n")
    found = config.Config.read(path)
    path.write_text("[database]\nclass = zc.cimaa.memory\nname = after\n[agent]\nname = after\n")
    with found.open_database() as db:
        assert db.settings == {"name": "before", **KEPT}
    assert Settings.load(found).name == "before"
    assert Settings.load(found.again()).name == "after"


def test_a_configuration_knows_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written("[database]\n")
    found = config.Config.read()
    assert (found.file, found.path) == (Path("cimaa.cfg"), tmp_path / "cimaa.cfg")
    monkeypatch.setenv("CIMAA_CONFIG", str(written("[database]\n", "other.cfg")))
    assert found.again().path == found.path


def test_a_setting_has_its_value_with_its_source() -> None:
    written("[database]\nmap_size = 1MiB\n")
    (size,) = [s for s in config.Config.read().database.settings if s.option.name == "map_size"]
    assert (size.text, size.value, size.source) == ("1MiB", 2**20, "file cimaa.cfg")


@pytest.mark.parametrize("command", ["agent --once", "config", "faults", "meta-check", "agent --count 1"])
def test_a_command_reads_the_file_once(command: str) -> None:
    sections = "[alerter:a]\nclass = log\n[metrics:a]\nclass = log\n"
    written(f"[database]\npath = store\n[agent]\nname = web1\nbase_interval = 1s\n{sections}")
    code = (
        "import sys; from zc.cimaa.cli import main\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, what: event == 'open' and str(what[0]).endswith('cimaa.cfg')"
        " and opened.append(what))\n"
        f"sys.argv[1:] = {command.split()!r}\n"
        "main(); sys.exit(len(opened))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path = x\n", "cannot read cimaa.cfg: line 1 is before any [section]"),
        ("[database]\nsecret\n", "cannot read cimaa.cfg: line 2 is neither a [section] nor key = value"),
        ("[database]\npath = x\npath = y\n", "cannot read cimaa.cfg: line 3: the section [database] has 'path' twice"),
        ("[database]\n[database]\n", "cannot read cimaa.cfg: line 2: the section [database] appears twice"),
        ("[database]\npaht = x\n", "[database] (file cimaa.cfg) has no option 'paht'; did you mean path?"),
        ("[database]\nPath = x\n", "[database] (file cimaa.cfg) has no option 'Path'; did you mean path?"),
        ("[database]\nclas = x\n", "[database] (file cimaa.cfg) has no option 'clas'; did you mean class?"),
        (
            "[database]\nxyzzy = x\n",
            "[database] (file cimaa.cfg) has no option 'xyzzy'; available: class, path, map_size, history, actions",
        ),
        ("[database]\nmap_size = 1GB\n", "[database] map_size (file cimaa.cfg): invalid size '1GB': write it like"),
        ("[database]\nclass = zc.cimaa.lmbd\n", "there is no backend 'zc.cimaa.lmbd'; did you mean zc.cimaa.lmdb?"),
        (
            "[database]\npath_file = nowhere\n",
            "path_file (file cimaa.cfg): cannot read nowhere: No such file or directory",
        ),
        ("[database]\npath = x\npath_file = y\n", "[database] has both path and path_file: give one of them"),
    ],
)
def test_a_wrong_file_is_refused_by_name(text: str, message: str) -> None:
    assert message in refused(written(text))


def test_a_wrong_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMAA_DATABASE_PHAT", "x")
    assert refused() == (
        "[database] (environment variable CIMAA_DATABASE_PHAT) has no option 'phat'; did you mean path?"
    )


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("cimaa.cfg").write_bytes(b"[database]\npath = \xff\n")
    assert refused() == "cannot read cimaa.cfg: it is not UTF-8 (invalid start byte)"


def test_a_byte_order_mark_does_no_harm() -> None:
    Path("cimaa.cfg").write_bytes(b"\xef\xbb\xbf[database]\npath = x\n")
    assert effective()["path"] == ("x", "file cimaa.cfg")


# Secrets


class Keeper(memory.DB):
    options = (*memory.DB.options, Option("password", "a secret", secret=True))


def test_a_secret_is_masked() -> None:
    option = Keeper.options[-1]
    assert config.Setting(option, "hush", "default").shown == MASK
    assert config.Setting(option, None, "default").shown is None
    db = Keeper({"password": "hush"})
    assert db.settings["password"] == "hush"
    assert "hush" not in repr(db)
    assert MASK in repr(db)


# Backends


def test_the_backends_are_found_by_their_entry_points() -> None:
    assert {"zc.cimaa.lmdb", "zc.cimaa.memory"} <= set(config.backend_names())
    assert config.load_backend("zc.cimaa.memory") is memory.DB


def test_a_library_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_backend(tmp_path, monkeypatch, "import library_that_nobody_has\nDB = None\n")
    with pytest.raises(errors.ConfigurationError) as error:
        config.load_backend("test.backend")
    assert "needs the Python package 'library_that_nobody_has', which is not installed" in str(error.value)
    assert "pip install library_that_nobody_has" in str(error.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("DB = 7\n", "is not a backend: 7"),
        ("1 / 0\n", "cannot be loaded: division by zero"),
        ("", "has no attribute 'DB'"),
    ],
)
def test_an_entry_point_that_is_no_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    install_backend(tmp_path, monkeypatch, code)
    with pytest.raises(errors.ConfigurationError, match=message):
        config.load_backend("test.backend")


def install_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Put a distribution with an entry point ``test.backend`` on the path."""
    name = f"backend_{abs(hash(code))}"
    site = tmp_path / "site"
    info = site / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{config.BACKENDS}]\ntest.backend = {name}:DB\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from stevedore import _cache, extension

    monkeypatch.setattr(extension.ExtensionManager, "ENTRY_POINT_CACHE", {})
    monkeypatch.setattr(_cache, "_c", _cache.Cache(str(tmp_path / "cache")))
