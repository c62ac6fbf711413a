"""setup-dynamodb, and the policies that it prints."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.dynamodb_servers import ACCESS, Answer, Proxy, Way, after, altered, refused, unanswered
from zc.cimaa import errors
from zc.cimaa.cli.commands.setup_dynamodb import main
from zc.cimaa.dynamodb import DB, config_parse, schemas
from zc.cimaa.dynamodb.records import EXPIRING
from zc.cimaa.dynamodb.setup.policies import ROLES, policy


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


def test_tables_are_created_on_demand(conf: str, described: Described) -> None:
    main([conf])
    for table, key in schemas.items():
        found = described(table)
        assert (found["KeySchema"], found["TableStatus"]) == (key, "ACTIVE")
        assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_tables_are_created_with_the_given_options(conf: str, described: Described, moto_client: Any) -> None:
    main([conf, "--read-units", "7", "--write-units", "9", "--deletion-protection", "--tag", "team=ops"])
    found = described("faults")
    units = found["ProvisionedThroughput"]
    assert (units["ReadCapacityUnits"], units["WriteCapacityUnits"]) == (7, 9)
    assert found["DeletionProtectionEnabled"]
    tags = moto_client.list_tags_of_resource(ResourceArn=found["TableArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "ops"}]


def test_it_can_be_run_again_and_enables_missing_features(
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
    assert lines[:3] == [
        f"{prefix}.agents: create the table, with 1 read and 2 write units",
        f"{prefix}.agents: enable time to live",
        f"{prefix}.agents: enable point-in-time recovery",
    ]
    assert lines[7:9] == [
        f"{prefix}.entries: create the table, with 1 read and 2 write units",
        f"{prefix}.entries: enable time to live",
    ]
    assert len(lines) == 2 * len(schemas) + len(EXPIRING)
    main([conf])
    capsys.readouterr()
    main([conf, "--dry-run"])
    assert capsys.readouterr().out == "nothing to do: all tables exist\n"


def test_a_check_shows_the_tables_and_what_would_be_done(
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
        f"{names[3]}: active, on demand",
        f"{names[4]}: active, on demand",
        f"{names[5]}: active, on demand",
        f"to do: {names[0]}: enable deletion protection",
        f"to do: {names[1]}: create the table, on demand, deletion protection",
        f"to do: {names[2]}: enable deletion protection",
        f"to do: {names[3]}: enable deletion protection",
        f"to do: {names[4]}: enable deletion protection",
        f"to do: {names[5]}: enable deletion protection",
    ]
    assert set(proxy.operations) == {"DescribeTable", "DescribeTimeToLive"}


def test_items_are_removed_after_the_time_in_expires(
    conf: str, proxy: Proxy, prefix: str, moto_client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a new table, and in one that was made without; also if the answer to the request is lost."""

    def expiring() -> Any:
        return moto_client.describe_time_to_live(TableName=f"{prefix}.entries")["TimeToLiveDescription"]

    main([conf])
    assert expiring() == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    off = {"Enabled": False, "AttributeName": "expires"}
    moto_client.update_time_to_live(TableName=f"{prefix}.entries", TimeToLiveSpecification=off)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([conf, "--check"])
    assert f"to do: {prefix}.entries: enable time to live" in capsys.readouterr().out
    proxy.next("UpdateTimeToLive", unanswered)
    main([conf])
    assert expiring() == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}
    proxy.clear()
    main([conf])
    assert "UpdateTimeToLive" not in proxy.operations


def test_a_check_shows_the_capacity_and_the_status(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], prefix: str
) -> None:
    main([conf, "--read-units", "7", "--write-units", "9", "--deletion-protection"])
    capsys.readouterr()
    making = altered(lambda answer: answer["Table"].update(TableStatus="CREATING"))
    proxy.next("DescribeTable", *[making] * 2 * len(schemas))
    with pytest.raises(SystemExit):
        main([conf, "--check"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{prefix}.agents: creating, with 7 read and 9 write units, deletion protection"
    assert lines[-1] == f"to do: {prefix}.{[*schemas][-1]}: wait until it is active"


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"null", b'{"Table": {}}', b'{"Table": 5}', b'{"Table": {"KeySchema": [{}]}}', b"<html>", b"\xff"],
    ids=repr,
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_response_that_does_not_come_from_dynamodb_is_an_error_of_one_line(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], body: bytes, status: int
) -> None:
    proxy.always("DescribeTable", lambda _body, _forward: Answer(status, body))
    for arguments in ([conf], [conf, "--check"], [conf, "--dry-run"]):
        found, message = stopped(arguments, capsys)
        assert found == 1
        assert "check endpoint_url and the proxy" in message
        assert message.count("\n") == 1


@pytest.mark.parametrize(
    "operation", ["CreateTable", "DescribeContinuousBackups", "DescribeTimeToLive", "ListTagsOfResource"]
)
def test_no_response_to_setup_is_mistaken_for_another(
    conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    if operation != "CreateTable":
        main([conf])
        capsys.readouterr()
    for body in (
        b"[]",
        b'{"Tags": [5], "ContinuousBackupsDescription": 5, "TableDescription": 5, "TimeToLiveDescription": 5}',
    ):
        proxy.always(operation, lambda _body, _forward, body=body: Answer(200, body))
        arguments = [conf, "--tag", "a=b", "--point-in-time-recovery"]
        assert "check endpoint_url and the proxy" in stopped(arguments, capsys)[1]


def test_it_waits_until_a_table_is_active(conf: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zc.cimaa.dynamodb.setup.provisioning._POLL", 0.01)
    main([conf])
    backups = refused("ContinuousBackupsUnavailableException", "Backups are being enabled for the table")
    proxy.next("UpdateContinuousBackups", backups, backups)
    main([conf, "--point-in-time-recovery"])
    assert proxy.operations.count("UpdateContinuousBackups") == len(schemas) + 2


@pytest.mark.parametrize("way", [refused("InternalServerError", "oh", 500), unanswered], ids=["failed", "unanswered"])
def test_time_to_live_is_enabled_once(conf: str, proxy: Proxy, prefix: str, moto_client: Any, way: Way) -> None:
    proxy.next("UpdateTimeToLive", way)
    main([conf])
    main([conf])
    assert proxy.operations.count("UpdateTimeToLive") == len(EXPIRING) + 1
    for table, attribute in EXPIRING.items():
        found = moto_client.describe_time_to_live(TableName=f"{prefix}.{table}")["TimeToLiveDescription"]
        assert found == {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}


def test_a_time_to_live_in_another_attribute_is_reported(
    conf: str, prefix: str, moto_client: Any, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    main([conf])
    capsys.readouterr()
    for enabled, attribute in ((False, "expires"), (True, "other")):
        moto_client.update_time_to_live(
            TableName=f"{prefix}.history", TimeToLiveSpecification={"Enabled": enabled, "AttributeName": attribute}
        )
    status, message = stopped([conf], capsys)
    assert status == 1
    assert f"{prefix}.history has its time to live in the attribute 'other', not 'expires': disable it" in message


def test_tables_of_the_version_before_history_are_completed(
    conf: str, prefix: str, moto_client: Any, proxy: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in the existing tables changes."""
    main([conf])
    moto_client.delete_table(TableName=f"{prefix}.history")
    moto_client.update_time_to_live(
        TableName=f"{prefix}.agents", TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires"}
    )
    with DB({**config_parse(conf), "history": "0s"}) as db:
        db.set_faults("a", [])
    before = moto_client.scan(TableName=f"{prefix}.agents")["Items"]
    proxy.clear()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([conf, "--check"])
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("to do")] == [
        f"to do: {prefix}.agents: enable time to live",
        f"to do: {prefix}.history: create the table, on demand",
        f"to do: {prefix}.history: enable time to live",
    ]
    main([conf])
    assert [name for name in proxy.operations if not name.startswith(("Describe", "List"))] == [
        *("UpdateTimeToLive", "CreateTable", "UpdateTimeToLive"),
    ]
    assert moto_client.scan(TableName=f"{prefix}.agents")["Items"] == before
    main([conf, "--check"])


def test_the_table_of_answers_is_added_to_a_standing_store(
    conf: str, prefix: str, moto_client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    main([conf])
    moto_client.delete_table(TableName=f"{prefix}.answers")
    with DB(config_parse(conf)) as db:
        db.lease("job", "a", 60)
        before = db.entries.scan()["Items"]
        capsys.readouterr()
        main([conf])
        lines = [line for line in capsys.readouterr().err.splitlines() if not line.endswith(": active")]
        assert lines == [
            f"{prefix}.answers: create the table, on demand: done",
            f"{prefix}.answers: enable time to live: done",
        ]
        assert db.entries.scan()["Items"] == before
        assert db.answers.scan()["Items"] == []


def stopped(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    return int(caught.value.code or 0), output.err


def test_a_table_with_another_key_is_reported_before_any_is_created(
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
    ("arguments", "status", "expected"),
    [
        (["nowhere.cfg"], 1, "there is no readable configuration file nowhere.cfg"),
        (["CONF", "--config", "CONF"], 2, "given twice"),
        (["CONF", "--read-units", "5"], 2, "--read-units and --write-units belong together"),
        (["CONF", "--write-units", "0", "--read-units", "1"], 2, "'0' is less than 1"),
        (["CONF", "--tag", "x"], 2, "invalid tag 'x'"),
        (["CONF", "--policy", "nobody"], 2, "'nobody' is not one of"),
        (["CONF", "--wait", "5"], 2, "invalid duration '5'"),
        (["CONF", "--dryrun"], 2, "--dry-run"),
    ],
)
def test_wrong_arguments_are_reported(
    conf: str, arguments: list[str], status: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, message = stopped([conf if one == "CONF" else one for one in arguments], capsys)
    assert found == status
    assert expected in message


def test_a_rejected_request_is_reported(conf: str, proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    said = "User: x is not authorized to perform: dynamodb:CreateTable on resource: y"
    proxy.next("CreateTable", refused("AccessDeniedException", said))
    status, message = stopped([conf], capsys)
    assert status == 1
    assert "do not permit dynamodb:CreateTable" in message
    proxy.always("DescribeTable", refused("ThrottlingException", "slow down"))
    assert "throttled by DynamoDB" in stopped([conf], capsys)[1]
    proxy.always("DescribeTable", lambda _body, _forward: Answer(200, b"<html>"))
    assert "check endpoint_url" in stopped([conf], capsys)[1]


def test_transient_errors_are_retried(conf: str, proxy: Proxy, described: Described) -> None:
    proxy.next("DescribeTable", refused("ThrottlingException", "slow down"))
    proxy.next("CreateTable", refused("InternalServerError", "oh", 500))
    main([conf])
    assert described("squelches")["TableStatus"] == "ACTIVE"


@pytest.mark.parametrize("first", ["this very command", "another"])
def test_a_table_that_was_created_in_between_is_used(conf: str, proxy: Proxy, described: Described, first: str) -> None:
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
    with pytest.raises(errors.ConfigurationError, match=r"is zc\.cimaa\.lmdb; this needs class = zc\.cimaa\.dynamodb"):
        config_parse(path)


def test_boto3_is_needed_only_to_open_a_store(conf: str) -> None:
    """Without it, the policies, the costs and the configuration still work, and the rest says what to install."""
    code = f"""
        import sys
        sys.modules["boto3"] = None
        from zc.cimaa.config import Config, open_database
        from zc.cimaa.dynamodb import costs
        from zc.cimaa.cli.commands.setup_dynamodb import main
        from zc.cimaa.errors import ConfigurationError

        assert costs.costs(costs.Fleet(), costs.Prices())
        main([{conf!r}, "--policy", "agent"])
        assert Config.read({conf!r}).database
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
    """The actions on each table that a role is permitted."""
    found: dict[str, set[str]] = {table: set() for table in schemas}
    for statement in policy(role, "cimaa", "eu-west-1")["Statement"]:
        for arn in statement["Resource"]:
            found[arn.rpartition(".")[2]] |= {action.removeprefix("dynamodb:") for action in statement["Action"]}
    return found


def test_no_role_may_delete_history() -> None:
    """``BatchWriteItem`` would include it."""
    for role in ROLES:
        if role != "setup":
            assert allowed(role)["history"] <= {"PutItem", "Query"}
    assert allowed("agent")["history"] == allowed("operator")["history"] == {"PutItem", "Query"}
    assert allowed("reader")["history"] == {"Query"}


def test_an_agent_may_write_only_its_own_items_and_leases_and_read_actions() -> None:
    for statement in policy("agent", "cimaa", "eu-west-1")["Statement"]:
        if statement["Action"] != ["dynamodb:Scan"]:
            condition = statement["Condition"]["ForAllValues:StringEquals"]
            keys = condition.pop("dynamodb:LeadingKeys")
            assert not condition
            if statement["Resource"][0].endswith(".answers"):
                assert keys == ["answer ${aws:PrincipalTag/cimaa-agent}"]
            elif not statement["Resource"][0].endswith(".entries"):
                assert keys == ["${aws:PrincipalTag/cimaa-agent}"]
            elif keys == ["action "]:
                assert statement["Action"] == ["dynamodb:GetItem"]
            elif keys != ["lease "]:
                assert keys == ["command ${aws:PrincipalTag/cimaa-agent}"]
            assert statement["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}
    assert allowed("agent")["entries"] == {"GetItem", "PutItem", "Query"}
    assert allowed("agent")["answers"] == {"GetItem", "PutItem"}
    assert allowed("agent")["squelches"] == {"Scan"}


def test_no_role_may_write_or_delete_the_answers_of_agents() -> None:
    for role in ("operator", "investigator", "reader"):
        assert allowed(role)["answers"] == {"DescribeTable", "GetItem", "Scan"}


@pytest.mark.parametrize(("region", "start"), [("cn-north-1", "arn:aws-cn:"), ("us-gov-west-1", "arn:aws-us-gov:")])
def test_the_partition_follows_from_the_region(region: str, start: str) -> None:
    assert policy("reader", "cimaa", region)["Statement"][0]["Resource"][0].startswith(start)
