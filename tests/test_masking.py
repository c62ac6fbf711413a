"""Credentials in text that is shown are masked, and as much as possible of the rest is shown."""

import json
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import Cimaa
from zc.cimaa import options
from zc.cimaa.alerters import Alert
from zc.cimaa.alerters.command import Alerter as Command
from zc.cimaa.config import Config
from zc.cimaa.errors import AlertError, ConfigurationError
from zc.cimaa.masking import MASK, mask_text, mask_url
from zc.cimaa.options import Option

# Letters that occur nowhere else, with what a password may have in it.
SECRETS = st.text("XYZ/?#:@%&=. \\", min_size=1).map(lambda text: f"X{text}Z")


def secret_letters(shown: str) -> str:
    return "".join(letter for letter in shown if letter in "XYZ")


@given(
    st.sampled_from(["", "ann", "a.b-c"]),
    SECRETS,
    st.sampled_from(["http://", " https://", "http:/", "postgresql://", ""]),
)
def test_no_part_of_a_password_is_shown(user: str, password: str, scheme: str) -> None:
    for end in ("", "/", "/path", f"?token={password}", f"/path?a=b#{password}"):
        shown = mask_url(f"{scheme}{user}:{password}@host{end}")
        assert not secret_letters(shown)
        assert shown.startswith(scheme)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/", "http://host/"),
        ("http://host:8080/a/b", "http://host:8080/a/b"),
        ("http://u:p@host:8080/a", f"http://{MASK}@host:8080/a"),
        ("http://token@host", f"http://{MASK}@host"),
        ("http://host/?", "http://host/?"),
        ("http://host/a?token=x", f"http://host/a?{MASK}"),
        ("http://host#x", f"http://host#{MASK}"),
        ("http://u:p@host/a?b=c#d", f"http://{MASK}@host/a?{MASK}"),
        ("http://u:p/w@host/", f"http://{MASK}"),
        ("http://host:80/?to=a@b", f"http://host:80/?{MASK}"),
        ("http://to/ken@host/", f"http://{MASK}"),
        ("http:/u:p@h/", f"http:/{MASK}@h/"),
        (" http://u:p@h/", f" http://{MASK}@h/"),
        ("localhost:8000", "localhost:8000"),
    ],
)
def test_what_is_no_secret_stays(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "curl http://u:hush@h/x",
        "curl -H 'Authorization: Bearer hush' http://h/",
        "curl -H Authorization:hush http://h/",
        "mysql --password hush -u x",
        "mysql --password=hush",
        "check --api-key 'hush hush' x",
        "psql 'host=db password=hush dbname=x'",
        "psql \"host=db password='hush hush'\"",
        'say {"token": "hush"}',
        "env PGPASSWORD=hush psql",
        "post https://h/hook?t=hush",
        "AWS_SECRET_ACCESS_KEY=hush aws",
        "x --client-secret=hush",
        "curl http://u:hu'hush@h/x",
        'curl "http://u:hu<hush@h/x"',
        "check_ipmi --pass hush",
        "DB_PASS=hush check_db",
        "curl -H 'Authorization: Digest hush'",
        "openssl --private-key=hush",
        'say {"credentials": "hush"}',
        r'say {"password": "x\"hush"}',
        r"mysql --password=x\ hush",
        "mysql --password=it'hush",
    ],
)
def test_a_credential_in_a_command_line_is_masked(text: str) -> None:
    assert "hush" not in mask_text(text)
    assert MASK in mask_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "sh -c 'cat >> alerts.json'",
        "check_http -H www.example.com -u /status -w 1",
        "the token expired, the password was wrong",
        "pass: 3, fail: 0",
        "curl 'http://h/' --mail ann@example.com",
        "curl https://example.com/a/b",
    ],
)
def test_other_command_lines_are_shown_as_they_are(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hu/sh@h/",
        "http:/u:hush@h/",
        "u:hush@h",
        "http://u:hush@",
        "http://u:hush@h:hush/",
        "http://u:hu sh@h/",
        'http://u:hu"sh@h/',
        "http://[u:hush@h/",
    ],
)
def test_a_url_that_hides_its_password_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"endpoint: it is .* percent-encoded") as error:
        options.value("s", Option("endpoint", "", options.URL), url)
    assert "hu" not in str(error.value)


def test_every_setting_that_is_a_url_is_safe() -> None:
    option = Option("endpoint", "", options.URL)
    assert option.shown("http://u:hush@h/?t=hush") == f"http://{MASK}@h/?{MASK}"
    assert options.value("s", option, "http://u:hush@h/?t=hush") == "http://u:hush@h/?t=hush"


# Where settings are shown

DYNAMODB = """[database]
class = zc.cimaa.dynamodb
endpoint_url = http://joe:hush@127.0.0.1:9/?token=hush
region = eu-west-1
aws_access_key_id = AKIA
aws_secret_access_key = hush
connect_timeout = 1s
retry_for = 1s
"""


@pytest.mark.parametrize(
    "command", ["config", "config --json", "faults", "agent --once", "report web1 report.json", "agents", "meta-check"]
)
def test_no_command_shows_the_credentials_of_an_endpoint(cimaa: Cimaa, command: str) -> None:
    Path("cimaa.cfg").write_text(DYNAMODB)
    Path("report.json").write_text("[]")
    result = cimaa(*command.split())
    assert "hush" not in result.output
    assert "joe" not in result.output
    assert f"http://{MASK}@127.0.0.1:9/" in result.output


def test_a_store_does_not_show_the_credentials_of_its_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "cimaa.cfg"
    path.write_text(DYNAMODB)
    with Config.read(path).open_database() as db:
        assert "hush" not in repr(db)
        assert f"http://{MASK}@127.0.0.1:9/" in repr(db)


WRONG = {
    "map_size = postgresql://joe:hush@db/cimaa": "[database] map_size (file cimaa.cfg): invalid size 'postgresql://********@db/cimaa'",
    "path = x\n[metrics:x]\nclass = statsd\nport = http://joe:hush@h/": "'http://********@h/' is not a whole number",
    "class = postgresql://joe:hush@db/cimaa": "[database] class is not the name of an entry point",
    "class = host=db password=hush": "[database] class is not the name of an entry point",
    "class = zc.cimaa.postgres\ndsn = postgresql://joe:hush@[db/cimaa": "[database] dsn",
    "class = zc.cimaa.postgres\ndsn_file = postgresql://joe:hush@db/cimaa": "dsn_file (file cimaa.cfg): it is not",
    "path = x\n[alerter:x]\nclass = slack://hush/hush": "[alerter:x] class is not the name of an entry point",
    "path = x\n[alerter:x]\nclass = apprise\nurls = nothing://hush/hush": "[alerter:x] urls: ",
    "path = x\n[alerter:x]\nclass = apprise\nurls_file = slack://joe:hush@hush": "(file cimaa.cfg): it is not the path",
    "path = x\n[postgresql://joe:hush@db/cimaa]": "unknown section",
}


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("command", ["config", "agent --count 1"])
def test_no_error_shows_a_credential_that_stands_in_the_wrong_place(cimaa: Cimaa, text: str, command: str) -> None:
    Path("cimaa.cfg").write_text(f"[database]\n{text}\n")
    result = cimaa(*shlex.split(command))
    if result.exit_code == 0:  # config does not connect, so it only shows the dsn
        assert MASK in result.stdout
    else:
        assert WRONG[text] in result.stderr
    assert "hush" not in result.output


def test_what_a_check_of_processes_looks_for_is_masked_in_its_message(cimaa: Cimaa) -> None:
    result = cimaa("check", "processes", "--command", "mysqldump --password=hush")
    assert f"0 processes with command mysqldump --password={MASK}" in result.stdout


def test_what_an_alerter_s_program_complains_of_is_masked() -> None:
    program = "echo 'curl: https://joe:hush@h/?token=hush failed' >&2; exit 1"
    alerter = Command({"command": ["sh", "-c", program], "timeout": 30})
    with pytest.raises(AlertError) as error:
        alerter.send(Alert("triggered", "k", "web1", "n", 50, "m", 0))
    assert f"https://{MASK}@h/?{MASK} failed" in str(error.value)
    assert "hush" not in str(error.value)


def test_an_alerter_s_command_line_is_shown_without_its_credentials(cimaa: Cimaa) -> None:
    with Path("cimaa.cfg").open("a") as file:
        file.write("[alerter:x]\nclass = command\ncommand = curl -H 'X-Token: hush' https://joe:hush@h/\n")
    shown = json.loads(cimaa("config", "--json").stdout)["settings"]
    (command,) = [s["value"] for s in shown if s["option"] == "command"]
    assert command.startswith(f"curl -H 'X-Token: {MASK}")
    assert "hush" not in command
