"""The exception tree: one base, the built-in kinds where Python has one, and all that a person needs in the text."""

import pickle

import pytest

from qblif.host import DeviceError, InputError, QblifError, Timeout, abi, errors


def test_every_error_has_the_same_base_and_the_built_in_kinds_hold():
    tree = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(tree) > 10 and all(issubclass(error, QblifError) for error in tree)
    assert issubclass(InputError, ValueError) and issubclass(Timeout, TimeoutError)


@pytest.mark.parametrize("kind", [QblifError, InputError, Timeout])
def test_message_hint_and_registers_stand_in_the_text(kind):
    error = kind("it is 3, allowed is 4", hint="give 4", snapshot={"ID": 16, "STATUS": 1})
    assert str(error) == "it is 3, allowed is 4\n  hint: give 4\n  registers: ID=0x10 STATUS=0x1"
    assert str(kind("it is 3")) == "it is 3"


def test_an_error_code_brings_its_meaning():
    error = DeviceError(7, 42)
    assert error.code is abi.Error.BAD_CRC and error.meaning == abi.Error.BAD_CRC.meaning and error.info == 42
    assert "error 7 (BAD_CRC) at beat 42: the checksum" in str(error)
    assert DeviceError(250).code == 250


def test_what_has_no_place_in_a_frame_names_none():
    assert str(DeviceError(38)) == "the accelerator reports error 38 (ABORTED): the job was aborted"
    assert str(DeviceError(11, 0)).startswith("the accelerator reports error 11 (WATCHDOG): work was under way")


def test_what_went_wrong_besides_stands_below_with_its_own_hint_and_once():
    error, stuck = Timeout("too late", hint="wait"), Timeout("it is stuck", hint="switch it off")
    error.followed_by("nor could it be stopped", stuck)
    error.followed_by("nor could it be reset", stuck)
    assert str(error) == "too late\n  hint: wait\n  nor could it be stopped: it is stuck\n  hint: switch it off"


@pytest.mark.parametrize("error", [DeviceError(9, 3, hint="h", snapshot={"ID": 1}), InputError("x", hint="h")])
def test_errors_survive_the_way_between_processes(error):
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
