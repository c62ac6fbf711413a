"""setup-dynamodb, the policies it prints, and what a fleet costs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from zc.cimaa import errors
from zc.cimaa.cli.setup_dynamodb import main
from zc.cimaa.dynamodb import config_parse, schemas
from zc.cimaa.dynamodb.costs import Fleet, Prices, cost, cost_with_index, shown
from zc.cimaa.dynamodb.setup.policies import ROLES, policy

from .dynamodb_servers import ACCESS, Answer, Proxy, after, altered, refused, unanswered


@pytest.fixture
def prefix() -> str:
    return f"setup-{uuid4().hex}"


@pytest.fixture
def proxy(moto_url: str) -> Iterator[Proxy]:
    proxy = Proxy(moto_url)
    yield proxy
    proxy.close()


@pytest.fixture
def conf(tmp_path: Path, proxy: Proxy, prefix: str) -> str:
    settings = {"class": "zc.cimaa.dynamodb", **ACCESS, "endpoint_url": proxy.url, "prefix": prefix}
    path = tmp_path / "conf"
    path.write_text("\n".join(["[database]", *(f"{key} = {text}" for key, text in settings.items())]))
    return str(path)


Described = Callable[[str], dict[str, Any]]


@pytest.fixture
def described(moto_client: Any, prefix: str) -> Described:
    def described(table: str) -> dict[str, Any]:
        answer: dict[str, Any] = moto_client.describe_table(TableName=f"{prefix}.{table}")["Table"]
        return answer

    return described


def test_tables_are_made_on_demand(conf: str, described: Described) -> None:
    main([conf])
    for table, key in schemas.items():
        found = described(table)
        assert (found["KeySchema"], found["TableStatus"]) == (key, "ACTIVE")
        assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_tables_are_made_as_asked_for(conf: str, described: Described, moto_client: Any) -> None:
    main([conf, "--read-units", "7", "--write-units", "9", "--deletion-protection", "--tag", "team=ops"])
    found = described("faults")
    units = found["ProvisionedThroughput"]
    assert (units["ReadCapacityUnits"], units["WriteCapacityUnits"]) == (7, 9)
    assert found["DeletionProtectionEnabled"]
    tags = moto_client.list_tags_of_resource(ResourceArn=found["TableArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "ops"}]


def test_it_may_be_run_again_and_switches_on_what_is_missing(
    conf: str, described: Described, moto_client: Any, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    main([conf, "--read-units", "7", "--write-units", "9"])
    options = ["--point-in-time-recovery", "--deletion-protection", "--tag", "a=b=c"]
    main([conf, *options])
    found = described("agents")
    assert found["ProvisionedThroughput"]["WriteCapacityUnits"] == 9
    assert found["DeletionProtectionEnabled"]
    backups = moto_client.describe_continuous_backups(TableName=found["TableName"])["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert moto_client.list_tags_of_resource(ResourceArn=found["TableArn"])["Tags"] == [{"Key": "a", "Value": "b=c"}]
    assert {*proxy.operations} <= allowed("setup")["agents"]
    proxy.clear()
    main([conf, *options])
    assert {name for name in proxy.operations if not name.startswith(("Describe", "List"))} == set()
    output = capsys.readouterr()
    assert output.out == ""
    assert "agents: active" in output.err


def test_a_dry_run_does_nothing(conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], prefix: str) -> None:
    main([conf, "--dry-run", "--point-in-time-recovery", "--read-units", "1", "--write-units", "2"])
    assert set(proxy.operations) == {"DescribeTable"}
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        f"{prefix}.agents: make the table, with 1 read and 2 write units",
        f"{prefix}.agents: switch on point-in-time recovery",
    ]
    assert len(lines) == 6
    main([conf])
    capsys.readouterr()
    main([conf, "--dry-run"])
    assert capsys.readouterr().out == "nothing to do: all tables stand\n"


def test_a_check_shows_what_is_there_and_what_would_be_done(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], prefix: str, moto_client: Any
) -> None:
    main([conf])
    capsys.readouterr()
    main([conf, "--check"])
    names = [f"{prefix}.{table}" for table in schemas]
    assert capsys.readouterr().out.splitlines() == [*(f"{name}: active, on demand" for name in names), "nothing to do"]
    moto_client.delete_table(TableName=names[1])
    proxy.clear()
    with pytest.raises(SystemExit) as ended:
        main([conf, "--check", "--deletion-protection"])
    assert ended.value.code == 1
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.splitlines() == [
        f"{names[0]}: active, on demand",
        f"{names[1]}: missing",
        f"{names[2]}: active, on demand",
        f"to do: {names[0]}: switch on protection from deletion",
        f"to do: {names[1]}: make the table, on demand, protected from deletion",
        f"to do: {names[2]}: switch on protection from deletion",
    ]
    assert set(proxy.operations) == {"DescribeTable"}


def test_a_check_shows_the_capacity_and_what_is_not_ready(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], prefix: str
) -> None:
    main([conf, "--read-units", "7", "--write-units", "9", "--deletion-protection"])
    capsys.readouterr()
    making = altered(lambda answer: answer["Table"].update(TableStatus="CREATING"))
    proxy.next("DescribeTable", *[making] * 2 * len(schemas))
    with pytest.raises(SystemExit):
        main([conf, "--check"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{prefix}.agents: creating, with 7 read and 9 write units, protected from deletion"
    assert lines[-1] == f"to do: {prefix}.squelches: wait until it is active"


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"null", b'{"Table": {}}', b'{"Table": 5}', b'{"Table": {"KeySchema": [{}]}}', b"<html>", b"\xff"],
    ids=repr,
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_response_that_is_not_dynamodbs_is_an_error_of_one_line(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], body: bytes, status: int
) -> None:
    proxy.always("DescribeTable", lambda _body, _forward: Answer(status, body))
    for arguments in ([conf], [conf, "--check"], [conf, "--dry-run"]):
        found, message = stopped(arguments, capsys)
        assert found == 1
        assert "see endpoint_url, and the proxy" in message
        assert message.count("\n") == 1


@pytest.mark.parametrize("operation", ["CreateTable", "DescribeContinuousBackups", "ListTagsOfResource"])
def test_no_response_to_setup_is_taken_for_another(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    if operation != "CreateTable":
        main([conf])
        capsys.readouterr()
    for body in (b"[]", b'{"Tags": [5], "ContinuousBackupsDescription": 5, "TableDescription": 5}'):
        proxy.always(operation, lambda _body, _forward, body=body: Answer(200, body))
        arguments = [conf, "--tag", "a=b", "--point-in-time-recovery"]
        assert "see endpoint_url, and the proxy" in stopped(arguments, capsys)[1]


def test_it_waits_until_a_table_is_active(conf: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zc.cimaa.dynamodb.setup.tables._POLL", 0.01)
    main([conf])
    backups = refused("ContinuousBackupsUnavailableException", "Backups are being enabled for the table")
    proxy.next("UpdateContinuousBackups", backups, backups)
    main([conf, "--point-in-time-recovery"])
    assert proxy.operations.count("UpdateContinuousBackups") == len(schemas) + 2


def stopped(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    return int(caught.value.code or 0), output.err


def test_a_table_with_another_key_is_told_before_anything_is_made(
    conf: str, prefix: str, moto_client: Any, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    moto_client.create_table(
        TableName=f"{prefix}.squelches",
        KeySchema=[{"AttributeName": "pattern", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pattern", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    status, message = stopped([conf], capsys)
    assert status == 1
    assert f"{prefix}.squelches exists, but its key is (pattern N), not (regex S)" in message
    assert "CreateTable" not in proxy.operations


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["nowhere.cfg"], 1, "there is no configuration file nowhere.cfg"),
        ([], 2, "Missing argument 'CONFIG'"),
        (["CONF", "--read-units", "5"], 2, "--read-units and --write-units belong together"),
        (["CONF", "--write-units", "0", "--read-units", "1"], 2, "0 is not in the range"),
        (["CONF", "--tag", "x"], 2, "'x' is no tag"),
        (["CONF", "--policy", "nobody"], 2, "'nobody' is not one of"),
        (["CONF", "--wait", "5"], 2, "'5' is no duration"),
        (["CONF", "--dryrun"], 2, "--dry-run"),
    ],
)
def test_a_mistake_is_told(
    conf: str, arguments: list[str], status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, message = stopped([conf if one == "CONF" else one for one in arguments], capsys)
    assert found == status
    assert told in message


def test_a_refusal_is_told(conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    said = "User: x is not authorized to perform: dynamodb:CreateTable on resource: y"
    proxy.next("CreateTable", refused("AccessDeniedException", said))
    status, message = stopped([conf], capsys)
    assert status == 1
    assert "do not permit dynamodb:CreateTable" in message
    proxy.always("DescribeTable", refused("ThrottlingException", "slow down"))
    assert "throttled by DynamoDB" in stopped([conf], capsys)[1]
    proxy.always("DescribeTable", lambda _body, _forward: Answer(200, b"<html>"))
    assert "see endpoint_url" in stopped([conf], capsys)[1]


def test_what_is_refused_in_passing_is_asked_for_again(conf: str, proxy: Proxy, described: Described) -> None:
    proxy.next("DescribeTable", refused("ThrottlingException", "slow down"))
    proxy.next("CreateTable", refused("InternalServerError", "oh", 500))
    main([conf])
    assert described("squelches")["TableStatus"] == "ACTIVE"


@pytest.mark.parametrize("first", ["this very command", "another"])
def test_a_table_that_was_made_in_between_will_do(conf: str, proxy: Proxy, described: Described, first: str) -> None:
    proxy.next("CreateTable", unanswered if first == "this very command" else after(lambda: main([conf])))
    main([conf, "--wait", "5s"])
    assert described("squelches")["TableStatus"] == "ACTIVE"


# Configuration


def test_the_section_as_a_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "conf"
    path.write_text("[database]\nclass = zc.cimaa.dynamodb\nregion = us-east-1\nprefix = test\n")
    section = {"class": "zc.cimaa.dynamodb", "region": "us-east-1", "prefix": "test"}
    assert config_parse(path) == section
    monkeypatch.setenv("CIMAA_DATABASE_PREFIX", "other")
    assert config_parse(str(path)) == {**section, "prefix": "other"}
    path.write_text("[database]\nclass = zc.cimaa.lmdb\n")
    monkeypatch.delenv("CIMAA_DATABASE_PREFIX")
    with pytest.raises(errors.ConfigurationError, match=r"is zc\.cimaa\.lmdb; this is for class = zc\.cimaa\.dynamodb"):
        config_parse(path)


def test_boto3_is_needed_only_to_open_a_store(conf: str) -> None:
    """Without it, the policies, the costs and the configuration still work, and the rest tells what to install."""
    code = f"""
        import sys
        sys.modules["boto3"] = None
        from zc.cimaa.config import database_settings, open_database
        from zc.cimaa.dynamodb import costs
        from zc.cimaa.cli.setup_dynamodb import main
        from zc.cimaa.errors import ConfigurationError

        assert costs.shown(costs.Fleet(), costs.Prices())
        main([{conf!r}, "--policy", "agent"])
        assert database_settings({conf!r})
        try:
            open_database({conf!r})
        except ConfigurationError as error:
            print(error)
        """
    lines = [line[8:] for line in code.splitlines()]
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert "pip install 'zc.cimaa[dynamodb]'" in result.stdout.splitlines()[-1]


# Policies


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_is_printed(conf: str, role: str, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([conf, "--policy", role])
    printed = json.loads(capsys.readouterr().out)
    assert printed == policy(role, prefix, "us-east-1")
    for statement in printed["Statement"]:
        assert all(re.fullmatch(r"dynamodb:[A-Z]\w+", action) for action in statement["Action"])
        assert all(arn.startswith(f"arn:aws:dynamodb:us-east-1:*:table/{prefix}.") for arn in statement["Resource"])


def allowed(role: str) -> dict[str, set[str]]:
    """The actions that a role may do with each table."""
    found: dict[str, set[str]] = {table: set() for table in schemas}
    for statement in policy(role, "cimaa", "eu-west-1")["Statement"]:
        for arn in statement["Resource"]:
            found[arn.rpartition(".")[2]] |= {action.removeprefix("dynamodb:") for action in statement["Action"]}
    return found


def test_what_an_agent_may_write_is_confined_to_its_own_name() -> None:
    for statement in policy("agent", "cimaa", "eu-west-1")["Statement"]:
        if statement["Action"] != ["dynamodb:Scan"]:
            condition = statement["Condition"]["ForAllValues:StringEquals"]
            assert condition == {"dynamodb:LeadingKeys": ["${aws:PrincipalTag/cimaa-agent}"]}
    assert allowed("agent")["squelches"] == {"Scan"}


@pytest.mark.parametrize(("region", "start"), [("cn-north-1", "arn:aws-cn:"), ("us-gov-west-1", "arn:aws-us-gov:")])
def test_a_partition_of_amazons_is_known_by_its_region(region: str, start: str) -> None:
    assert policy("reader", "cimaa", region)["Statement"][0]["Resource"][0].startswith(start)


# Costs


def test_a_report_costs_one_write_unit_and_nothing_else() -> None:
    quiet = Fleet(agents=60_000, interval=60, faults=100, changes=0, listings=0)
    assert cost(quiet, Prices())[:3] == (1, 1000, 0)
    assert cost(quiet, Prices(writes=1, reads=0)).dollars_a_month == pytest.approx(1000 * 3600 * 24 * 365 / 12 / 1e6)


def test_what_changes_is_read_and_written_in_a_transaction() -> None:
    busy = Fleet(agents=86_400, interval=86_400, faults=10, changes=1, listings=0)
    assert cost(busy, Prices())[:3] == (1, 1 + 4, 1)


def test_one_heartbeat_key_and_an_index_cost_more_and_end_at_a_partition() -> None:
    other = cost_with_index(Fleet(faults=2, interval=60), Prices())
    assert (other.wcu_a_report, other.most_agents) == (9, 20_000)
    assert other.dollars_a_month > 8 * cost(Fleet(faults=2, interval=60), Prices()).dollars_a_month


def test_the_figures_are_printed() -> None:
    command = [sys.executable, "-m", "zc.cimaa.dynamodb.costs", "--agents", "100000", "--interval", "5m"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == shown(Fleet(agents=100_000, interval=300), Prices()) + "\n"
    wrong = subprocess.run([*command, "--interval", "5"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "'5' is no duration" in wrong.stderr
