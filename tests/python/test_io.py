"""Bytes in and out of the command line: whole, in the form they are in, and wiped where they are secret."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from evanesce import EvanesceError, _pem
from evanesce.cli import _io
from evanesce.cli._app import App, console
from evanesce.home import Home


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(Home.at(tmp_path), True, console(), console(stderr=True))


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 300_000])
def test_inputs_are_read_whole(app: App, tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert _io.read_input(app, str(tmp_path / "file"), "message") == data


def test_a_descriptor_by_its_path_is_read_from_where_it_stands(app: App, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    os.read(descriptor, 4)
    assert _io.read_input(app, f"/dev/fd/{descriptor}", "message") == b"456789"
    assert os.fstat(descriptor)
    os.close(descriptor)


def test_pipes_of_any_length(app: App) -> None:
    read, write = os.pipe()
    if os.fork() == 0:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(b"x" * 200_000)
        os._exit(0)
    os.close(write)
    assert len(_io.read_input(app, f"/proc/self/fd/{read}", "message")) == 200_000
    os.close(read)
    os.wait()


@pytest.mark.parametrize(("path", "code"), [("missing", "not-found"), (".", "io")])
def test_what_cannot_be_read_is_said(app: App, tmp_path: Path, path: str, code: str) -> None:
    with pytest.raises(EvanesceError, match="read the message") as caught:
        _io.read_input(app, str(tmp_path / path), "message")
    assert caught.value.code == code


def test_stdin_is_one_thing(app: App) -> None:
    app.take_stdin("token")
    with pytest.raises(EvanesceError, match="both the token and the message"):
        _io.read_input(app, "-", "message")


def test_what_was_read_is_wiped() -> None:
    buffer = bytearray(os.urandom((2 << 20) + 5))
    _io.wipe(buffer)
    assert buffer == bytes(len(buffer))


def test_forms_are_told_apart() -> None:
    value = bytes(range(64))
    for text in (value, value.hex().encode() + b"\n", base64.b64encode(value), base64.encodebytes(value)):
        assert _io.binary(bytearray(text), None, "signature") == value
    assert _io.binary(bytearray(b"abcd"), "raw", "signature") == b"abcd"
    with pytest.raises(EvanesceError):
        _io.binary(bytearray(b"\xff"), "hex", "signature")
    with pytest.raises(EvanesceError):
        _io.binary(bytearray(b"abcde"), "base64", "signature")


def test_secrets_are_shown_without_what_a_terminal_acts_on() -> None:
    assert _io._visible(bytearray(b"\x00\xff"), text=False) == b"00ff\n"
    assert _io._visible(bytearray("plain\n\x1b[31m é".encode()), text=True) == b"plain\n\\x1b[31m \\xc3\\xa9\n"


def test_a_peers_pem_is_unwrapped() -> None:
    der = os.urandom(44)
    pem = b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"
    assert _pem.der(pem, "it") == _pem.der(der, "it") == der
    with pytest.raises(EvanesceError):
        _pem.der(b"-----BEGIN CERTIFICATE-----", "it")
    with pytest.raises(EvanesceError):
        _pem.der(b"-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n", "it")
