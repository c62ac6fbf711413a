"""Signatures with real keys, made and verified by OpenSSH."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ssh_keys import Keys, ssh_agent
from zc.cimaa.actions import signatures
from zc.cimaa.actions.signatures import Keygen, Verifier
from zc.cimaa.errors import ConfigurationError, InvalidAction, SigningError

DATA = b'{"name": "who has it"}\n'
KINDS = ("ed25519", "ecdsa", "rsa")


@pytest.fixture
def agent() -> Iterator[None]:
    with ssh_agent():
        yield


def verifier(keys: Keys, *lines: str, revoked: Path | None = None) -> Verifier:
    return signatures.load(keys.keygen, keys.signers(*lines), revoked)


def jane_and(keys: Keys, options: str = "") -> str:
    keys.make("jane")
    return f"jane {options} {keys.public('jane')}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_names_its_signer(keys: Keys, kind: str) -> None:
    keys.make("jane", kind)
    verify = verifier(keys, f"jane {keys.public('jane')}")
    assert verify(DATA, keys.sign("jane", DATA), 0) == ["jane"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_in_ssh_agent_signs_by_its_public_half(keys: Keys, agent: None, kind: str) -> None:
    private = keys.make("jane", kind)
    subprocess.run(["ssh-add", "-q", private], check=True)
    private.unlink()
    made = keys.keygen.sign(DATA, private.with_suffix(".pub"))
    assert verifier(keys, f"jane {keys.public('jane')}")(DATA, made, 0) == ["jane"]


def test_several_signers_are_named_in_their_order(keys: Keys) -> None:
    for name, kind in zip(("jane", "joe", "ann"), KINDS, strict=True):
        keys.make(name, kind)
    verify = verifier(keys, *(f"{name} {keys.public(name)}" for name in ("ann", "jane", "joe")))
    together = keys.sign("joe", DATA) + keys.sign("ann", DATA) + keys.sign("jane", DATA)
    assert verify(DATA, together, 0) == ["joe", "ann", "jane"]


def test_an_unknown_key_is_nobody_if_its_signature_is_true(keys: Keys) -> None:
    verify = verifier(keys, jane_and(keys))
    keys.make("mallory")
    together = keys.sign("mallory", DATA) + keys.sign("jane", DATA)
    assert verify(DATA, together, 0) == ["jane"]
    assert [signer.name for signer in verify.signed_by(DATA, together, 0)] == [None, "jane"]
    with pytest.raises(InvalidAction, match=r"signature 2, with the key SHA256:\S+: .*incorrect signature"):
        verify(DATA, keys.sign("jane", DATA) + keys.sign("mallory", DATA + b" "), 0)


def test_one_byte_makes_a_signature_wrong(keys: Keys) -> None:
    verify = verifier(keys, jane_and(keys))
    signed = keys.sign("jane", DATA)
    for data in (DATA + b"\n", DATA[:-1], DATA.replace(b"who", b"Who"), b""):
        with pytest.raises(InvalidAction, match=r"signature 1, with the key SHA256:\S+ of jane: .*incorrect signature"):
            verify(data, signed, 0)


def test_a_signature_for_another_purpose_is_refused(keys: Keys) -> None:
    verify = verifier(keys, jane_and(keys))
    with pytest.raises(InvalidAction, match="of jane: it was made for 'git', not for 'cimaa-action'"):
        verify(DATA, keys.sign("jane", DATA, "git"), 0)
    renamed = keys.sign("jane", DATA, "cimaa-other8")
    with pytest.raises(InvalidAction, match="signature 1"):
        verify(DATA, renamed.replace(b"Y2ltYWEtb3RoZXI4", b"Y2ltYWEtYWN0aW9u"), 0)


def test_a_key_signs_only_for_its_namespaces(keys: Keys) -> None:
    line = jane_and(keys, 'namespaces="git,file"')
    with pytest.raises(InvalidAction, match=r"of jane: .*not permitted for use in signature namespace"):
        verifier(keys, line)(DATA, keys.sign("jane", DATA), 0)
    for namespaces in ("cimaa-action", "git,cimaa-*", "*"):
        allowed = line.replace("git,file", namespaces)
        assert verifier(keys, allowed)(DATA, keys.sign("jane", DATA), 0) == ["jane"]


def test_a_key_is_refused_before_and_after_its_time(keys: Keys) -> None:
    verify = verifier(keys, jane_and(keys, 'valid-after="20260101Z",valid-before="20260201Z"'))
    signed = keys.sign("jane", DATA)
    assert verify(DATA, signed, 1769000000) == ["jane"]
    with pytest.raises(InvalidAction, match="of jane: the key is not valid yet"):
        verify(DATA, signed, 1767000000)
    with pytest.raises(InvalidAction, match="of jane: the key is not valid any more"):
        verify(DATA, signed, 1770000000)


def test_the_times_are_read_as_openssh_reads_them(keys: Keys) -> None:
    """A verifier of another program, with the same file, comes to the same result."""
    now = time.time()
    signed = keys.sign(keys.make("jane").name, DATA)
    (keys.directory / "signature").write_bytes(signed)
    for option in ("valid-before", "valid-after"):
        for hours in (-26, -1, 1, 26):
            stamp = time.strftime("%Y%m%d%H%M%S", time.localtime(now + hours * 3600))
            line = f'jane {option}="{stamp}" {keys.public("jane")}'
            command = ["ssh-keygen", "-Y", "verify", "-n", "cimaa-action", "-I", "jane", "-s", "signature"]
            path = keys.signers(line)
            theirs = subprocess.run([*command, "-f", path], input=DATA, cwd=keys.directory, capture_output=True)
            (signer,) = verifier(keys, line).investigators.values()
            assert (theirs.returncode == 0) is (not signer.invalid(now)), line


def test_a_revoked_key_is_refused_by_a_list_of_keys_or_a_krl(keys: Keys) -> None:
    lines = [jane_and(keys), f"joe {Keys(keys.directory).make('joe') and keys.public('joe')}"]
    together = keys.sign("joe", DATA) + keys.sign("jane", DATA)
    listed, krl, empty = (keys.directory / name for name in ("listed", "krl", "empty"))
    listed.write_text(f"# left in May\n{keys.public('jane')} jane\n")
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", krl, keys.directory / "jane.pub"], check=True)
    empty.write_text("")
    for path in (listed, krl):
        with pytest.raises(InvalidAction, match=r"signature 2, with the key .* of jane: .*revoked"):
            verifier(keys, *lines, revoked=path)(DATA, together, 0)
        assert verifier(keys, *lines, revoked=path)(DATA, keys.sign("joe", DATA), 0) == ["joe"]
    assert verifier(keys, *lines, revoked=empty)(DATA, together, 0) == ["joe", "jane"]


def test_a_list_of_revoked_keys_that_openssh_would_skip_is_an_error(keys: Keys) -> None:
    line = jane_and(keys)
    revoked = keys.directory / "revoked"
    wrong = {"jane\n": "revoked line 1: unknown type", f"\n{line}": "revoked line 2", "\xff": "is neither text"}
    for text, message in wrong.items():
        revoked.write_text(text, encoding="latin-1")
        with pytest.raises(ConfigurationError, match=message):
            verifier(keys, line, revoked=revoked)
    with pytest.raises(ConfigurationError, match=r"cannot read .*missing"):
        verifier(keys, line, revoked=keys.directory / "missing")


def test_a_damaged_krl_accepts_no_signature(keys: Keys) -> None:
    line = jane_and(keys)
    krl = keys.directory / "krl"
    krl.write_bytes(b"SSHKRL\n\0damaged")
    with pytest.raises(
        InvalidAction,
        match=r"signature 1, with the key .* of jane: the key is revoked, or the list .* is damaged",
    ):
        verifier(keys, line, revoked=krl)(DATA, keys.sign("jane", DATA), 0)


def test_a_file_that_others_may_write_is_not_trusted(keys: Keys) -> None:
    path = keys.signers(jane_and(keys))
    for place, mode in [(path, 0o620), (path, 0o602), (keys.directory, 0o777)]:
        before = place.stat().st_mode
        place.chmod(mode)
        with pytest.raises(ConfigurationError, match=f"other users may write to {place}: chmod go-w {place}"):
            signatures.load(keys.keygen, path)
        place.chmod(before)
    assert signatures.load(keys.keygen, path).investigators


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_not_trusted(keys: Keys) -> None:
    path = keys.signers(jane_and(keys))
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigurationError, match=r"belongs to another user \(uid 12345\), .*: give it to root"):
        signatures.load(keys.keygen, path)


def test_a_link_leads_to_a_file_that_others_may_not_write(keys: Keys, tmp_path: Path) -> None:
    path = keys.signers(jane_and(keys))
    link = tmp_path / "link"
    link.symlink_to(path)
    assert signatures.load(keys.keygen, link).investigators
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="other users may write"):
        signatures.load(keys.keygen, link)


def test_a_pipe_is_not_waited_for(keys: Keys) -> None:
    os.mkfifo(keys.directory / "pipe")
    with pytest.raises(ConfigurationError, match="pipe is not a file"):
        signatures.load(keys.keygen, keys.directory / "pipe")


def test_without_ssh_keygen_nothing_can_be_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SigningError, match=r"ssh-keygen is not on the PATH: install OpenSSH 8\.2 or newer"):
        signatures.find()


def test_a_ssh_keygen_that_cannot_verify_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ssh-keygen"
    old.write_text("#!/bin/sh\necho 'unknown option -- Y' >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SigningError, match=r"cannot verify signatures: OpenSSH .* is needed .*unknown option"):
        signatures.find()


def test_what_cannot_be_run_is_no_wrong_signature(keys: Keys, tmp_path: Path) -> None:
    verify = signatures.load(Keygen(str(tmp_path / "gone")), keys.signers(jane_and(keys)))
    with pytest.raises(SigningError, match="cannot run"):
        verify(DATA, keys.sign("jane", DATA), 0)
