"""Systems that the program does not run on are told so."""

import pytest

from hallo_cli.cli.system import objection


@pytest.mark.parametrize(
    ("platform", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
)
def test_linux_and_apple_silicon_are_right(platform: str, machine: str) -> None:
    assert objection(platform, machine) == ""


def test_this_system_is_one_of_them() -> None:
    assert objection() == ""


@pytest.mark.parametrize(
    ("platform", "machine", "remedy"),
    [("win32", "AMD64", "WSL 2"), ("darwin", "x86_64", "Apple silicon"), ("freebsd14", "amd64", "Linux")],
)
def test_other_systems_are_told_what_to_use(platform: str, machine: str, remedy: str) -> None:
    assert remedy in objection(platform, machine)
