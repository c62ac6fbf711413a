"""The file of those who may sign, and what a signature says of itself."""

import time
from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zc.cimaa.actions import signers
from zc.cimaa.errors import ConfigurationError, InvalidAction


def blob(*strings: bytes) -> bytes:
    return b"".join(len(string).to_bytes(4) + string for string in strings)


def public(number: int, kind: str = "ssh-ed25519") -> str:
    return f"{kind} {b64encode(blob(kind.encode(), bytes([number]) * 32)).decode()}"


JANE, JOE = f"jane {public(1)}", f"joe@example.com {public(2)}"


def armored(number: int, namespace: str = "cimaa-action") -> bytes:
    key = blob(b"ssh-ed25519", bytes([number]) * 32)
    inner = b"SSHSIG" + (1).to_bytes(4) + blob(key, namespace.encode(), b"", b"sha512", b"signed")
    return signers.Signature(inner, key, namespace).armored().encode()


def test_each_line_is_a_name_and_a_key() -> None:
    text = f"# those on call\n\n{JANE} jane's laptop\n  {JOE}\n"
    found = signers.parse(text, "investigators")
    assert [signer.name for signer in found.values()] == ["jane", "joe@example.com"]
    assert [signer.line().strip() for signer in found.values()] == [JANE, JOE]


def test_options_say_when_and_for_what_a_key_is_valid() -> None:
    line = f'jane Namespaces="git,cimaa-*",valid-after="20260101",valid-before="20260201120000Z" {public(1)}'
    (signer,) = signers.parse(line, "investigators").values()
    assert signer.namespaces == "git,cimaa-*"
    assert signer.line() == f'jane namespaces="git,cimaa-*" {public(1)}\n'
    begin, end = time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, -1)), 1769947200
    assert [signer.invalid(now) for now in (begin - 1, begin, end, end + 1)] == [
        "is not valid yet",
        "",
        "",
        "is not valid any more",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f has no keys: write a name and its public key"),
        ("# none\n", "f has no keys: write a name and its public key"),
        (f"jane,joe {public(1)}", r"f line 1: 'jane,joe' is not one name"),
        (f"*@example.com {public(1)}", r"line 1: '\*@example.com' is not one name"),
        (f"jan? {public(1)}", "is not one name"),
        (f"!jane {public(1)}", "is not one name"),
        (f'"jane" {public(1)}', "is not one name"),
        (f'jane" {public(1)}', "a quote is not closed"),
        (f"{JANE}\n{JOE}\njane {public(3)}", "f line 3: the name 'jane' is there twice"),
        (f"{JANE}\n\nann {public(1)}", "f line 3: ann has the same key as jane"),
        (f"jane cert-authority {public(1)}", "unknown option 'cert-authority'"),
        (f'jane namespaces="x",no-touch {public(1)}', "unknown option 'no-touch'"),
        (f'jane namespaces="x",namespaces="y" {public(1)}', "the option namespaces is there twice"),
        (f"jane namespaces=x {public(1)}", "unknown option 'namespaces=x'"),
        (f'jane valid-before="soon" {public(1)}', "invalid time 'soon'"),
        (f'jane valid-after="20260230" {public(1)}', "invalid time '20260230'"),
        ("jane", "f line 1: there is no public key after the name"),
        ("jane ssh-ed25519", "is damaged"),
        ("jane ssh-ed25519 !!!!", "is damaged"),
        ("jane ssh-ed25519 AAAA", "is damaged"),
        (f"jane ssh-rsa {public(1).split()[1]}", "is not of the type ssh-rsa"),
        (f"jane {public(1, 'ssh-dss')}", "unknown type of key 'ssh-dss'"),
        (f"jane {public(1, 'ssh-ed25519-cert-v01@openssh.com')}", "unknown type of key"),
        (public(1), "there is no name before the key: write NAME ssh-ed25519"),
    ],
)
def test_a_line_that_is_not_clear_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        signers.parse(text, "f")


@given(st.text() | st.text(alphabet=' \n"=,*#jane', min_size=1).map(lambda text: f"{text} {public(1)}"))
def test_any_text_is_a_file_of_signers_or_has_a_named_fault(text: str) -> None:
    with suppress(ConfigurationError):
        assert all(signer.name in text for signer in signers.parse(text, "f").values())


def test_a_file_holds_several_signatures() -> None:
    found = signers.signatures(armored(1) + b"\n" + armored(2))
    assert [signature.namespace for signature in found] == ["cimaa-action"] * 2
    assert b"".join(signature.armored().encode() for signature in found) == armored(1) + armored(2)
    assert len(signers.signatures(b"".join(map(armored, range(16))))) == 16


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "there is no signature"),
        (b"\n \n", "there is no signature"),
        (b"x\n" + armored(1), "line 1: 'x' is not part of a signature"),
        (armored(1) + b"x", "'x' is not part of a signature"),
        (armored(1) + armored(2)[:-5], "end without -----END SSH SIGNATURE-----"),
        (armored(1).replace(b"BEGIN", b"BEGUN"), "is not part of a signature"),
        (armored(1) + armored(2).replace(b"U1NI", b"U1Nx"), "signature 2 is damaged"),
        (armored(1) + armored(2).replace(b"U1NI", b"!!!!"), "signature 2 is damaged"),
        (armored(1) + armored(2) + armored(1), "signature 3 has the same key as signature 1"),
        (b"".join(map(armored, range(17))), "17 signatures; at most 16"),
        (armored(1) + b"\n" * 70_000, "are too large: at most 65536 bytes"),
    ],
)
def test_a_wrong_file_of_signatures_is_named(data: bytes, message: str) -> None:
    with pytest.raises(InvalidAction, match=message):
        signers.signatures(data)


@given(st.binary() | st.tuples(st.binary(), st.integers(0, 200)).map(lambda pair: armored(1)[: pair[1]] + pair[0]))
def test_any_bytes_are_signatures_or_have_a_named_fault(data: bytes) -> None:
    with suppress(InvalidAction):
        assert signers.signatures(data)
